"""Needle in a haystack by generation, as in Shen et al. 2024 (arXiv 2406.16690): grid and averages.

A prompt of a given number of tokens is held-out text with one sentence, the needle, at a depth from
0 (the beginning) to 100 per cent, and ends in a question. In the easy mode the needle is the
question with its answer; in the hard mode it is a statement:

    easy   ... Question: what are the secret words of Susan? Answer: garden and thunder. ...
    hard   ... The secret words of Susan are garden and thunder. ...
    both   ... Question: what are the secret words of Susan? Answer:  -> " garden and thunder"

Deviations: an answer counts if the text that is generated has it, word for word, where the paper
lets a language model grade from 1 to 10; needles and haystack are not the package's that the paper
used, and every prompt has another needle and another piece of the haystack. The weight of depths
and lengths grows by ALPHA from each to the next, a number that the paper does not give: 1.01 takes
its LLaMA rows from their averages to their weighted averages.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tasks.lm.needle import NAMES, words
from tasks.lm.probes import stream
from tasks.lm.tokenisers import Tokeniser

Mode = Literal["easy", "hard"]

# The grid of the package that the paper used: tokens, and per cent of the haystack.
LENGTHS = tuple(int(n) for n in np.round(np.linspace(1000, 16_000, 35)))
DEPTHS = tuple(int(n) for n in np.round(np.linspace(0, 100, 35)))
ANSWER = 32  # tokens at most
ALPHA = 1.01
NEAR = 0.1  # how far a length may be from the one that it stands for, fraction
QUESTION = " Question: what are the secret words of {name}? Answer:"
NEEDLES = {
    "easy": QUESTION + " {words}.",
    "hard": " The secret words of {name} are {words}.",
}
BACK = 200  # tokens in which the end of a sentence is looked for
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Cell:
    """One prompt, `length` ids with the question. depth: per cent. words: of the answer."""

    length: int
    depth: float
    ids: list[int]
    words: tuple[str, str]

    @property
    def answer(self) -> str:
        return " and ".join(self.words)


def cells(
    tokeniser: Tokeniser,
    texts: Sequence[str],
    lengths: Sequence[int],
    depths: Sequence[float],
    mode: Mode = "easy",
    seed: int = 0,
) -> Iterator[Cell]:
    """The prompts of a grid, length by length. Haystacks shorter than a prompt are repeated.

    Raises: ValueError for a length that is too short, or for texts that have too few words.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode {mode!r} is not known; type one of {', '.join(get_args(Mode))}")
    random, known = stream("niah", seed, mode), words(texts)
    if len(known) < 2:
        raise ValueError("the haystack has fewer than two words to hide; give more text")
    haystack = tokeniser.encode("\n\n".join(texts))
    for length, depth in itertools.product(lengths, depths):
        name = NAMES[random.integers(len(NAMES))]
        a, b = (known[i] for i in random.permutation(len(known))[:2])
        needle = tokeniser.encode(NEEDLES[mode].format(name=name, words=f"{a} and {b}"))
        question = tokeniser.encode(QUESTION.format(name=name))
        size = length - len(needle) - len(question)
        if size < 1:
            fixed = length - size
            raise ValueError(
                f"length {length} is too short: needle and question alone have {fixed} tokens;"
                f" type a length of {2 * fixed} or more"
            )
        start = int(random.integers(len(haystack)))
        hay = [haystack[(start + i) % len(haystack)] for i in range(size)]
        at = place(tokeniser, hay, depth)
        yield Cell(length, depth, [*hay[:at], *needle, *hay[at:], *question], (a, b))


def place(tokeniser: Tokeniser, ids: Sequence[int], depth: float) -> int:
    """Where the needle goes: behind the last sentence that ends before `depth` per cent."""
    wanted = round(len(ids) * depth / 100)
    if depth >= 100:
        return len(ids)
    for at in range(wanted, max(0, wanted - BACK), -1):
        if tokeniser.decode([ids[at - 1]]).rstrip().endswith((".", "!", "?")):
            return at
    return wanted


def matches(cell: Cell, generated: str) -> bool:
    """Whether the answer stands in a text, whatever capitals and white space."""
    return cell.answer in " ".join(generated.lower().split())


def recall(cell: Cell, generated: str) -> float:
    """Share of the answer's two words that stand in a text."""
    found = set(_WORD.findall(generated.lower()))
    return sum(word in found for word in cell.words) / len(cell.words)


def nearest(lengths: Sequence[int], wanted: int) -> int | None:
    """The length of a grid that stands for `wanted` tokens; None if none is within NEAR of it."""
    closest = min(lengths, key=lambda length: abs(length - wanted))
    return closest if abs(closest - wanted) <= NEAR * wanted else None


def at(grid: np.ndarray, lengths: Sequence[int], wanted: int) -> float | None:
    """Mean over depths at one length. grid: lengths x depths, 0 to 1."""
    length = nearest(lengths, wanted)
    return None if length is None else float(grid[list(lengths).index(length)].mean())


def up_to(grid: np.ndarray, lengths: Sequence[int], wanted: int) -> float | None:
    """Mean over depths and over the lengths up to one; None if the grid does not reach it."""
    length = nearest(lengths, wanted)
    return None if length is None else float(grid[np.asarray(lengths) <= length].mean())


def weights(count: int, alpha: float = ALPHA) -> np.ndarray:
    """Their sum is 1, and each is alpha times the one before it."""
    found = alpha ** np.arange(count)
    return found / found.sum()


def weighted(grid: np.ndarray, alpha: float = ALPHA) -> float:
    """Mean with weights that grow with length and with depth. grid: as in `at`, ascending."""
    by_length, by_depth = (weights(count, alpha) for count in grid.shape)
    return float(by_length @ grid @ by_depth)


def evenness(row: np.ndarray, threshold: float) -> float:
    """The penalty of one length: 1 if all depths succeed, 0 if none does, else 2^((1 - n) / 2).

    n: number of runs of depths with equal outcomes. row: over depths, ascending.
    """
    passed = row >= threshold
    if passed.all() or not passed.any():
        return float(passed.all())
    runs = 1 + int((passed[1:] != passed[:-1]).sum())
    return 2.0 ** ((1 - runs) / 2)


def score(grid: np.ndarray, alpha: float = ALPHA, threshold: float = 0.5) -> float:
    """NIAH score: the weighted mean, each length times its penalty."""
    return weighted(grid * np.array([[evenness(row, threshold)] for row in grid]), alpha)


def columns(grid: np.ndarray, lengths: Sequence[int]) -> dict[str, float | None]:
    """The columns of the paper's Table A8, as fractions; None where the lengths do not reach.

    k stands for 1000 or 1024 tokens: the length that is nearest, within a tenth.
    """
    found = {f"acc_{k}k": at(grid, lengths, 1000 * k) for k in (2, 4, 8, 16)}
    found |= {f"acc_le_{k}k": up_to(grid, lengths, 1000 * k) for k in (4, 8)}
    longest = nearest(lengths, 16_000)
    part = None if longest is None else grid[np.asarray(lengths) <= longest]
    found["avg"] = None if part is None else float(part.mean())
    return found | {"weighted_avg": None if part is None else weighted(part)}
