"""ListOps (Nangia and Bowman 2018, arXiv 1804.06028) as LRA generates it: trees drawn anew.

The distribution is that of lra_benchmarks/data/listops.py (google-research/long-range-arena at
cd31e5c). A node above the last level is an operator with probability 1/4, else a digit; an operator
has 2 to max_args arguments, each number equally likely, one level down. Trees of as many tokens as
wanted are kept, repeated ones dropped. The published order is that of a hash set, which no seed
fixes; here one seeded stream draws the trees and shuffles them.

    release   ( ( ( [MAX 2 ) ( ( ( [SM 7 ) 6 ) ] ) ) ] )        target 3
    tokens    [MAX    2  [SM    7    6    ]    ]
    ids         12    3   14    8    7   15   15

MED is the median rounded down, SM the sum modulo 10.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tasks.lra import Dataset
from tasks.lra.data import write_split

# Ids 1..15; 0 pads.
TOKENS = (*map(str, range(10)), "[MIN", "[MAX", "[MED", "[SM", "]")
ID = {token: i for i, token in enumerate(TOKENS, start=1)}
DIGITS, MIN, CLOSE = ID["0"], ID["[MIN"], ID["]"]  # MIN, MAX, MED, SM have ids in this order
SHARE = 0.25  # of operators among nodes above the last level
BLOCK = 8192  # trees drawn together; another number gives other data
PATIENCE = 500  # blocks without a new tree before giving up


class Setting(NamedTuple):
    """max_depth: levels of a tree, the root's included. longer_than, shorter_than: tokens."""

    max_depth: int
    max_args: int
    longer_than: int
    shorter_than: int
    seed: int


class Trees(NamedTuple):
    """tokens: ids of all trees in a row. starts: trees + 1 offsets into it. values: trees, 0..9."""

    tokens: np.ndarray
    starts: np.ndarray
    values: np.ndarray


# The number of arguments of each node of one level of many trees, left to right; 0 for a digit. The
# next level holds these arguments in this order.
Level = np.ndarray


def build(dataset: Dataset, folder: Path, *, tell: Callable[[str], None]) -> str:
    """Generates the three splits and writes them to `folder`. Returns: where they come from."""
    setting = Setting(**{name: int(dataset.parameters[name]) for name in Setting._fields})
    inputs, labels = sample(setting, sum(dataset.rows.values()), tell)
    first = 0
    for split, count in dataset.rows.items():
        last = first + count
        write_split(folder, split, inputs[first:last], labels[first:last])
        first = last
    return "generated"


def sample(
    setting: Setting, rows: int, tell: Callable[[str], None] = lambda line: None
) -> tuple[list[np.ndarray], np.ndarray]:
    """`rows` distinct trees in random order. Returns: ids of each, uint8; values: rows, uint8."""
    stream = np.random.Generator(np.random.PCG64(setting.seed))
    kept: dict[bytes, tuple[np.ndarray, int]] = {}
    idle, began, told = 0, time.monotonic(), time.monotonic()
    while len(kept) < rows:
        before = len(kept)
        _keep(draw(setting, stream), kept)
        idle = idle + 1 if len(kept) == before else 0
        if idle == PATIENCE:
            raise ValueError(
                f"{idle * BLOCK:,} trees brought none that is new: {len(kept):,} of {rows:,} rows "
                f"found for {setting}; ask for fewer rows or a wider range of lengths"
            )
        if (now := time.monotonic()) - told > 2:
            told, rate = now, (len(kept) + 1) / (now - began)
            left = max(0, rows - len(kept)) / rate
            tell(f"{len(kept):,} of {rows:,} trees, {rate:,.0f} a second, {left:.0f} s left")
    found = list(kept.values())[:rows]
    order = stream.permutation(rows)
    labels = np.array([found[i][1] for i in order], np.uint8)
    return [found[i][0] for i in order], labels


def _keep(trees: Trees, kept: dict[bytes, tuple[np.ndarray, int]]) -> None:
    """Adds the trees that are new, in their order."""
    for (first, last), value in zip(pairwise(trees.starts), trees.values):
        row = trees.tokens[first:last]
        kept.setdefault(blake2b(row.data, digest_size=16).digest(), (row, int(value)))


