"""The signs beside numbers. Each means the same in every table and figure."""

from __future__ import annotations

from collections.abc import Callable

from .cells import Block, Cell
from .select import words
from .spelling import DASH, statuses

TEST, EDGE, SHORT, FAILED, PLATEAU, GROWS = "†", "‡", "§", "¶", "○", "↗"


def signs(cell: Cell) -> str:
    """The signs that belong to a cell's number."""
    holds = {
        TEST: cell.selection == "test" and len(cell.rates) > 1,
        SHORT: bool(cell.missing),
        FAILED: bool(cell.failures),
        PLATEAU: cell.undetermined,
    }
    return edge_sign(cell) + "".join(sign for sign, true in holds.items() if true)


def edge_sign(cell: Cell) -> str:
    """Where nothing was learnt, the best rate is chance, and its place in the grid says nothing."""
    return EDGE * (cell.edge in ("lowest", "highest") and not cell.undetermined)


def notes(block: Block) -> list[str]:
    """What each sign in the block stands for, naming the cells."""
    at_edge = "the best learning rate is at the edge of the grid; a better one may lie outside"
    short = "fewer runs than the comparison plans"
    failed = "runs without result, counted here and in no mean"
    plateau = "undetermined at this budget: never left the plateau at any rate, so not ranked"
    listed = {
        f"{EDGE} {at_edge}": _places(block, lambda cell: cell.edge * bool(edge_sign(cell))),
        f"{SHORT} {short}": _places(block, lambda cell: cell.missing),
        f"{FAILED} {failed}": _places(block, lambda cell: statuses(cell.failures)),
        f"{PLATEAU} {plateau}": _places(block, lambda cell: " " * cell.undetermined),
    }
    gone = _absent(block)
    made = [f"{DASH} not run: {gone}."] * bool(gone)
    made += [f"{meaning}: {places}." for meaning, places in listed.items() if places]
    if any(cell.reached for line in block.lines for cell in line.cells.values()):
        made.append("Cells whose runs all ended above the threshold are not ranked: all are bold.")
    return made + departures(block)


def _places(block: Block, what: Callable[[Cell], str]) -> str:
    """`GLA d16 d32 lowest, d64 highest; Mamba d16 lowest`. what: empty where there is nothing."""
    found = []
    for line in block.lines:
        widths: dict[str, list[str]] = {}
        for d, cell in line.cells.items():
            if said := what(cell):
                widths.setdefault(said.strip(), []).append(f"d{d}")
        parts = [f"{' '.join(here)} {said}".strip() for said, here in widths.items()]
        found += [f"{line.name} {', '.join(parts)}"] * bool(parts)
    return "; ".join(found)


def _absent(block: Block) -> str:
    """`HGRN d128 d256`: cells that others have and a line lacks."""
    lacking = {line.name: [d for d in block.widths if d not in line.cells] for line in block.lines}
    return "; ".join(
        f"{name} " + " ".join(f"d{d}" for d in ds) for name, ds in lacking.items() if ds
    )


def departures(block: Block) -> list[str]:
    """Variants behind the printed names, and lines with a configuration that others lack."""
    variants = [f"{line.name} is {line.model}" for line in block.lines if ":" in line.model]
    odd = [
        f"{line.name} has {', '.join(words(name, value) for name, value in line.differs.items())}"
        for line in block.lines
        if line.differs
    ]
    return [f"{'; '.join(found)}." for found in (variants, odd) if found]
