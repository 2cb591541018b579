"""Which models the seeds tell apart: each from the best one, and each from the next in rank."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .cells import Block, Cell, Line, seed_of, sign
from .lm_blocks import only

ENOUGH = 2.0  # deviations, or standard errors, from where on a difference counts
APART, NEAR, UNKNOWN = "<", "≈", "?"


@dataclass(frozen=True)
class Pair:
    """Two neighbours in rank, the better one first.

    difference: mean over common seeds of how much worse the second is. stderr: of that mean; None
    with fewer than two common seeds. seeds: common ones.
    """

    first: Line
    second: Line
    difference: float | None
    stderr: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        if self.difference is None or self.stderr is None:
            return UNKNOWN
        return APART if self.difference > ENOUGH * self.stderr else NEAR


def ranked(block: Block) -> list[Line]:
    """Lines that have a number, the best first; equal ones in the zoo's order."""
    known = [
        (-sign(cell.runs[0]) * cell.mean, i)
        for i, cell in enumerate(map(only, block.lines))
        if cell.mean is not None
    ]
    return [block.lines[i] for _, i in sorted(known)]


def pairs(block: Block) -> list[Pair]:
    """Every line but the last with the one behind it."""
    return [compare(first, second) for first, second in pairwise(ranked(block))]


def compare(first: Line, second: Line) -> Pair:
    """Paired by seed: runs of a seed see the same data in the same order, whatever their model."""
    ours, theirs = ({seed_of(row): row for row in only(line).runs} for line in (first, second))
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return Pair(first, second, None, None, 0)
    found = [sign(ours[at]) * (ours[at]["value"] - theirs[at]["value"]) for at in common]
    error = statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else None
    return Pair(first, second, statistics.fmean(found), error, len(found))


def beside_best(block: Block) -> dict[str, str]:
    """By name of a line: NEAR within 2 pooled deviations of the best, UNKNOWN where none is known.

    The best itself, and lines that are further away, are not in it.
    """
    order = ranked(block)
    told = {line.name: _beside(only(order[0]), only(line)) for line in order[1:]}
    return {name: verdict for name, verdict in told.items() if verdict != APART}


def _beside(best: Cell, other: Cell) -> str:
    assert best.mean is not None
    assert other.mean is not None
    deviation = pooled([row["value"] for row in best.runs], [row["value"] for row in other.runs])
    if deviation is None:
        return UNKNOWN
    return APART if abs(other.mean - best.mean) > ENOUGH * deviation else NEAR


def pooled(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Standard deviation of both samples around their own means; None for a single run."""
    if min(len(ours), len(theirs)) < 2:
        return None
    squares = [(len(each) - 1) * statistics.variance(each) for each in (ours, theirs)]
    return math.sqrt(sum(squares) / (len(ours) + len(theirs) - 2))


def chain(found: Sequence[Pair]) -> str:
    """`MetaLA < GLA ≈ Mamba ? HGRN`, the best first."""
    if not found:
        return ""
    return found[0].first.name + "".join(f" {p.verdict} {p.second.name}" for p in found)


def said(block: Block) -> list[str]:
    """The order of the models as notes, with what the signs in it mean."""
    found = pairs(block)
    verdicts = {pair.verdict for pair in found}
    if not found:
        return []
    if verdicts == {UNKNOWN}:
        order = ", ".join(line.name for line in ranked(block))
        return [f"Best first, untested for lack of a second common seed: {order}."]
    counts = sorted({pair.seeds for pair in found if pair.verdict != UNKNOWN})
    seeds = " to ".join(str(n) for n in dict.fromkeys([counts[0], counts[-1]]))
    means = {
        APART: "the difference is above 2 of its standard errors",
        NEAR: "it is not",
        UNKNOWN: "fewer than two common seeds",
    }
    if APART not in verdicts:
        means[NEAR] = "the difference is not above 2 of its standard errors"
    signs = "; ".join(f"{sign} {text}" for sign, text in means.items() if sign in verdicts)
    return [
        f"Best first, each beside the next one alone, paired by seed (n = {seeds}): {chain(found)}."
        f" {signs}.{' With two seeds the test is weak.' if counts[0] == 2 else ''}"
    ]
