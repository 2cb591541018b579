"""The MQAR figures: accuracy by width and by state size, learning rates, learning curves."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from . import captions, strokes
from .cells import Block, Line, Row
from .chart import COLUMN, FULL, Grid, percent_axis
from .labels import beside, margin, near
from .select import blocks
from .styles import tint

HOLLOW = "Hollow: undetermined at this budget, never left the plateau at any rate."


def make(rows: Sequence[Row], width: float, command: str) -> dict[str, Figure]:
    """All figures by name. width: inches, 0 for one column, or a whole page for several panels."""
    found = blocks(rows)
    if not found:
        return {}
    wide = width or (COLUMN if len(found) == 1 else FULL)
    figures = {
        "mqar": accuracy(found, wide, command),
        "mqar-state": state_size(found, wide, command),
        "mqar-curves": curves(found, width, command),
    }
    for i, block in enumerate(found, 1):
        name = "mqar-rates" if len(found) == 1 else f"mqar-rates-{i}"
        figures[name] = learning_rates(block, found, width or FULL, command)
    return {name: figure for name, figure in figures.items() if figure is not None}


def accuracy(found: Sequence[Block], width: float, command: str) -> Figure:
    """Test accuracy over d_model, one panel for each comparison."""
    said = small_print(found, command, ["Points of one width are spread sideways."], bars=True)
    titles = [captions.title(block, found) for block in found]
    figure, axes = with_names(found, width, 1.9).draw(titles, said)
    for axis, block in zip(axes, found):
        strokes.widths(axis, block.widths)
        percent_axis(axis, "test accuracy, %")
        labels = strokes.chance(axis, block)
        for i, line in enumerate(block.lines):
            shift = strokes.sideways(axis, i - (len(block.lines) - 1) / 2)
            points = [(d * shift, line.cells.get(d)) for d in block.widths]
            labels += strokes.cells(axis, line, strokes.look(block, line), points)
        beside(axis, labels)
    return figure


def state_size(found: Sequence[Block], width: float, command: str) -> Figure:
    """Test accuracy over the measured bytes of state, one panel for each comparison."""
    memory = captions.memory(found[0]) if len(found) == 1 else "State of one sequence, all layers"
    cache = "Arrows: a KV cache, which grows with every token."
    used = [cache] * any(line.grows for block in found for line in block.lines)
    said = small_print(found, command, [f"{memory}.", *used], bars=True)
    titles = [captions.title(block, found) for block in found]
    grid = Grid(width, 2 if width > COLUMN else 1, right=0.3, gap=0.8)
    figure, axes = grid.draw(titles, said)
    for axis, block in zip(axes, found):
        percent_axis(axis, "test accuracy, %")
        axis.set_xscale("log", base=2)
        labels, arrows = [], []
        for line in block.lines:
            drawn = strokes.look(block, line)
            points = [(cell.state_bytes, cell) for cell in line.cells.values() if cell.state_bytes]
            labels += strokes.cells(axis, line, drawn, sorted(points, key=lambda point: point[0]))
            for size, cell in points:
                if line.grows and cell.mean is not None:
                    arrows.append(strokes.grows(axis, size, 100 * cell.mean, drawn.colour))
        strokes.sizes(axis)
        labels += strokes.chance(axis, block)
        near(axis, labels, arrows)
    return figure


def learning_rates(block: Block, others: Sequence[Block], width: float, command: str) -> Figure:
    """What a rate was chosen by, over the rates: one panel per model, one line per width."""
    field = "value" if block.setting.get("selection") == "test" else "valid"
    signs = "Ring: chosen. ‡ at the edge of the grid. Cross: no result."
    said = small_print([block], command, [f"{captions.title(block, others)}.", signs])
    columns = 4 if width > COLUMN else 2
    grid = Grid(width, columns, height=1.0, right=0.36, gap=0.4, row_gap=0.44)
    figure, axes = grid.draw([line.name for line in block.lines], said)
    rates = sorted({row["lr"] for row in block.rows})
    for i, (axis, line) in enumerate(zip(axes, block.lines)):
        first, last = i % columns == 0, i + columns >= len(block.lines)
        strokes.rates(axis, rates)
        percent_axis(axis, f"{'test' if field == 'value' else 'validation'}, %" if first else "")
        strokes.chance(axis, block)
        labels = []
        for d, cell in line.cells.items():
            share = 0.35 + 0.65 * (block.widths.index(d) + 1) / len(block.widths)
            colour = tint(strokes.look(block, line).colour, share)
            labels += strokes.search(axis, cell, field, colour)
        beside(axis, labels, 5.5)
        axis.tick_params(labelleft=first)
        axis.set_xlabel("learning rate" if last else "")
    return figure


def curves(found: Sequence[Block], width: float, command: str) -> Figure | None:
    """Validation accuracy over updates at the chosen rate: one panel per comparison and width."""
    shown = [
        (block, d)
        for block in found
        for d in block.widths
        if any(_has_curve(line, d) for line in block.lines)
    ]
    if not shown:
        return None
    how = "At the chosen learning rate, one curve per seed; a marker is where training ended."
    alone = len(found) == 1
    said = small_print(found, command, [f"{captions.title(found[0])}."] * alone + [how])
    titles = [
        f"d_model {d}" if alone else f"d{d}, {captions.setting(block, found)}" for block, d in shown
    ]
    wide = width or (COLUMN if len(shown) == 1 else FULL)
    figure, axes = with_names(found, wide, 1.7).draw(titles, said)
    for axis, (block, d) in zip(axes, shown):
        percent_axis(axis, "validation accuracy, %")
        strokes.updates(axis, [line.cells[d] for line in block.lines if d in line.cells])
        labels = strokes.chance(axis, block)
        for line in block.lines:
            if cell := line.cells.get(d):
                labels += strokes.curve(axis, line, strokes.look(block, line), cell)
        beside(axis, labels)
    return figure


def with_names(found: Sequence[Block], width: float, height: float) -> Grid:
    """A grid whose panels have room for the names of the lines on their right."""
    right = margin(line.name for block in found for line in block.lines)
    columns = 2 if width > COLUMN else 1
    return Grid(width, columns, height=height, right=right, gap=right + 0.5)


def small_print(
    found: Sequence[Block], command: str, said: Sequence[str], bars: bool = False
) -> list[str]:
    """How to read the figure, then seeds, choice and budget, then runs and commands."""
    rows = [row for block in found for row in block.rows]
    facts = dict.fromkeys(fact for block in found for fact in captions.brief(block, bars))
    hollow = [HOLLOW] * any(cell.undetermined for block in found for cell in captions.cells(block))
    made = f"{captions.runs(rows)} Runs by {captions.commands(rows)}; figure by `{command}`."
    return [" ".join([*said, *hollow]), " ".join(facts), made]


def _has_curve(line: Line, d_model: int) -> bool:
    cell = line.cells.get(d_model)
    return cell is not None and any(row.get("curve_steps") for row in cell.runs)
