"""What outside of this package decides the tokens of a run."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from tasks.lm import corpora, tokenisers
from tasks.lm.data import MissingData, open_data


def of(corpus: str, tokeniser: str, root: Path) -> str:
    """16 hex digits, or nothing where the package and its version say it all.

    Of the user's and the machine's files as they are when this is asked first. Of a data set of the
    hub, which may be there in part, the tokens in `root`; nothing while there are none.
    """
    if corpora.corpus(corpus).kind != "hub":
        return of_files(corpus, tokeniser)
    try:
        found = open_data(corpus, tokeniser, root)
    except MissingData:
        return ""
    return digest([*found.sha256.values(), tokenisers.identity(tokeniser)])


@lru_cache(maxsize=64)
def of_files(corpus: str, tokeniser: str) -> str:
    parts = [corpora.identity(corpus), tokenisers.identity(tokeniser)]
    return digest(parts) if any(parts) else ""


def digest(parts: list[str]) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
