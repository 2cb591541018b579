"""One comparison as objects: a block of lines, a line of cells, a cell of learning rates.

A cell keeps every run of its search, so that whatever is printed can be traced to the keys of runs.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Rate:
    """All runs of one cell at one learning rate."""

    lr: float
    rows: tuple[Row, ...]

    @property
    def ok(self) -> list[Row]:
        return [row for row in self.rows if row["status"] == "ok" and row.get("value") is not None]

    def mean(self, field: str) -> float | None:
        """Mean of `valid` or `value` over seeds, None where no run has one."""
        found = [row[field] for row in self.ok if row.get(field) is not None]
        return statistics.fmean(found) if found else None


@dataclass(frozen=True)
class Cell:
    """One model at one width: every rate that was tried, and the one that was chosen."""

    d_model: int
    rates: tuple[Rate, ...]
    best: Rate | None
    seeds: int  # that the comparison plans
    searched: int  # learning rates that the comparison plans at this width
    selection: str  # "validation", or "test" under the published protocol

    @property
    def rows(self) -> list[Row]:
        return [row for rate in self.rates for row in rate.rows]

    @property
    def runs(self) -> list[Row]:
        """The runs behind the printed number."""
        return self.best.ok if self.best else []

    @property
    def mean(self) -> float | None:
        return self.best.mean("value") if self.best else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds, None for a single one."""
        values = [row["value"] for row in self.runs]
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def state_bytes(self) -> int | None:
        sizes = [row["state_bytes"] for row in self.rows if row.get("state_bytes") is not None]
        return sizes[0] if sizes else None

    @property
    def undetermined(self) -> bool:
        """No run of the search ever left the plateau, so the budget ended too early to tell.

        Tasks without a plateau have no such column, and nothing is undetermined.
        """
        finished = [row for rate in self.rates for row in rate.ok]
        left = [row["left_plateau"] for row in finished if row.get("left_plateau") is not None]
        return bool(left) and not any(left)

    @property
    def reached(self) -> bool:
        """Every run behind the number stopped because it was good enough, so none went further."""
        return bool(self.runs) and all(row.get("stop") == "threshold" for row in self.runs)

    @property
    def edge(self) -> str:
        """Whether the chosen rate is the `lowest`, the `highest` or the `only` one of the grid."""
        if self.best is None:
            return ""
        tried = [rate.lr for rate in self.rates]
        if len(tried) == 1:
            return "only"
        return {tried[0]: "lowest", tried[-1]: "highest"}.get(self.best.lr, "")

    @property
    def failures(self) -> Counter[str]:
        return Counter(row["status"] for row in self.rows if row["status"] != "ok")

    @property
    def missing(self) -> str:
        """What the number lacks beside others: `2 of 3 seeds`, `3 of 4 rates`, or nothing."""
        short = []
        if 0 < len(self.runs) < self.seeds:
            short.append(f"{len(self.runs)} of {self.seeds} seeds")
        if len(self.rates) < self.searched:
            short.append(f"{len(self.rates)} of {self.searched} rates")
        return ", ".join(short)


@dataclass(frozen=True)
class Line:
    """One model of a block.

    model: as on the command line, variants included. name: as printed, unique in its block.
    differs: fields in which it departs from most other lines.
    """

    model: str
    name: str
    family: str
    differs: dict[str, Any]
    cells: dict[int, Cell]

    @property
    def base(self) -> str:
        """The model without its variants."""
        return self.model.partition(":")[0]

    @property
    def grows(self) -> bool:
        """Whether its state is a cache that grows with every token."""
        return self.family == "softmax"


@dataclass(frozen=True)
class Block:
    """One comparison: models in lines, widths in columns.

    setting: what all runs share. usual: other fields, with the value that most runs have.
    """

    setting: dict[str, Any]
    usual: dict[str, Any]
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]

    @property
    def widths(self) -> list[int]:
        return sorted({d for line in self.lines for d in line.cells})

    @property
    def chance(self) -> float | None:
        return next((row["chance"] for row in self.rows if row.get("chance") is not None), None)

    def best(self, d_model: int) -> set[str]:
        """Names of the lines to print in bold: the best mean, and all that ended at the threshold.

        Undetermined cells never take part.
        """
        cells = {line.name: line.cells.get(d_model) for line in self.lines}
        ranked = {
            name: (round(sign(cell.runs[0]) * cell.mean, 3), cell.reached)
            for name, cell in cells.items()
            if cell and cell.mean is not None and not cell.undetermined
        }
        top = max((mean for mean, _ in ranked.values()), default=None)
        return {name for name, (mean, reached) in ranked.items() if mean == top or reached}


def sign(row: Row) -> int:
    """+1 where a larger metric is better, -1 where a smaller one is."""
    return 1 if row.get("higher_is_better", True) else -1


def seed_of(row: Row) -> tuple[int, int]:
    """What makes a run a repetition of another: both seeds count."""
    return row["seed"], row.get("data_seed", 0)
