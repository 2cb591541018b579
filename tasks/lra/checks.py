"""What a built data set is checked for before it may be used, and what guessing scores on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks.lra import Dataset, Split
from tasks.lra.arrays import Rows

CHUNK = 2**24  # tokens looked at together


def check(data: Dataset, splits: Mapping[Split, Rows]) -> None:
    """Raises: ValueError with what was found and expected."""
    for name, rows in splits.items():
        where, expected = f"{data.name}, {name}", data.rows[name]
        if rows.rows != expected:
            raise ValueError(f"{where}: {rows.rows:,} rows, expected {expected:,}")
        if rows.labels.min() < 0 or rows.labels.max() >= data.classes:
            found = f"{rows.labels.min()} to {rows.labels.max()}"
            raise ValueError(f"{where}: labels {found}, expected 0 to {data.classes - 1}")
        _fixed(data, rows, where) if data.pixels else _ragged(data, rows, where)


def baselines(data: Dataset, splits: Mapping[Split, Rows]) -> dict[str, float]:
    """Accuracy on the test set, fractions, of answers learned from the training set.

    majority: always the most frequent class. root operator (ListOps): the most frequent class
    among the rows that begin with the same operator.
    """
    train, test = splits["train"], splits["test"]
    counts = np.bincount(train.labels, minlength=data.classes)
    found = {"majority": float(np.mean(test.labels == counts.argmax()))}
    if data.of == "listops":
        table = np.zeros((data.vocabulary, data.classes), np.int64)
        np.add.at(table, (_first(train), train.labels), 1)
        guesses = table.argmax(axis=1)[_first(test)]
        found["root operator"] = float(np.mean(test.labels == guesses))
    return found


def _fixed(data: Dataset, rows: Rows, where: str) -> None:
    expected = (rows.rows, data.length)
    if rows.inputs.shape != expected or rows.inputs.dtype != np.uint8:
        found = f"{rows.inputs.dtype}{rows.inputs.shape}"
        raise ValueError(f"{where}: inputs are {found}, expected uint8{expected}")


def _ragged(data: Dataset, rows: Rows, where: str) -> None:
    if rows.starts is None:
        raise ValueError(f"{where}: all rows have one length, expected rows of many lengths")
    expected = (rows.rows * data.documents + 1,)
    if rows.starts.shape != expected or rows.starts[0] or rows.starts[-1] != len(rows.inputs):
        raise ValueError(
            f"{where}: {len(rows.starts) - 1:,} documents, expected {expected[0] - 1:,}"
        )
    shortest, longest = int(rows.lengths.min()), int(rows.lengths.max())
    if shortest < 1 or longest > data.length:
        raise ValueError(
            f"{where}: rows of {shortest} to {longest} tokens, expected 1 to {data.length}"
        )
    for first in range(0, len(rows.inputs), CHUNK):
        part = rows.inputs[first : first + CHUNK]
        low, high = int(part.min()), int(part.max())
        if low < 1 or high >= data.vocabulary:
            expected = f"1 to {data.vocabulary - 1} (0 is padding)"
            raise ValueError(f"{where}: tokens {low} to {high}, expected {expected}")


def _first(rows: Rows) -> np.ndarray:
    """The first token of each row."""
    assert rows.starts is not None
    return rows.inputs[rows.starts[:-1]]
