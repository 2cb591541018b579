"""Data sets of the Hugging Face hub, read as a stream through the library `datasets`.

Where a data set has a validation and a test split, these are used. Where it has one of the two, its
documents go to both in turn, the first to validation. Where it has none, the first HELD_OUT
documents of training are for validation and the next as many for the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from tasks.lm import Split
from tasks.lm.hub_names import Source, source

HELD_OUT = 1000
_COLUMN = "text"
_VALID = ("validation", "valid", "val", "dev")
_INSTALL = "pip install 'linear-attention-zoo[lm]'"
_WITHOUT = "classics, pysource and your own texts work without it"


def texts(name: str, split: Split) -> Iterator[str]:
    """The documents of a split in the order of the hub; empty ones are left out."""
    found = source(name)
    streams = _streams(found)
    if "train" not in streams:
        raise ValueError(f"{found.id} has no split train, only {', '.join(streams)}")
    valid = next((split for split in _VALID if split in streams), None)
    test = "test" if "test" in streams else None
    if split == "train":
        start = 0 if valid or test else 2 * HELD_OUT
        rows = islice(_rows(found, streams["train"]), start, None)
    elif valid and test:
        own = _rows(found, streams[valid if split == "valid" else test])
        rows = islice(own, found.held_out or None)
    elif only := valid or test:
        rows = islice(_rows(found, streams[only]), int(split == "test"), None, 2)
    else:
        start = 0 if split == "valid" else HELD_OUT
        rows = islice(_rows(found, streams["train"]), start, start + HELD_OUT)
    return (text for text in rows if text.strip())


def _rows(found: Source, stream: Iterable[dict[str, Any]]) -> Iterator[str]:
    column = _column(found, stream)
    return articles(column) if found.id == "Salesforce/wikitext" else column


def _column(found: Source, stream: Iterable[dict[str, Any]]) -> Iterator[str]:
    rows = iter(stream)
    while True:
        with _explained(found):
            row = next(rows, None)
        if row is None:
            return
        yield _text(found, row)


def _text(found: Source, row: dict[str, Any]) -> str:
    text = row.get(_COLUMN)
    if not isinstance(text, str):
        raise ValueError(
            f"{found.id} has no text column {_COLUMN!r}, only {', '.join(row)}; "
            "write the column that you mean to a .jsonl file and type its path"
        )
    return text


# A title has one = on each side, headings inside an article have two or more.
_TITLE = re.compile(r" = [^=](.*[^=])? = \n?")


def articles(lines: Iterable[str]) -> Iterator[str]:
    """WikiText's lines as articles; joined they are its original file, line for line.

    The hub has "" for an empty line, which is " \\n" in the file. Word perplexity by WikiText's
    convention counts every end of line as a word: words + lines of the split.
    """
    article: list[str] = []
    for line in lines:
        if _TITLE.fullmatch(line) and any(previous.strip() for previous in article):
            yield "".join(article)
            article = []
        article.append(line if line.endswith("\n") else f"{line or ' '}\n")
    if article:
        yield "".join(article)


def _streams(found: Source) -> dict[str, Iterable[dict[str, Any]]]:
    try:
        import datasets
    except ImportError:
        raise ValueError(
            f"{found.id} is read with the library datasets, which is missing: {_INSTALL}; "
            f"{_WITHOUT}"
        ) from None
    with _explained(found):
        streams = datasets.load_dataset(
            found.id,
            found.config or None,
            data_files=dict(found.files) or None,
            revision=found.revision or None,
            streaming=True,
        )
        return {str(split): stream for split, stream in streams.items()}


@contextmanager
def _explained(found: Source) -> Iterator[None]:
    """What the libraries below raise, with what to do about it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(
            f"{found.id} is not on the hub, or not open to all ({error}); check its page, "
            f"https://huggingface.co/datasets/{found.id}"
        ) from error
    except OSError as error:
        raise ValueError(
            f"{found.id} cannot be read from the Hugging Face hub ({error}): is there a "
            "connection, and is HF_HUB_OFFLINE unset? classics, pysource and your own texts need "
            "none; a .jsonl file made on another machine can be named by its path"
        ) from error
    except ImportError as error:
        raise ValueError(
            f"{found.id} needs a library that is missing ({error}): {_INSTALL}; {_WITHOUT}"
        ) from error
    except ValueError as error:
        # Also an unknown configuration, whose message lists those that there are.
        raise ValueError(
            f"{found.id} cannot be read: {error} (for zst files, zstandard must be installed: "
            f"{_INSTALL})"
        ) from error
