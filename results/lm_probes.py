"""Probes of language models: small tests of memory, each with its standard error."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import spelling
from .cells import Block, Cell, Row
from .lm_blocks import only
from .spelling import DASH, number
from .writers import Text

ORDER = ("last", "copy", "induction", "needle")  # how names begin; others come behind
BEATS = {"copy": "copy_unrelated"}  # a probe, and what it has to beat
UNRANKED = tuple(BEATS.values())
# Endings of names whose values are no fractions, and whether more is better.
OTHERS = {"_nats": False, "_bits_saved": True}


@dataclass(frozen=True)
class Probe:
    """value: mean over seeds. stderr: of one run over its questions.

    All runs have the same questions, so the error over them does not shrink with more seeds.
    """

    name: str
    value: float
    stderr: float | None

    @property
    def text(self) -> str:
        if fraction(self.name):
            return f"{100 * self.value:.1f}"
        return f"{round(self.value, 3) + 0.0:.3f}".replace("-", "\N{MINUS SIGN}")  # never -0.000

    @property
    def spread(self) -> str:
        """Nothing for an error of zero, which all right or all wrong answers have."""
        if not self.stderr:
            return ""
        error = f"{100 * self.stderr:.1f}" if fraction(self.name) else f"{self.stderr:.3f}"
        return f" ± {error}"


def said(names: Sequence[str]) -> str:
    """What the columns of these probes are."""
    text = (
        "Probes: accuracy in percent, mean over seeds ± standard error of one run over its"
        " questions, which are the same for all; higher is better."
    )
    bold = " The best is bold where it is 2 of its standard errors above chance."
    beaten = " Copy has to beat copy unrelated, which is the same text after other text."
    others = " Nats and bits are not in percent; fewer nats are better."
    unlike = not all(map(fraction, names))
    return f"{text}{bold}{beaten * ('copy_unrelated' in names)}{others * unlike}"


def fraction(name: str) -> bool:
    return not name.endswith(tuple(OTHERS))


def headlines(block: Block) -> list[str]:
    """Accuracies that stand for a whole probe, in a fixed order."""
    return [name for name in named(block) if fraction(name) and not name[-1].isdigit()]


def details(block: Block) -> list[str]:
    """The rest: accuracies at one length or gap, and what is measured in nats or bits."""
    return [name for name in named(block) if name not in headlines(block)]


def named(block: Block) -> list[str]:
    """Probes that any run of the comparison has, in a fixed order."""
    return sorted({name for row in block.rows for name in of(row)}, key=_place)


def of(row: Row) -> dict[str, dict[str, Any]]:
    """The probes of a run that have a number."""
    found = row.get("probes") or {}
    return {name: each for name, each in found.items() if each and each.get("value") is not None}


def probe(cell: Cell, name: str) -> Probe | None:
    """Over the runs behind the cell's number; None where no run has it."""
    found = [of(row)[name] for row in cell.runs if name in of(row)]
    if not found:
        return None
    squares = [each["stderr"] ** 2 for each in found if each.get("stderr") is not None]
    error = math.sqrt(statistics.fmean(squares)) if squares else None
    return Probe(name, statistics.fmean(each["value"] for each in found), error)


def fact(block: Block, name: str, what: str) -> Any:
    """What is the same for all runs: `chance`, `n`, whether the length is `extrapolated`."""
    found = [of(row)[name].get(what) for row in block.rows if name in of(row)]
    return next((value for value in found if value is not None), None)


def entries(block: Block, cell: Cell, names: Sequence[str]) -> list[Text]:
    """A model's answers, the best of each probe in bold."""
    made = []
    for name in names:
        found = probe(cell, name)
        made.append(
            Text(found.text, found.spread, found.text == best(block, name)) if found else Text(DASH)
        )
    return made


def best(block: Block, name: str) -> str:
    """The best of several values as printed, if it says anything by itself: not within 2 of its
    standard errors of what no memory gives.
    """
    found = [(p, line) for line in block.lines if (p := probe(only(line), name)) is not None]
    higher = all(up for ending, up in OTHERS.items() if name.endswith(ending))
    found.sort(key=lambda pair: pair[0].value, reverse=higher)
    if len(found) < 2 or name in UNRANKED:
        return ""
    first, line = found[0]
    level = floor(block, only(line), name)
    if level is not None and first.value - level.value <= 2 * math.hypot(
        first.stderr or 0.0, level.stderr or 0.0
    ):
        return ""
    return first.text


def floor(block: Block, cell: Cell, name: str) -> Probe | None:
    """What a model without memory gets: chance; of copy, what this model gets after other text."""
    if name in BEATS:
        return probe(cell, BEATS[name])
    chance = fact(block, name, "chance")
    return None if chance is None else Probe(name, chance, 0.0)


def foot(block: Block, names: Sequence[str]) -> list[list[Text]]:
    """Lines for chance and for the number of questions, as far as they are known."""
    made = []
    for title, what, spelt in (("chance", "chance", percent), ("questions", "n", number)):
        found = [fact(block, name, what) for name in names]
        if any(value is not None for value in found):
            texts = ["" if value is None else spelt(value) for value in found]
            made.append([Text(title), *map(Text, texts)])
    return made


def percent(chance: float) -> str:
    return spelling.percent(chance) if chance else "0"


def _place(name: str) -> tuple[int, list[tuple[bool, int, str]]]:
    """Numbers in names count as numbers: needle_64 before needle_128."""
    begins = [name.startswith(start) for start in ORDER]
    parts = [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in re.split(r"(\d+)", name)]
    return begins.index(True) if True in begins else len(ORDER), parts
