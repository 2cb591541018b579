"""Cells and learning rates as flat lines for CSV: full precision, and the keys of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import published
from .cells import Block, Cell, Line

# Of a cell that only the paper has.
NOTHING = Cell(0, (), None, 0, 0, "")


def cells(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """One line per model and width; accuracies are fractions, the paper's is as printed."""
    made = []
    for block in blocks:
        paper = published.mqar(block.setting)
        for line in published.lines(block, paper):
            for d in sorted({*line.cells, *(d for model, d in paper if model == line.base)}):
                cell, value = line.cells.get(d, NOTHING), paper.get((line.base, d))
                made.append(
                    _what(block, line, d)
                    | {
                        "mean": cell.mean,
                        "std": cell.std,
                        "seeds": len(cell.runs),
                        "seeds_planned": cell.seeds,
                        "chance": block.chance,
                        "best": line.name in block.best(d),
                        "undetermined": cell.undetermined,
                        "state_bytes": cell.state_bytes,
                        "paper_percent": value.text if value else None,
                        "difference_points": difference(cell, value),
                    }
                    | search(cell)
                )
    return made


def rates(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """One line per model, width and learning rate: what the choice was made from."""
    return [
        _what(block, line, d)
        | {
            "lr": rate.lr,
            "chosen": rate is cell.best,
            "valid": rate.mean("valid"),
            "value": rate.mean("value"),
            "seeds": len(rate.ok),
            "status": " ".join(sorted(row["status"] for row in rate.rows)),
            "keys": " ".join(row["key"] for row in rate.rows),
        }
        for block in blocks
        for line in block.lines
        for d, cell in line.cells.items()
        for rate in cell.rates
    ]


def _what(block: Block, line: Line, d_model: int) -> dict[str, Any]:
    named = {"model": line.model, "name": line.name, "d_model": d_model}
    return named | block.setting | block.usual | line.differs


def search(cell: Cell) -> dict[str, Any]:
    return {
        "lr": cell.best.lr if cell.best else None,
        "lr_edge": cell.edge,
        "lrs": " ".join(f"{rate.lr:g}" for rate in cell.rates),
        "missing": cell.missing,
        "runs": len(cell.rows),
        "runs_failed": sum(cell.failures.values()),
        "failures": " ".join(f"{status}:{n}" for status, n in sorted(cell.failures.items())),
        "keys": " ".join(row["key"] for row in cell.runs),
    }


def difference(cell: Cell, value: published.Paper | None) -> float | None:
    """Points above the paper, None where it prints no number or only a bound."""
    if value is None or cell.mean is None or value.text[0] in "<>":
        return None
    return 100 * cell.mean - float(value.text)
