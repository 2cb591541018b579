"""The signs beside numbers of language models, and the notes that explain them."""

from __future__ import annotations

from collections.abc import Callable

from . import lm_ranks, marks, spelling
from .cells import Block, Cell
from .lm_blocks import only
from .lm_ranks import NEAR, UNKNOWN
from .marks import EDGE, FAILED, SHORT
from .select import words
from .spelling import joined


def notes(block: Block) -> list[str]:
    """Who cannot be told from the best, then every sign with its lines, then the order of all."""
    near = lm_ranks.beside_best(block)
    like = [name for name, verdict in near.items() if verdict == NEAR]
    open_ = [name for name, verdict in near.items() if verdict == UNKNOWN]
    made = [f"{NEAR} within 2 pooled standard deviations of the best: {', '.join(like)}."]
    made = made * bool(like)
    if open_ and len(open_) < len(lm_ranks.ranked(block)) - 1:
        made.append(f"For lack of a second seed not tested against the best: {', '.join(open_)}.")
    elif open_:
        made.append("One seed: which models differ from the best is not known.")
    listed: dict[str, Callable[[Cell], str]] = {
        f"{EDGE} the best learning rate is at the edge of the grid; a better one may lie outside": (
            lambda cell: cell.edge * bool(marks.edge_sign(cell))
        ),
        f"{SHORT} fewer runs than the comparison plans": lambda cell: cell.missing,
        f"{FAILED} runs without result, counted here and in no mean": (
            lambda cell: spelling.statuses(cell.failures)
        ),
    }
    for meaning, what in listed.items():
        found = [f"{line.name} {text}" for line in block.lines if (text := what(only(line)))]
        made += [f"{meaning}: {'; '.join(found)}."] * bool(found)
    return made + departures(block) + lm_ranks.said(block)


def departures(block: Block) -> list[str]:
    """Variants behind the printed names, and what a line has that its name does not say."""
    variants = "; ".join(f"{x.name} is {x.model}" for x in block.lines if ":" in x.model)
    return [f"{text}." for text in (variants, untold(block)) if text]


def untold(block: Block) -> str:
    """`Attention: positions rope; GLA and HGRN: accumulate 2`."""
    odd: dict[str, list[str]] = {}
    for line in block.lines:
        told = [words(name, value) for name, value in line.differs.items()]
        if rest := [text for text in told if text not in line.name.split(", ")]:
            odd.setdefault(", ".join(rest), []).append(line.name)
    return "; ".join(f"{joined(names)}: {what}" for what, names in odd.items())
