"""Settings of runs of the Long Range Arena: a table of them, and where they are not the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import published, spelling
from .cells import Cell, Row
from .lra_blocks import Group, Line
from .spelling import DASH, joined, number
from .writers import Table, Text

# Fields as the table of settings and the notes call them.
NAMES = {
    "depth": "depth",
    "d_model": "d_model",
    "channel_mixer": "channel mixer",
    "d_channel": "d_glu",
    "norm": "norm",
    "block": "norm before or after",
    "positions": "positions",
    "bidirectional": "bidirectional",
    "pooling": "pooling",
    "head": "head",
    "inputs": "pixels as",
    "dropout": "dropout of the embedding",
    "sublayer_dropout": "dropout",
    "lr": "learning rate",
    "state_lr": "learning rate of decays",
    "schedule": "schedule",
    "batch": "batch",
    "updates": "updates",
    "warmup": "warm-up",
    "weight_decay": "weight decay",
    "clip": "clip",
    "precision": "precision",
    "selection": "selection",
}
TEXTS = ("listops", "text", "retrieval")  # tasks without pixels
MODEL = "metala"  # whose settings Table A4 has


def of_runs(group: Group, title: str, headers: dict[str, str]) -> Table:
    """What the runs of each data set have in common; `1 to 3`, or `varies`, where they differ."""
    body = []
    for field, name in NAMES.items():
        entries = [
            _shared([row.get(field) for row in group.on(at) if field in of(row)], field)
            for at in headers
        ]
        if any(entry != DASH for entry in entries):
            body.append([Text(name), *map(Text, entries)])
    said = ["d_glu 0: the channel mixer's own rule; learning rate of decays 0: as the others'."]
    header = ["Setting", *headers.values()]
    return Table("settings", f"Settings, {title}", header, body, [], said, [])


def of(row: Row) -> set[str]:
    """Fields that matter to a run: how pixels are read does not where there are none."""
    return set(NAMES) - ({"inputs"} if row.get("dataset_of") in TEXTS else set())


def notes(group: Group) -> list[str]:
    """Where ours are not the settings behind the published numbers, in sentences."""
    lines = [line for line in group.lines if _compared(line)]
    others = [line for line in lines if line.model != MODEL]
    paper = group.preset == "paper"
    made: dict[str, list[str]] = {}
    for line in lines:
        if (paper or line.model == MODEL) and (text := departures(line)):
            made.setdefault(text, []).append(line.name)
    said = [
        f"{joined(names)}, where ours is not MetaLA's published setting ({published.LRA_SETTINGS},"
        f" in brackets): {text}."
        for text, names in made.items()
    ]
    if others:
        whose = "MetaLA's settings" if paper else f"the settings of {_runs(group)}"
        beyond = f" ({published.LRA_SETTINGS}, but for what is named above)" if made else ""
        beyond = beyond or f" ({published.LRA_SETTINGS})"
        said.append(
            f"{joined(line.name for line in others)}: trained under {whose}{beyond * paper}; each"
            " published number comes from its own paper's settings."
        )
    return said


def departures(line: Line) -> str:
    """`ListOps depth 2 (6), batch 32 (128); Text updates 12,480 (50,000)`: ours (Table A4)."""
    told = []
    for task, settings in published.lra_settings().items():
        if cell := line.cells.get(task):
            ours = _setting(cell)
            odd = [f"{_words(f, ours.get(f), v)}" for f, v in settings.items() if ours.get(f) != v]
            told += [f"{published.LRA_TITLES[task]} {', '.join(odd)}"] * bool(odd)
    return "; ".join(told)


def _setting(cell: Cell) -> Row:
    """The configuration of the runs behind a number, or of those that failed."""
    return (cell.runs or cell.rows)[0]


def _compared(line: Line) -> bool:
    """Whether a published number stands beside one of ours."""
    return any(task in published.lra().get(line.model, {}) for task in line.cells)


def _runs(group: Group) -> str:
    return f"the preset `{group.preset}`" if group.preset else "these runs"


def _words(field: str, ours: Any, theirs: Any) -> str:
    name = NAMES[field]
    return f"{name} {spelt(field, ours)} ({spelt(field, theirs)})"


def spelt(field: str, value: Any) -> str:
    """One setting in a table or a note."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in ("lr", "state_lr") and value:
        return spelling.rate(value)
    whole = isinstance(value, float) and value == int(value)
    return number(int(value) if whole else value)


def _shared(values: Sequence[Any], field: str) -> str:
    known = {repr(value): value for value in values if value is not None}
    if len(known) < 2:
        return next((spelt(field, value) for value in known.values()), DASH)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in known.values()):
        return f"{spelt(field, min(known.values()))} to {spelt(field, max(known.values()))}"
    return (
        "varies" if len(known) > 2 else " or ".join(spelt(field, known[v]) for v in sorted(known))
    )
