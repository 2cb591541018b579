"""The MQAR figures: accuracy by width and by state size, and learning curves."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import by_model, captions, dots, strokes
from .among import among
from .by_model import has_curve, small_print
from .cells import Block, Row
from .chart import COLUMN, FULL, Grid, percent_axis
from .labels import MANY, Label, beside, margin, needed
from .near import near
from .select import blocks

HEIGHTS = (2.8, 3.4, 4.0, 4.8)  # inches, of a panel with many labels: the first that has room
HEADROOM = 122  # per cent: the top of its axis, for labels above points at 100


def make(rows: Sequence[Row], width: float, command: str) -> dict[str, Figure]:
    """All figures by name. width: inches, 0 for what the content needs: a column or a page."""
    found = blocks(rows)
    if not found:
        return {}
    wide = width or (COLUMN if len(found) == 1 and not many(found) else FULL)
    one_width = all(len(block.widths) == 1 for block in found)
    drawn = by_rank if many(found) and one_width else accuracy
    figures = {
        "mqar": drawn(found, wide, command),
        "mqar-state": state_size(found, wide, command),
        "mqar-curves": None if many(found) else curves(found, width, command),
    }
    for i, block in enumerate(found, 1):
        which = "" if len(found) == 1 else f"-{i}"
        figures[f"mqar-rates{which}"] = by_model.rates(block, found, width or FULL, command)
        if many(found):
            figures[f"mqar-curves{which}"] = by_model.curves(block, found, width or FULL, command)
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
        places = len(block.lines)
        for i, line in enumerate(block.lines):
            shift = strokes.sideways(axis, i - (places - 1) / 2, places)
            points = [(d * shift, line.cells.get(d)) for d in block.widths]
            labels += strokes.cells(axis, line, strokes.look(block, line), points)
        beside(axis, labels)
    return figure


def by_rank(found: Sequence[Block], width: float, command: str) -> Figure:
    """Test accuracy of many models at one width: a row for each, one panel per comparison."""
    order = "Models by accuracy, undetermined ones after the others."
    said = small_print(found, command, [order], bars=True)
    titles = [captions.title(block, found) for block in found]
    left, right = max(map(dots.names, found)), max(map(dots.values, found))
    columns = 2 if width > COLUMN else 1
    tall = max(map(dots.height, found))
    grid = Grid(width, columns, tall, left=left, right=right + 0.06, gap=left + right + 0.1)
    figure, axes = grid.draw(titles, said)
    for axis, block in zip(axes, found):
        dots.dots(axis, block, right)
    return figure


def state_size(found: Sequence[Block], width: float, command: str) -> Figure:
    """Test accuracy over the measured bytes of state, one panel for each comparison."""
    memory = captions.memory(found[0]) if len(found) == 1 else "State of one sequence, all layers"
    cache = "Arrows: a KV cache, which grows with every token."
    used = [cache] * any(line.grows for block in found for line in block.lines)
    said = small_print(found, command, [f"{memory}.", *used], bars=True)
    if not many(found):
        grid = Grid(width, 2 if width > COLUMN else 1, right=0.3, gap=0.8)
        figure, panels = _states(found, grid, said)
        for panel in panels:
            near(*panel)
        return figure
    for height in HEIGHTS if width > COLUMN else ():
        figure, panels = _states(found, Grid(width, 1, height, right=0.3), said, HEADROOM)
        if all(among(*panel) for panel in panels):
            return figure
    figure, panels = _states(found, with_names(found, width, 1.9), said)
    for axis, labels, _ in panels:
        beside(axis, labels)
    return figure


def _states(
    found: Sequence[Block], grid: Grid, said: Sequence[str], top: float = 104
) -> tuple[Figure, list[tuple[Axes, list[Label], list[Label]]]]:
    """The figure without labels, and for each panel its axes, labels and arrows."""
    figure, axes = grid.draw([captions.title(block, found) for block in found], said)
    panels = []
    for axis, block in zip(axes, found):
        percent_axis(axis, "test accuracy, %", top)
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
        panels.append((axis, labels, arrows))
    return figure, panels


def curves(found: Sequence[Block], width: float, command: str) -> Figure | None:
    """Validation accuracy over updates at the chosen rate: one panel per comparison and width."""
    shown = [
        (block, d)
        for block in found
        for d in block.widths
        if any(has_curve(line, d) for line in block.lines)
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
    columns = 2 if width > COLUMN and not many(found) else 1
    tall = needed(max(len(block.lines) for block in found) + 1) if many(found) else 0
    return Grid(width, columns, height=max(height, tall), right=right, gap=right + 0.5)


def many(found: Sequence[Block]) -> bool:
    """Whether a panel has more lines than labels fit into it."""
    return any(len(block.lines) > MANY for block in found)
