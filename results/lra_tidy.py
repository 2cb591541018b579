"""Table 7 as flat lines for CSV: full precision, settings, and the keys of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import published
from .cells import Cell, Row
from .lra_blocks import MEASURED, VARIED, Group, Line
from .lra_tables import lines
from .tidy import NOTHING, difference, search


def cells(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """One line per model and data set that has a number of ours or of the paper's.

    Accuracies are fractions, the paper's is as printed, the difference in points. A line that only
    the paper has, has no preset, and comes once.
    """
    made = [_line(group, line, at) for group in groups for line in group.lines for at in line.cells]
    empty = Group("", True, published.LRA_TASKS, {}, (), ())
    for line in lines(empty):
        tasks = [at for at in empty.datasets if at in published.lra()[line.model]]
        made += [_line(empty, line, at) for at in tasks if not _has(groups, line.model, at)]
    return made


def rates(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """One line per model, data set and learning rate: what the choice was made from."""
    return [
        _what(group, line, dataset)
        | {
            "lr": rate.lr,
            "chosen": rate is cell.best,
            "valid": rate.mean("valid"),
            "value": rate.mean("value"),
            "seeds": len(rate.ok),
            "status": " ".join(sorted(row["status"] for row in rate.rows)),
            "keys": " ".join(row["key"] for row in rate.rows),
        }
        for group in groups
        for line in group.lines
        for dataset, cell in line.cells.items()
        for rate in cell.rates
    ]


def _line(group: Group, line: Line, dataset: str) -> dict[str, Any]:
    cell = line.cells.get(dataset, NOTHING)
    row: Row = (cell.runs or cell.rows or [{}])[0]
    paper = published.lra().get(line.model, {}).get(dataset) if group.scores else None
    guesses = row.get("baselines") or {}
    config = {name: row.get(name) for name in sorted(set(row) - MEASURED - VARIED)}
    return (
        _what(group, line, dataset)
        | {
            "value": cell.mean,
            "std": cell.std,
            "n": len(cell.runs),
            "paper_percent": paper.text if paper else None,
            "difference_points": difference(cell, paper),
            "valid": cell.best.mean("valid") if cell.best else None,
            "best": line.name in group.best(dataset),
            "chance": row.get("chance"),
            "majority": guesses.get("majority"),
            "root_operator": guesses.get("root operator"),
            "data_source": row.get("data_source"),
            "data_sha256_test": (row.get("data_sha256") or {}).get("test"),
            "seeds_planned": cell.seeds,
        }
        | search(cell)
        | config
    )


def _what(group: Group, line: Line, dataset: str) -> dict[str, Any]:
    row = next(iter(group.on(dataset)), {})
    return {
        "preset": group.preset,
        "model": line.model,
        "name": line.name,
        "dataset": dataset,
        "kind": row.get("dataset_kind", "lra"),
        "of": row.get("dataset_of", dataset),
        "lra_score": group.scores,
    }


def _has(groups: Sequence[Group], model: str, dataset: str) -> bool:
    """Whether a line of ours already has the paper's number beside it."""
    found: list[Cell] = [
        line.cells[dataset]
        for group in groups
        if group.scores
        for line in group.lines
        if line.model == model and dataset in line.cells
    ]
    return bool(found)
