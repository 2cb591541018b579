"""One split of a corpus as token ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tokens:
    """Documents one after the other, each followed by the end-of-text token.

    ids: n, uint16 or uint32. starts: first position of each document, int64. bytes: of the text in
    UTF-8, ends of documents not counted. words: separated by white space. lines: ends of lines.
    """

    ids: np.ndarray
    starts: np.ndarray
    bytes: int
    words: int
    lines: int
