"""From rows of the Long Range Arena to comparisons: one for each preset, other data apart.

Only runs on data of kind `lra` are ever in a comparison of LRA scores. What has another kind (a
variant, a short data set, a stand-in) has a comparison of its own, even under the same preset.
A run that is not of a preset belongs to the one whose setting it has: a model, a seed or a learning
rate that the preset lacks stands beside those that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .cells import Cell, Row, seed_of, sign
from .published import LRA_TASKS
from .select import MEASURED as MEASURED_BY_ALL
from .select import make_cell, most_common, variant, words
from .styles import rank

KIND = "lra"  # of the data whose scores are LRA scores
PRESETS = ("paper", "s4", "lra-original", "quick")  # in this order, then others, then none
# What a run found out or ran on. Every other field of a row is part of its configuration.
MEASURED = MEASURED_BY_ALL | frozenset(
    """dataset_kind dataset_of baselines data_source best_update epochs accumulated
    resumed resumed_notes""".split()  # noqa: SIM905  as words
)
# What is varied within a cell, or says which cell it is.
VARIED = frozenset({"model", "dataset", "lr", "seed", "data_seed"})

Key = tuple[str, tuple[str, ...]]  # of a line: its model, and where it departs from the others


@dataclass(frozen=True)
class Line:
    """One model with one configuration for each data set.

    name: as printed, unique in its comparison. apart: fields that tell it from other lines of the
    model. cells: by name of the data set.
    """

    model: str
    name: str
    family: str
    apart: frozenset[str]
    cells: dict[str, Cell]

    @property
    def base(self) -> str:
        """The model without its variants."""
        return self.model.partition(":")[0]


@dataclass(frozen=True)
class Group:
    """One comparison: models in lines, data sets in columns.

    scores: whether these are LRA scores. usual: configuration that most runs on a data set have.
    """

    preset: str
    scores: bool
    datasets: tuple[str, ...]
    usual: dict[str, dict[str, Any]]
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]

    def on(self, dataset: str) -> list[Row]:
        """The runs on one data set."""
        return [row for row in self.rows if row["dataset"] == dataset]

    @property
    def cells(self) -> list[Cell]:
        return [cell for line in self.lines for cell in line.cells.values()]

    def best(self, dataset: str) -> set[str]:
        """Names of the lines to print in bold: all whose mean is printed as the best one is."""
        cells = {line.name: line.cells.get(dataset) for line in self.lines}
        ranked = {
            name: round(sign(cell.runs[0]) * cell.mean, 3)
            for name, cell in cells.items()
            if cell and cell.mean is not None
        }
        top = max(ranked.values(), default=None)
        return {name for name, mean in ranked.items() if mean == top}


def is_score(row: Row) -> bool:
    """Whether a run's accuracy is an LRA score: on data of LRA's own, under their name."""
    return row.get("dataset_kind") == KIND and row["dataset"] in LRA_TASKS


def groups(rows: Iterable[Row]) -> list[Group]:
    """All comparisons in the rows, in an order that does not depend on that of the rows."""
    ordered = sorted(rows, key=lambda row: (_rank(row), row["key"]))
    presets: dict[str, str] = {}
    for row in ordered:
        presets.setdefault(_setting(row), str(row.get("preset") or ""))
    found: dict[tuple[str, bool], list[Row]] = {}
    for row in ordered:
        preset = str(row.get("preset") or "") or presets[_setting(row)]
        found.setdefault((preset, is_score(row)), []).append(row)
    return [
        make_group(*key, sorted(found[key], key=lambda row: row["key"]))
        for key in sorted(found, key=lambda key: (_rank({"preset": key[0]}), not key[1]))
    ]


def make_group(preset: str, scores: bool, rows: Sequence[Row]) -> Group:
    """Rows of one preset as lines and cells, in the zoo's order of models."""
    tasks = {row["dataset"]: str(row.get("dataset_of")) for row in rows}
    datasets = LRA_TASKS if scores else tuple(sorted(tasks, key=lambda at: (_task(tasks[at]), at)))
    on = {at: [row for row in rows if row["dataset"] == at] for at in datasets}
    fields = sorted({name for row in rows for name in row} - MEASURED - VARIED)
    usual = {
        at: {name: most_common([row.get(name) for row in here]) for name in fields if here}
        for at, here in on.items()
    }
    varied = {
        model: _varied([row for row in rows if row["model"] == model], fields)
        for model in sorted({row["model"] for row in rows})
    }
    split: dict[Key, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["model"]):
        common = usual[row["dataset"]]
        departs = [name for name in varied[row["model"]] if row.get(name) != common[name]]
        told = tuple(words(name, row.get(name)) for name in departs)
        split.setdefault((row["model"], told), []).append(row)
    named, plan = _names(split, varied), {at: _plan(here) for at, here in on.items()}
    lines = [_line(named[key], varied[key[0]], same, plan) for key, same in split.items()]
    lines.sort(key=lambda line: (rank(line.model), line.name))
    return Group(preset, scores, datasets, usual, tuple(lines), tuple(rows))


