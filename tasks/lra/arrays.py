"""Rows of one split as arrays on disk, memory-mapped: written as a stream, read in batches.

A split is `<split>.inputs.npy` and `<split>.labels.npy`. Rows of one length are a rows x length
array; rows of many lengths lie one after another in a flat array, and `<split>.starts.npy` says
where each begins (with two documents a row: where each document begins).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks import npy

DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16))  # of inputs
PARTS = ("inputs", "starts", "labels")


@dataclass(frozen=True, eq=False)
class Rows:
    """One split.

    inputs: rows length where all rows have one length, otherwise flat; uint8 or uint16
    starts: rows * documents + 1 offsets into a flat `inputs`, int64; None if rows have one length
    labels: rows, int64
    documents: 1, or 2 where a row is a pair
    length: tokens of the longest row that the data set may have (of each document)
    """

    inputs: np.ndarray
    starts: np.ndarray | None
    labels: np.ndarray
    documents: int
    length: int

    @property
    def rows(self) -> int:
        return len(self.labels)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, rows documents, int64."""
        if self.starts is None:
            return np.full((self.rows, self.documents), self.inputs.shape[-1], np.int64)
        return np.diff(self.starts).reshape(self.rows, self.documents)

    def batch(self, indices: np.ndarray, multiple: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """The rows `indices`, on the CPU, int64.

        multiple: tokens; the width of the batch is rounded up to it, never beyond `length`.
        Returns: inputs b t, or b 2 t for pairs, padded with 0 on the right; lengths b, or b 2;
        labels b.
        """
        chosen = np.asarray(indices, np.int64)
        labels = torch.from_numpy(np.asarray(self.labels[chosen], np.int64))
        lengths = self.lengths[chosen]  # b documents
        if self.starts is None:
            inputs = np.asarray(self.inputs[chosen], np.int64)[:, None]  # b 1 t
        else:
            inputs = self._padded(chosen, lengths, multiple)
        if self.documents == 1:
            inputs, lengths = inputs[:, 0], lengths[:, 0]
        return torch.from_numpy(inputs), torch.from_numpy(lengths), labels

    def _padded(self, chosen: np.ndarray, lengths: np.ndarray, multiple: int) -> np.ndarray:
        assert self.starts is not None
        width = min(-(-int(lengths.max()) // multiple) * multiple, self.length)
        inputs = np.zeros((*lengths.shape, width), np.int64)  # b documents t
        flat = np.asarray(self.inputs)  # a slice of a memmap takes 2 us longer
        firsts = chosen[:, None] * self.documents + np.arange(self.documents)
        starts = np.asarray(self.starts)[firsts]
        for out, start, length in zip(
            inputs.reshape(-1, width), starts.flat, lengths.flat, strict=True
        ):
            out[:length] = flat[start : start + length]
        return inputs


def files_of(folder: Path, split: str) -> dict[str, Path]:
    return {part: folder / f"{split}.{part}.npy" for part in PARTS}


def read(folder: Path, split: str, documents: int, length: int) -> Rows:
    """The split in a folder, memory-mapped. Raises: ValueError where a file is no such array."""
    files = files_of(folder, split)
    inputs = npy.mapped(files["inputs"])
    starts = np.array(npy.mapped(files["starts"])) if inputs.ndim == 1 else None
    return Rows(inputs, starts, np.array(npy.mapped(files["labels"])), documents, length)


def joined(first: Rows, second: Rows) -> Rows:
    """The rows of both, in memory."""
    inputs = np.concatenate([first.inputs, second.inputs])
    labels = np.concatenate([first.labels, second.labels])
    starts = None
    if first.starts is not None and second.starts is not None:
        starts = np.concatenate([first.starts, first.starts[-1] + second.starts[1:]])
    return Rows(inputs, starts, labels, first.documents, first.length)


def write(folder: Path, split: str, inputs: Any, labels: Any, documents: int) -> None:
    """See tasks.lra.data.write_split."""
    files = files_of(folder, split)
    first, stream = _peek(_documents(inputs, documents))
    if first.ndim == 2:
        npy.stream(files["inputs"], stream, first.dtype, first.shape[1:])
        files["starts"].unlink(missing_ok=True)
    else:
        lengths: list[int] = []
        npy.stream(files["inputs"], _counted(stream, lengths), first.dtype, ())
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        npy.stream(files["starts"], [starts], starts.dtype, ())
    marks = np.asarray(list(labels) if not isinstance(labels, np.ndarray) else labels)
    if marks.ndim != 1 or not np.issubdtype(marks.dtype, np.integer):
        raise ValueError(f"{split}: labels are {marks.dtype}{marks.shape}; give one integer a row")
    npy.stream(files["labels"], [marks.astype(np.int64)], np.dtype(np.int64), ())


def _documents(inputs: Any, documents: int) -> Iterable[np.ndarray]:
    """Blocks of rows, or single documents."""
    if isinstance(inputs, np.ndarray) and inputs.ndim == 2:
        return [inputs]
    return inputs if documents == 1 else (document for pair in inputs for document in pair)


def _peek(stream: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterable[np.ndarray]]:
    iterator = iter(stream)
    first = next(iterator, None)
    if first is None:
        raise ValueError("a split needs at least one row; none was given")
    if first.dtype not in DTYPES or first.ndim not in (1, 2):
        raise ValueError(
            f"inputs are {first.dtype} with {first.ndim} axes; give uint8 or uint16: rows of one"
            " axis, or blocks of rows"
        )

    def again() -> Iterable[np.ndarray]:
        yield first
        yield from iterator

    return first, again()


def _counted(stream: Iterable[np.ndarray], lengths: list[int]) -> Iterable[np.ndarray]:
    for row in stream:
        lengths.append(len(row))
        yield row
