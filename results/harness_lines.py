"""Lines of the tables of language models: the paper's numbers and ours, with standard errors.

The paper prints none; those of accuracies follow from the number of items of a set.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from . import published
from .cells import Row
from .harness_columns import ABLATIONS, NIAH, Column, Shape
from .select import variant
from .styles import STYLES, rank

AVG = "AVG"


@dataclass(frozen=True)
class Number:
    """value, stderr: as printed, so percent where the column is. n: items behind it, 0 if unknown.

    text: the paper's own spelling. error: why there is no value. asked: hash of the items.
    """

    value: float | None
    stderr: float | None = None
    n: int = 0
    text: str = ""
    error: str = ""
    asked: str = ""


@dataclass(frozen=True)
class Line:
    """One model.

    ours: whether it is not the paper's. scale: what lines that compare have in common. parameters,
    tokens: None where they are not known. row: any of its rows.
    """

    model: str
    name: str
    ours: bool
    parameters: float | None
    tokens: float | None
    numbers: dict[str, Number]
    scale: tuple[object, ...] = ()
    note: str = ""
    row: Row = field(default_factory=dict)


def columns(shape: Shape) -> dict[str, Column]:
    """All columns in the order of the table, those that the paper lacks among them."""
    found: dict[str, Column] = {}
    for header, column in shape.columns.items():
        found[header] = column
        found |= {extra.title: extra for after, extra in shape.extra if after == header}
    return found


def of_paper(shape: Shape) -> list[Line]:
    """The paper's lines, in its order."""
    models = {label: model for model, label in ABLATIONS.items()}
    made = []
    for line in published.languages(shape.file):
        numbers = {
            header: printed(line.cells[header], column)
            for header, column in shape.columns.items()
            if header in line.cells
        }
        if shape.mean:
            errors = [numbers[header].stderr for header in shape.mean]
            mean = float(line.cells[AVG])
            numbers[AVG] = Number(mean, of_mean(errors), text=line.cells[AVG])
        sizes = [float(text) * 1e9 if text else None for text in (line.parameters, line.tokens)]
        model = models.get(line.label, line.model)
        made.append(Line(model, line.label, False, sizes[0], sizes[1], numbers, note=line.note))
    return made


def printed(text: str, column: Column) -> Number:
    """A published number with the standard error of a fraction of so many items.

    The paper's needles are graded, not counted, so that theirs is not known.
    """
    value, error = float(text), None
    if column.items and column.percent and column.task != NIAH:
        error = 100 * math.sqrt(value / 100 * (1 - value / 100) / column.items)
    return Number(value, error, column.items, text)


def of_mean(errors: Sequence[float | None]) -> float | None:
    """The standard error of a plain mean of independent numbers; None unless all are known."""
    known = [error for error in errors if error is not None]
    return math.hypot(*known) / len(known) if known and len(known) == len(errors) else None


def of_rows(shape: Shape, rows: Iterable[Row]) -> list[Line]:
    """Ours: one line for each trained model, those of one scale below each other."""
    wanted = {(c.task, c.metric) for c in columns(shape).values()}
    tasks = {task for task, _ in wanted}
    models: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["key"]):
        known = (row["harness_task"], row["metric"]) in wanted
        if known or (row["status"] != "ok" and row["harness_task"] in tasks):
            models.setdefault(row["weights_sha256"], []).append(row)
    made = [ours(shape, same) for same in models.values()]
    return named(sorted(made, key=order))


def ours(shape: Shape, rows: Sequence[Row]) -> Line:
    """The line of one trained model."""
    row = rows[0]
    numbers = {
        header: best
        for header, column in columns(shape).items()
        if (best := measured([r for r in rows if r["harness_task"] == column.task], column))
    }
    parts = [numbers.get(header) for header in shape.mean]
    values = [part.value for part in parts if part and part.value is not None]
    if shape.mean and len(values) == len(shape.mean):
        errors = [part.stderr for part in parts if part]
        numbers[AVG] = Number(statistics.fmean(values), of_mean(errors))
    scale = tuple(row.get(name) for name in ("corpus", "tokeniser", "tokens", "d_model", "depth"))
    label = str(row.get("label") or row["model"])
    sizes = row.get("parameters"), row.get("tokens")
    return Line(row["model"], label, True, *sizes, numbers, scale, row=row)


def measured(rows: Sequence[Row], column: Column) -> Number | None:
    """The evaluation of the most items, the newest among such; failures only where nothing else."""
    size = 100.0 if column.percent else 1.0
    good = [r for r in rows if r["status"] == "ok" and r["metric"] == column.metric]
    if not good:
        errors = [str(r.get("error")) for r in rows if r["status"] != "ok"]
        return Number(None, error=errors[-1]) if errors else None
    row = max(good, key=lambda r: (r.get("n") or 0, str(r.get("time")), r["key"]))
    error = row.get("stderr")
    return Number(
        value=size * row["value"],
        stderr=None if error is None else size * error,
        n=row.get("n") or 0,
        asked=str(row.get("items_sha256") or ""),
    )


def named(lines: Sequence[Line]) -> list[Line]:
    """The same lines with variants in their names, and runs where two are alike."""
    models = {line.name: sorted({o.model for o in lines if o.name == line.name}) for line in lines}
    first = []
    for line in lines:
        told = variant(line.model, models[line.name]) if ":" in line.model else ""
        name = ABLATIONS.get(line.model) or ", ".join(filter(None, (line.name, told)))
        first.append(Line(**{**vars(line), "name": name}))
    made = []
    for line in first:
        alike = [o for o in first if (o.name, o.scale) == (line.name, line.scale)]
        run = str(line.row.get("run") or line.row.get("folder") or "")[:6]
        name = f"{line.name}, {run}" if len(alike) > 1 else line.name
        made.append(Line(**{**vars(line), "name": name}))
    return made


def order(line: Line) -> tuple[object, ...]:
    known = list(ABLATIONS)
    place = known.index(line.model) if line.model in known else -1
    base = rank(line.model.partition(":")[0])
    return (-(line.parameters or 0) // 10**8, repr(line.scale), base, place, line.row["key"])


def not_run(shape: Shape, lines: Sequence[Line]) -> list[Line]:
    """Lines without numbers: the zoo's models that the paper's table has, where none has run."""
    if lines:
        return []
    labels: dict[str, str] = {}
    for line in of_paper(shape):
        if line.model.partition(":")[0] in STYLES:
            labels.setdefault(line.model, published.LABELS.get(line.model, line.name))
    return [Line(model, label, True, None, None, {}) for model, label in labels.items()]


def ablations(lines: Sequence[Line]) -> list[Line]:
    """Of each scale the models of Table 8, also those that have not run."""
    kept = [line for line in lines if line.model in ABLATIONS]
    made = []
    for scale in dict.fromkeys(line.scale for line in kept):
        here = [line for line in kept if line.scale == scale]
        for model, name in ABLATIONS.items():
            same = [line for line in here if line.model == model]
            made += same or [Line(model, name, True, None, here[0].tokens, {}, scale)]
    return made