def _line(
    name: str, apart: Sequence[str], rows: Sequence[Row], plan: dict[str, tuple[int, int]]
) -> Line:
    first = rows[0]
    cells = {}
    for dataset, planned in plan.items():
        if here := [row for row in rows if row["dataset"] == dataset]:
            cells[dataset] = make_cell(here, *planned)
    return Line(first["model"], name, str(first.get("family", "")), frozenset(apart), cells)


def _plan(rows: Sequence[Row]) -> tuple[int, int]:
    """Seeds and learning rates that the comparison has on a data set: the most of any model.

    Models may have grids of their own, so that a rate which another model tried is not missing.
    """
    tried: dict[str, set[float]] = {}
    for row in rows:
        tried.setdefault(row["model"], set()).add(row["lr"])
    return len({seed_of(row) for row in rows}), max(map(len, tried.values()), default=0)


def _varied(rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    """Fields of which a model has several values on one and the same data set."""
    seen: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name in fields:
            seen.setdefault((row["dataset"], name), set()).add(repr(row.get(name)))
    return sorted({name for (_, name), values in seen.items() if len(values) > 1})


def _names(split: dict[Key, list[Row]], varied: dict[str, list[str]]) -> dict[Key, str]:
    """Short names, all different: the label, and only where two share one, what sets them apart."""
    labels = {key: str(same[0].get("label") or key[0]) for key, same in split.items()}
    plain, named = {}, {}
    for (model, told), same in split.items():
        key = model, told
        models = sorted({other[0] for other in split if labels[other] == labels[key]})
        parts = [labels[key], variant(model, models) if len(models) > 1 else ""]
        first = ", ".join(part for part in parts if part)
        more = [words(name, same[0].get(name)) for name in varied[model] if _one(same, name)]
        plain[key], named[key] = ", ".join([first, *told]), ", ".join([first, *more])
    taken = list(named.values())
    return {key: name if taken.count(name) == 1 else plain[key] for key, name in named.items()}


def _one(rows: Sequence[Row], field: str) -> bool:
    return len({repr(row.get(field)) for row in rows}) == 1


def _task(name: str) -> int:
    return LRA_TASKS.index(name) if name in LRA_TASKS else len(LRA_TASKS)


def _rank(row: Row) -> tuple[int, str]:
    """Where the row's preset stands."""
    preset = str(row.get("preset") or "")
    return PRESETS.index(preset) if preset in PRESETS else len(PRESETS) + (not preset), preset


def _setting(row: Row) -> str:
    """What runs of other models, seeds and learning rates have in common with this one."""
    varied = MEASURED | VARIED - {"dataset"} | {"plugin_sha256"}
    return repr([(name, row[name]) for name in sorted(set(row) - varied)])
