"""The figures of language models: learning curves, loss by position, and quality against state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from . import lm_curves, lm_words, strokes
from .among import among
from .cells import Block, Line, Row
from .chart import COLUMN, Grid
from .labels import MANY, Label, beside, short
from .lm_blocks import blocks, by_position, only
from .lm_panels import LEFT, panel, small_print, stroke, width_of
from .near import near
from .spelling import number

HEIGHTS = (2.8, 3.4, 4.0, 4.8)  # inches, of a panel with many labels: the first that has room
NARROWEST = 4.0  # octaves of an axis of sizes, so that it has ticks
BITS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16)  # ticks of a logarithmic axis


def make(rows: Sequence[Row], width: float, command: str) -> dict[str, Figure]:
    """Up to four figures for each comparison, by name. width: inches, 0 for what they need."""
    found = blocks(rows)
    drawn: dict[str, Figure | None] = {}
    for i, block in enumerate(found, 1):
        end, wide = f"-{i}" if len(found) > 1 else "", width or width_of(block)
        for name, draw in KINDS.items():
            drawn[f"lm-{name}{end}"] = draw(block, lm_words.title(block, found), wide, command)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def positions(block: Block, title: str, width: float, command: str) -> Figure | None:
    """Test bits per byte by position in the window: whether a longer context is of use."""
    found = {line.name: spans(line) for line in block.lines}
    edges = max((edges for edges, _ in found.values()), key=len, default=[])
    if len(edges) < 2:
        return None
    how = (
        "Position: of a prediction in its window, in spans that double (8+: 8 to 15); the first"
        " one sees one token. Mean over seeds at the chosen learning rate."
    )
    figure, axis = panel(block, title, width, small_print(block, command, how))
    axis.set_yscale("log")
    labels = []
    for line in block.lines:
        known = [(i, y) for i, y in enumerate(found[line.name][1]) if not math.isnan(y)]
        if known and found[line.name][0] == edges:
            stroke(axis, block, line, list(enumerate(found[line.name][1])))
            for x, y in known:
                strokes.marker(axis, x, y, strokes.look(block, line), hollow=False)
            colour = strokes.look(block, line).colour
            labels.append(Label(short(line.name), known, colour))
    _spans_axis(axis, edges)
    beside(axis, labels)
    return figure


def spans(line: Line) -> tuple[list[int], list[float]]:
    """Edges of spans, and bits per byte in each, mean over seeds; nan where none is known."""
    found = [by_position(row) for row in only(line).runs]
    edges = max((edges for edges, _ in found), key=len, default=[])
    columns = zip(*(values for of, values in found if of == edges))
    known = [[value for value in column if value is not None] for column in columns]
    return edges, [fmean(values) if values else math.nan for values in known]


def _spans_axis(axis: Axes, edges: Sequence[int]) -> None:
    """Spans side by side, each with a tick; every second one is named where there are many."""
    last = len(edges) - 2
    axis.set_xlim(-0.4, last + 0.4)
    every = 1 if last < 6 else 2
    axis.set_xticks(range(last + 1), [_span(edges, i, every) for i in range(last + 1)])
    low, high = axis.get_ylim()
    ticks = [y for y in BITS if low < y < high]
    ticks = ticks if len(ticks) > 2 else MaxNLocator(5).tick_values(low, high)
    axis.yaxis.set_major_locator(FixedLocator([y for y in ticks if low < y < high]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(axis="y")
    axis.set_xlabel("position in the window, tokens")
    axis.set_ylabel("test, bits per byte")


def _span(edges: Sequence[int], i: int, every: int) -> str:
    """`8+` for the span of 8 to 15, or nothing between two named ones. The last is named."""
    return f"{number(edges[i])}+" if (len(edges) - 2 - i) % every == 0 else ""


def state(block: Block, title: str, width: float, command: str) -> Figure | None:
    """Test bits per byte over the measured bytes of state."""
    lines = [line for line in block.lines if only(line).mean is not None and only(line).state_bytes]
    if not lines:
        return None
    said = small_print(block, command, _how(block, lines))
    if len(lines) <= MANY:
        grid = Grid(width, 1, 2.1, left=LEFT, right=0.3)
        figure, axis, labels, arrows = _states(block, lines, grid, title, said)
        near(axis, labels, arrows)
        return figure
    for height in HEIGHTS if width > COLUMN else ():
        grid = Grid(width, 1, height, left=LEFT, right=0.3)
        figure, axis, labels, arrows = _states(block, lines, grid, title, said)
        if among(axis, labels, arrows):
            return figure
    figure, axis = panel(block, title, width, said)
    labels, _ = _points(axis, block, lines)
    beside(axis, labels)
    return figure


def _states(
    block: Block, lines: Sequence[Line], grid: Grid, title: str, said: Sequence[str]
) -> tuple[Figure, Axes, list[Label], list[Label]]:
    figure, (axis,) = grid.draw([title], said)
    return figure, axis, *_points(axis, block, lines)


def _points(axis: Axes, block: Block, lines: Sequence[Line]) -> tuple[list[Label], list[Label]]:
    """A point for each line. Returns: the names, not yet written, and the arrows."""
    axis.set_xscale("log", base=2)
    labels = []
    for line in lines:
        cell, drawn = only(line), strokes.look(block, line)
        x, y = cell.state_bytes or 0, cell.mean or 0.0
        if cell.std:
            bar = {"color": drawn.colour, "linewidth": 0.7, "marker": "_", "markersize": 3}
            axis.plot([x, x], [y - cell.std, y + cell.std], **bar)  # a line, so labels avoid it
        strokes.marker(axis, x, y, drawn, hollow=False)
        labels.append(Label(short(line.name), [(x, y)], drawn.colour))
    sizes = [only(line).state_bytes or 1 for line in lines]
    middle = math.log2(min(sizes) * max(sizes)) / 2
    half = max(math.log2(max(sizes) / min(sizes)) / 2 + 1, NARROWEST / 2)
    axis.set_xlim(2 ** (middle - half), 2 ** (middle + half))
    axis.margins(y=0.12)
    axis.autoscale_view(scalex=False)
    strokes.sizes(axis)
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_ylabel("test, bits per byte")
    axis.grid(axis="y")
    arrows = []
    for label, line in zip(labels, lines):
        if line.grows:
            arrows.append(strokes.grows(axis, *label.points[0], colour=label.colour))
    return labels, arrows


def _how(block: Block, lines: Sequence[Line]) -> str:
    length = number(block.setting.get("seq_len"))
    said = [f"State: kept between steps for one sequence of {length} tokens, all layers."]
    said += ["Bars: standard deviation over seeds."] * any(only(line).std for line in lines)
    said += ["Arrow: a KV cache, which grows with every token."] * any(x.grows for x in lines)
    return " ".join(said)


KINDS: dict[str, Callable[[Block, str, float, str], Figure | None]] = {
    "tokens": lm_curves.tokens,
    "time": lm_curves.time,
    "positions": positions,
    "state": state,
}
