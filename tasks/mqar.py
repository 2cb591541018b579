"""Multi-query associative recall (Arora et al. 2023, Zoology, arXiv 2312.04927).

A row lists `pairs` key-value pairs and asks for each key once. The label sits on the query key.
The distribution is that of the published generator (HazyResearch/zoology, multiquery_ar.py at
d88d6f5, one pass over the pairs). Two things differ on purpose: one seed drives everything, the
random filler included, and row i is the same however many rows are asked for.

Example: `generate(Setting(vocabulary=20, length=16, pairs=2), rows=1, seed=5)` gives

              key val key val          query           query
    position    0   1   2   3   4   5   6   7   8   9  10  11  12  13  14  15
    inputs      2  16   9  13   0   0   9   0   0   0   2   0   0   0   0   0
    targets     .   .   .   .   .   .  13   .   .   .  16   .   .   .   .   .

Keys lie in 1..9, values in 10..19. `Data` keeps targets at the labelled positions 6 and 10 only.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, from_numpy

from tasks.base import Metric

VERSION = 1
METRIC = Metric("accuracy", "fraction", higher_is_better=True)
BLOCK = 1024  # rows drawn from one stream; another number gives other data

Filler = Literal["zeros", "random"]
Split = Literal["train", "valid", "test"]


class Setting(BaseModel):
    """One difficulty of the task; the defaults are those of Zoology, Figure 2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(default=8192, le=2**31 - 1, description="tokens")
    length: int = Field(ge=4, description="tokens in a row, even")
    pairs: int = Field(ge=1, description="key-value pairs in a row, each asked once")
    power: float = Field(default=0.01, ge=0, le=2, description="slot i has weight i^(power - 1)")
    filler: Filler = Field(default="zeros", description="the rest: token 0 or uniform tokens")

    @model_validator(mode="after")
    def _possible(self) -> "Setting":
        # As published. There are then at least 2 * pairs - 1 keys and 2 * pairs values.
        length, pairs, vocabulary = self.length, self.pairs, self.vocabulary
        if length % 2:
            raise ValueError(f"length {length} is odd; use {length + 1}: tokens come in twos")
        if length < 4 * pairs:
            need = f"use length {4 * pairs} or more, or at most {length // 4} pairs"
            raise ValueError(f"length {length} is below 4 * {pairs} pairs = {4 * pairs}; {need}")
        if vocabulary <= length:
            need = f"use vocabulary {length + 1} or more, or a shorter length"
            raise ValueError(f"vocabulary {vocabulary} is not above length {length}; {need}")
        return self

    @property
    def chance(self) -> float:
        """Accuracy of guessing among the values of the row."""
        return 1 / self.pairs


@dataclass(frozen=True, eq=False)
class Data:
    """Rows of one setting, in the smallest of int16 and int32 that holds them.

    inputs: rows length, tokens
    positions: rows pairs, where the queries stand, ascending
    targets: rows pairs, the value asked for at each of these positions
    """

    inputs: Tensor
    positions: Tensor
    targets: Tensor

    @property
    def rows(self) -> int:
        return len(self.inputs)

    @cached_property
    def sha256(self) -> str:
        """Hash of shapes, integer sizes and little-endian contents."""
        digest = hashlib.sha256()
        for name in ("inputs", "positions", "targets"):
            array = getattr(self, name).numpy()
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name} {array.shape} {array.itemsize}\n".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def batch(self, indices: Tensor | list[int] | slice) -> tuple[Tensor, Tensor, Tensor]:
        """Returns: tokens b t, positions b p, targets b p of the rows `indices`, all int64."""
        parts = (self.inputs, self.positions, self.targets)
        tokens, positions, targets = (part[indices].long() for part in parts)
        return tokens, positions, targets


@dataclass(frozen=True)
class Mixture:
    """Settings of several lengths with their rows, in the order in which they are trained on."""

    train: tuple[tuple[Setting, int], ...]
    test: tuple[tuple[Setting, int], ...]


# zoology's original_mqar_configs.py and arxiv24_based_figure2: length, pairs (thousand rows).
_TRAIN = ((64, 4, 100), (128, 8, 20), (256, 16, 20), (256, 32, 20), (256, 64, 20))
_TEST = ((64, 4), (64, 8), (64, 16), (128, 32), (256, 64), (512, 128), (1024, 256))
MIXTURES = {
    "zoology": Mixture(
        tuple((Setting(length=t, pairs=p, filler="random"), 1000 * n) for t, p, n in _TRAIN),
        tuple((Setting(length=t, pairs=p, filler="random"), 1000) for t, p in _TEST),
    )
}


