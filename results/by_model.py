"""Figures with one panel per model: the search of its learning rate, and its learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from . import captions, strokes
from .cells import Block, Line
from .chart import COLUMN, Grid, percent_axis
from .labels import MANY, beside
from .styles import tint

SMALL_TOP = 109  # per cent: of the axis of a small panel, for rings and markers at 100
HOLLOW = "Hollow: undetermined at this budget, never left the plateau at any rate."


def rates(block: Block, others: Sequence[Block], width: float, command: str) -> Figure:
    """What a rate was chosen by, over the rates: one panel per model, one line per width."""
    on_test = block.setting.get("selection") == "test"
    field, shown = ("value", "test") if on_test else ("valid", "validation")
    signs = "Ring: chosen. ‡ at the edge of the grid. Cross: no result."
    said = small_print([block], command, [heading(block, others), signs])
    grid = panels(block, width)
    many = len(block.lines) > MANY
    top = SMALL_TOP if many else 104
    figure, axes = grid.draw([line.name for line in block.lines], said)
    tried = sorted({row["lr"] for row in block.rows})
    for i, (axis, line) in enumerate(zip(axes, block.lines)):
        first, last = i % grid.columns == 0, i + grid.columns >= len(block.lines)
        strokes.rates(axis, tried)
        percent_axis(axis, f"{shown}, %" if first else "", top)
        strokes.chance(axis, block)
        labels = []
        for d, cell in line.cells.items():
            colour = shade(block, line, d)
            labels += strokes.search(axis, cell, field, colour)
        if not unnamed(block):
            beside(axis, labels, 5.5)
        axis.tick_params(labelleft=first, labelbottom=last or not many)
        axis.set_xlabel("learning rate" if last else "")
    return figure


def curves(block: Block, others: Sequence[Block], width: float, command: str) -> Figure | None:
    """Validation accuracy over updates at the chosen rate: one line per width and seed."""
    trained = [cell for line in block.lines for d, cell in line.cells.items() if has_curve(line, d)]
    if not trained:
        return None
    how = "At the chosen learning rate, one curve per seed; a marker is where training ended."
    said = small_print([block], command, [heading(block, others), how])
    grid = panels(block, width)
    figure, axes = grid.draw([line.name for line in block.lines], said)
    for i, (axis, line) in enumerate(zip(axes, block.lines)):
        first, last = i % grid.columns == 0, i + grid.columns >= len(block.lines)
        percent_axis(axis, "validation, %" if first else "", SMALL_TOP)
        strokes.updates(axis, trained, ticks=3)
        strokes.chance(axis, block)
        labels = []
        for d, cell in line.cells.items():
            drawn = strokes.look(block, line)._replace(colour=shade(block, line, d))
            named = strokes.curve(axis, line, drawn, cell)
            labels += [replace(label, text=f"d{d}") for label in named]
        if not unnamed(block):
            beside(axis, labels, 5.5)
        axis.tick_params(labelleft=first, labelbottom=last)
        axis.set_xlabel("updates" if last else "")
    return figure


def panels(block: Block, width: float) -> Grid:
    """Small panels; where there are many, they are smaller and only the lowest have numbers."""
    if len(block.lines) <= MANY:
        columns = 4 if width > COLUMN else 2
        return Grid(width, columns, height=1.0, right=0.36, gap=0.4, row_gap=0.44)
    if unnamed(block):
        columns = 6 if width > COLUMN else 3
        return Grid(width, columns, height=0.75, right=0.12, gap=0.2, row_gap=0.28)
    columns = 5 if width > COLUMN else 2
    return Grid(width, columns, height=0.75, right=0.36, gap=0.4, row_gap=0.28)


def unnamed(block: Block) -> bool:
    """Whether there are many panels of the same single width, which is then named once."""
    return len(block.lines) > MANY and len(block.widths) == 1


def heading(block: Block, others: Sequence[Block]) -> str:
    """The title of a figure whose panels are titled with models."""
    width = f", d_model {block.widths[0]}" if unnamed(block) else ""
    return f"{captions.title(block, others)}{width}."


def shade(block: Block, line: Line, d_model: int) -> str:
    """The model's colour, the lighter the smaller the width."""
    share = 0.35 + 0.65 * (block.widths.index(d_model) + 1) / len(block.widths)
    return tint(strokes.look(block, line).colour, share)


def small_print(
    found: Sequence[Block], command: str, said: Sequence[str], bars: bool = False
) -> list[str]:
    """How to read the figure, then seeds, choice and budget, then runs and commands."""
    rows = [row for block in found for row in block.rows]
    facts = dict.fromkeys(fact for block in found for fact in captions.brief(block, bars))
    hollow = [HOLLOW] * any(cell.undetermined for block in found for cell in captions.cells(block))
    made = f"{captions.runs(rows)} Runs by {captions.commands(rows)}; figure by `{command}`."
    return [" ".join([*said, *hollow]), " ".join(facts), made]


def has_curve(line: Line, d_model: int) -> bool:
    cell = line.cells.get(d_model)
    return cell is not None and any(row.get("curve_steps") for row in cell.runs)
