"""The signs beside the numbers of the Long Range Arena, and the notes that explain them."""

from __future__ import annotations

from collections.abc import Callable

from . import lra_settings, marks, spelling
from .cells import Cell
from .lra_blocks import Group
from .lra_captions import name
from .marks import EDGE, FAILED, SHORT, TEST
from .select import words
from .spelling import DASH


def signs(cell: Cell) -> str:
    """As for every table, but whatever was selected on the test set is marked: weights are, too."""
    on_test = TEST * (cell.selection == "test" and TEST not in marks.signs(cell))
    return on_test + marks.signs(cell)


def notes(group: Group) -> list[str]:
    """What each sign stands for, naming the cells; then settings, and the paper's footnotes."""
    listed = {
        f"{TEST} the test set stands in for the validation set, as in the published protocol, which"
        " makes the number optimistic": lambda cell: " " * (cell.selection == "test"),
        f"{EDGE} the best learning rate is at the edge of the grid; a better one may lie outside": (
            lambda cell: cell.edge * bool(marks.edge_sign(cell))
        ),
        f"{SHORT} fewer runs than the comparison plans": lambda cell: cell.missing,
        f"{FAILED} runs without result, counted here and in no mean": (
            lambda cell: spelling.statuses(cell.failures)
        ),
    }
    found = [
        f"{text}: {where}." for text, what in listed.items() if (where := _places(group, what))
    ]
    found += held_back(group) + departures(group)
    if group.scores:
        gone = _absent(group)
        found = [f"{DASH} not run: {gone}."] * bool(gone) + found
        found += lra_settings.notes(group) + about_paper()
    return found


def held_back(group: Group) -> list[str]:
    """Text has no validation set; whoever selects on one trains on fewer rows than others did."""
    rows = group.on("text") if group.scores else []
    if not any(row.get("selection") == "validation" for row in rows):
        return []
    return [
        "Text has no validation set: a part of its training rows is held back for it, so ours see"
        " fewer rows than the published protocol, which selects on the test set."
    ]


def departures(group: Group) -> list[str]:
    """Variants behind the printed names, and what some lines have and others on the data lack."""
    variants = [f"{line.name} is {line.model}" for line in group.lines if ":" in line.model]
    odd: dict[tuple[str, str], list[str]] = {}
    for line in group.lines:
        for dataset, cell in line.cells.items():
            row, usual = cell.rows[0], group.usual[dataset]
            odd_ones = [f for f, v in usual.items() if row.get(f) != v and f not in line.apart]
            said = [words(field, row.get(field)) for field in odd_ones]
            if said:
                odd.setdefault((line.name, ", ".join(said)), []).append(name(group, dataset))
    where = [f"{who} has {what} ({', '.join(on)})" for (who, what), on in odd.items()]
    return [f"{'; '.join(found)}." for found in (variants, where) if found]


def _places(group: Group, what: Callable[[Cell], str]) -> str:
    """`GLA ListOps lowest; Mamba ListOps Text 2 of 3 seeds`. what: empty where there is nothing."""
    found = []
    for line in group.lines:
        said: dict[str, list[str]] = {}
        for dataset, cell in line.cells.items():
            if text := what(cell):
                said.setdefault(text.strip(), []).append(name(group, dataset))
        parts = [f"{' '.join(on)} {text}".strip() for text, on in said.items()]
        found += [f"{line.name} {', '.join(parts)}"] * bool(parts)
    return "; ".join(found)


def _absent(group: Group) -> str:
    """`HGRN Image Path-X`: tasks that a model of ours has not been run on."""
    lacking = {
        line.name: [t for t in group.datasets if t not in line.cells] for line in group.lines
    }
    told = {who: " ".join(name(group, each) for each in on) for who, on in lacking.items()}
    return "; ".join(f"{who} {where}" for who, where in told.items() if where)


def about_paper() -> list[str]:
    """What must be known about single published numbers."""
    return [
        "HGRN's published Image number is of RGB images with augmentation (its launch script),"
        " the others of grey ones: not the same task.",
        "Attention is the paper's Transformer, whose mean counts the missing Path-X as 0, so no"
        " difference from it is printed.",
    ]