def generate(setting: Setting, rows: int, seed: int, split: Split = "train") -> Data:
    """The first `rows` rows of an endless sequence that `setting`, `seed` and `split` determine.

    The two fillers ask the same questions; settings that differ in anything else, other seeds and
    other splits give independent sequences. Beyond the result, memory holds one block.
    """
    if rows < 1:
        raise ValueError(f"rows {rows} is below 1; ask for at least one row")
    if split not in get_args(Split):
        raise ValueError(f"split {split!r} is unknown; use one of {', '.join(get_args(Split))}")
    tokens = _integer(setting.vocabulary)
    inputs = np.empty((rows, setting.length), tokens)
    positions = np.empty((rows, setting.pairs), _integer(setting.length))
    targets = np.empty((rows, setting.pairs), tokens)
    for first in range(0, rows, BLOCK):
        block = _block(setting, _stream(setting, seed, split, first // BLOCK))
        for array, part in zip((inputs, positions, targets), block):
            array[first : first + BLOCK] = part[: rows - first]
    return Data(from_numpy(inputs), from_numpy(positions), from_numpy(targets))


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Of tokens b p: the share of each row's queries answered, b. METRIC is its mean over rows."""
    return (predictions == targets).double().mean(dim=1)


def _integer(count: int) -> type[np.signedinteger]:
    return np.int16 if count <= 2**15 else np.int32


def _stream(setting: Setting, seed: int, split: str, block: int) -> np.random.Generator:
    words = (VERSION, setting.vocabulary, setting.length, setting.pairs, setting.power)
    key = " ".join(map(str, ("mqar", *words, seed, split, block)))
    return np.random.Generator(np.random.PCG64(int(hashlib.sha256(key.encode()).hexdigest(), 16)))


def _block(setting: Setting, stream: np.random.Generator) -> tuple[np.ndarray, ...]:
    """BLOCK rows of inputs, positions and targets."""
    pairs, half, shape = setting.pairs, setting.vocabulary // 2, (BLOCK, setting.length)
    integer = _integer(setting.vocabulary)
    keys = 1 + _distinct(stream, half - 1, pairs)  # rows pairs
    values = half + _distinct(stream, setting.vocabulary - half, pairs)  # rows pairs
    slots = _slots(stream, (setting.length - 2 * pairs) // 2, pairs, setting.power)
    asked = 2 * pairs + 2 * slots  # rows pairs
    # Drawn last, so that the filler changes nothing else.
    if setting.filler == "random":
        inputs = stream.integers(setting.vocabulary, size=shape, dtype=integer)
    else:
        inputs = np.zeros(shape, integer)
    inputs[:, 0 : 2 * pairs : 2] = keys
    inputs[:, 1 : 2 * pairs : 2] = values
    np.put_along_axis(inputs, asked, keys, axis=1)
    order = np.argsort(asked, axis=1)
    return inputs, *(np.take_along_axis(x, order, axis=1) for x in (asked, values))


def _distinct(stream: np.random.Generator, bound: int, pairs: int) -> np.ndarray:
    """Distinct integers below `bound`, every ordered choice equally likely: rows pairs."""
    # Repeated entries are drawn anew until none is left, which prefers no integer to another.
    drawn = stream.integers(bound, size=(BLOCK, pairs))
    rows = np.arange(BLOCK)
    while rows.size:
        ranked = np.sort(drawn[rows] * pairs + np.arange(pairs), axis=1)  # value, then column
        row, place = np.nonzero(ranked[:, 1:] // pairs == ranked[:, :-1] // pairs)
        column = ranked[row, place + 1] % pairs
        drawn[rows[row], column] = stream.integers(bound, size=row.size)
        rows = rows[np.unique(row)]
    return drawn


def _slots(stream: np.random.Generator, slots: int, pairs: int, power: float) -> np.ndarray:
    """The query slot of each pair, counted from 0 at the end of the pairs: rows pairs.

    Pairs choose in turn among the slots left, slot i = 1, 2 ... with weight i^(power - 1): the
    order in which exponential clocks of these rates ring.
    """
    rings = stream.standard_exponential((BLOCK, slots))  # rows slots
    rings *= np.arange(1, slots + 1) ** (1 - power)
    return np.argsort(rings, axis=1)[:, :pairs]