def draw(setting: Setting, stream: np.random.Generator) -> Trees:
    """Of BLOCK trees those with a length in the setting's range."""
    # Shapes decide about lengths, so that symbols are drawn for the trees kept and no others.
    levels = _shapes(setting, stream)
    symbols = []
    for level in levels:
        operators = stream.integers(4, size=level.size, dtype=np.uint8)
        digits = stream.integers(10, size=level.size, dtype=np.uint8)
        symbols.append(np.where(level > 0, MIN + operators, DIGITS + digits))
    sizes, values = _ascend(levels, symbols)
    starts = np.append(0, np.cumsum(sizes[0]))
    tokens = np.full(starts[-1], CLOSE, np.uint8)
    positions = starts[:-1]
    for d, (level, symbol) in enumerate(zip(levels, symbols)):
        tokens[positions] = symbol
        if d + 1 < len(levels):
            positions = _descend(positions[level > 0] + 1, level[level > 0], sizes[d + 1])
    return Trees(tokens, starts, values)


def _shapes(setting: Setting, stream: np.random.Generator) -> list[Level]:
    """The levels of the trees kept, of which there may be none."""
    lengths = np.ones(BLOCK, np.int64)
    tree = np.arange(BLOCK)
    levels = []
    for depth in range(1, setting.max_depth + 1):
        arguments = np.zeros(tree.size, np.int64)
        if depth < setting.max_depth:
            operators = stream.random(tree.size) < SHARE
            drawn = stream.integers(2, setting.max_args + 1, size=np.count_nonzero(operators))
            arguments[operators] = drawn
        levels.append((tree, arguments))
        # An operator is two tokens itself and at least one for each argument.
        lengths += np.bincount(tree, arguments + (arguments > 0), BLOCK).astype(np.int64)
        # Lengths only grow: the rest of a tree that is too long need not be drawn.
        alive = np.where(lengths[tree] < setting.shorter_than, arguments, 0)
        tree = np.repeat(tree, alive)
    kept = (lengths > setting.longer_than) & (lengths < setting.shorter_than)
    return [arguments[kept[tree]] for tree, arguments in levels]


def _ascend(levels: list[Level], symbols: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns: tokens of the subtree of each node, level by level; values of the roots."""
    sizes: list[np.ndarray] = []
    values = np.empty(0, np.uint8)
    for level, symbol in zip(reversed(levels), reversed(symbols)):
        size, value = np.ones(symbol.size, np.int64), symbol - DIGITS
        operator = level > 0
        if operator.any():
            counts = level[operator]
            first = np.cumsum(counts) - counts
            size[operator] = 2 + np.add.reduceat(sizes[-1], first)
            value[operator] = _apply(symbol[operator], values, first, counts)
        sizes.append(size)
        values = value
    return sizes[::-1], values


def _apply(
    symbols: np.ndarray, values: np.ndarray, first: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """The value of each operator, whose arguments are values[first : first + counts]."""
    row = np.repeat(np.arange(counts.size), counts)
    arguments = np.full((counts.size, counts.max()), 10, np.uint8)  # 10 sorts behind all digits
    arguments[row, np.arange(values.size) - first[row]] = values
    arguments.sort(axis=1)
    rows = np.arange(counts.size)
    middle = arguments[rows, (counts - 1) // 2] + arguments[rows, counts // 2]
    sums = np.add.reduceat(values, first, dtype=np.int64)
    results = (arguments[:, 0], arguments[rows, counts - 1], middle // 2, sums % 10)
    return np.choose(symbols - MIN, results).astype(np.uint8)


def _descend(first: np.ndarray, counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Positions of nodes of these sizes: each operator's `counts` arguments, begun at `first`."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(first - before[np.cumsum(counts) - counts], counts) + before


def encode(text: str) -> np.ndarray:
    """Ids, uint8, of an expression as the release writes it; parentheses are dropped."""
    words = text.replace("(", " ").replace(")", " ").split()
    unknown = next((word for word in words if word not in ID), None)
    if unknown is not None or not words:
        given = f"symbol {unknown!r}" if words else "an empty expression"
        raise ValueError(f"ListOps: {given}; write an expression with {' '.join(TOKENS)} only")
    return np.array([ID[word] for word in words], np.uint8)


def decode(ids: np.ndarray) -> str:
    """The expression, its symbols parted by blanks, without parentheses."""
    return " ".join(TOKENS[i - 1] for i in ids.tolist())
