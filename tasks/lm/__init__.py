"""Language modelling: text from a corpus, as tokens, scored in bits per byte."""

from __future__ import annotations

from typing import Literal

from tasks.base import Metric

VERSION = 1
METRIC = Metric("bits per byte", "bits", higher_is_better=False)

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
