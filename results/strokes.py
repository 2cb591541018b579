"""The strokes that figures are made of: a model's line, a search, the level of chance, the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from . import spelling
from .cells import Block, Cell, Line
from .chart import GREY
from .labels import Label, short
from .near import ARROW
from .styles import Style, style

LARGER = {"*": 6.2}  # points: of a marker that is small for its size


def look(block: Block, line: Line) -> Style:
    """The style of a line; a second line of the same model in a block is drawn as a variant."""
    first = next(other for other in block.lines if other.base == line.base)
    return style(line.model, variant=line is not first)


def cells(
    axis: Axes, line: Line, drawn: Style, points: Sequence[tuple[float, Cell | None]]
) -> list[Label]:
    """Test accuracy of cells along x, with bars of one standard deviation where there are seeds.

    A cell without a number is a gap. Returns: the label of the last point, if there is any.
    """
    known = [(x, cell) for x, cell in points if cell is not None and cell.mean is not None]
    heights = [math.nan if c is None or c.mean is None else 100 * c.mean for _, c in points]
    axis.plot([x for x, _ in points], heights, color=drawn.colour, linestyle=drawn.dash)
    for x, cell in known:
        assert cell.mean is not None
        if cell.std:
            axis.errorbar(
                x, 100 * cell.mean, 100 * cell.std, color=drawn.colour, elinewidth=0.7, capsize=1.5
            )
        marker(axis, x, 100 * cell.mean, drawn, cell.undetermined)
    if not known:
        return []
    name = short(line.name)
    return [Label(name, [(x, 100 * (cell.mean or 0)) for x, cell in known], drawn.colour)]


def marker(axis: Axes, x: float, y: float, drawn: Style, hollow: bool) -> None:
    """One point of a model; hollow where the budget ended before the model was measured."""
    edge, face = (drawn.colour, "white") if hollow else ("white", drawn.colour)
    style = {
        "markeredgecolor": edge,
        "markerfacecolor": face,
        "markeredgewidth": 0.8 if hollow else 0.4,
        "markersize": LARGER.get(drawn.marker),
    }
    axis.plot([x], [y], marker=drawn.marker, linestyle="none", clip_on=False, zorder=3, **style)


def search(axis: Axes, cell: Cell, field: str, colour: str) -> list[Label]:
    """What a rate was chosen by, over the rates; ring: chosen, cross: no result."""
    means = [rate.mean(field) for rate in cell.rates]
    heights = [math.nan if mean is None else 100 * mean for mean in means]
    rates = [rate.lr for rate in cell.rates]
    axis.plot(rates, heights, color=colour, linewidth=0.9)
    face = "white" if cell.undetermined else colour
    small = {"marker": "o", "markersize": 2.6, "linestyle": "none", "zorder": 3}
    axis.plot(rates, heights, color=colour, markerfacecolor=face, markeredgewidth=0.7, **small)
    for rate, mean in zip(cell.rates, means):
        if mean is None:
            axis.plot([rate.lr], [0], marker="x", markersize=3, color=colour, clip_on=False)
        elif rate is cell.best and not cell.undetermined:
            ring = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 0.8}
            axis.plot([rate.lr], [100 * mean], marker="o", markersize=5.6, zorder=3, **ring)
            if cell.edge in ("lowest", "highest"):
                place = {"xytext": (0, -9), "textcoords": "offset points", "ha": "center"}
                axis.annotate("‡", (rate.lr, 100 * mean), color=colour, size=6, **place)
    ends = [(x, y) for x, y in zip(rates, heights) if not math.isnan(y)]
    return [Label(f"d{cell.d_model}", ends, colour)] if ends else []


def curve(axis: Axes, line: Line, drawn: Style, cell: Cell) -> list[Label]:
    """Validation accuracy over updates at the chosen rate, one curve per seed, to its end."""
    ends = []
    for row in cell.runs:
        steps, values = row.get("curve_steps") or [], row.get("curve_valid") or []
        if steps:
            heights = [100 * value for value in values]
            axis.plot(steps, heights, color=drawn.colour, linestyle=drawn.dash, linewidth=0.9)
            marker(axis, steps[-1], heights[-1], drawn, cell.undetermined)
            ends.append((steps[-1], heights[-1]))
    return [Label(short(line.name), sorted(ends), drawn.colour)] if ends else []


def chance(axis: Axes, block: Block, upright: bool = False) -> list[Label]:
    """The level of guessing, dotted. Returns: its label, at the right end."""
    if block.chance is None:
        return []
    level = 100 * block.chance
    draw = axis.axvline if upright else axis.axhline
    draw(level, color=GREY, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1)
    words = f"chance {spelling.fraction(block.chance).partition(' ')[0]}".strip()
    return [Label(words, [(axis.get_xlim()[1], level)], GREY)]


def grows(axis: Axes, x: float, y: float, colour: str) -> Label:
    """A short arrow to the right: this state is larger for a longer sequence."""
    head = {"arrowstyle": "<-,head_width=0.12,head_length=0.2", "color": colour, "lw": 0.7}
    place = {"xytext": (ARROW, 0), "textcoords": "offset points", "annotation_clip": False}
    axis.annotate("", (x, y), arrowprops=head | {"shrinkA": 0, "shrinkB": 0}, **place)
    return Label("", [(x, y)], colour)


def widths(axis: Axes, values: Sequence[int]) -> None:
    """d_model on a logarithmic axis, base 2, with every width that was run."""
    axis.set_xscale("log", base=2)
    axis.set_xlim(values[0] / 2**0.3, values[-1] * 2**0.3)
    axis.set_xticks(values, [str(d) for d in values])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("d_model")


def sideways(axis: Axes, places: float, of: int) -> float:
    """A factor on d_model that moves a point to the right by 3.2 points per place.

    places: from the middle. of: all places; where there are many, they share 0.55 octaves.
    """
    assert axis.figure is not None
    low, high = (math.log2(x) for x in axis.get_xlim())
    octave = axis.get_window_extent().width / (high - low) * 72 / axis.figure.dpi
    return 2 ** (places * min(3.2 / octave, 0.55 / of))


def rates(axis: Axes, values: Sequence[float]) -> None:
    """Learning rates on a logarithmic axis: each with a tick, named where there is room."""
    axis.set_xscale("log")
    axis.set_xlim(values[0] / 1.5, values[-1] * 1.5)
    tens = [lr for lr in values if math.isclose(math.log10(lr), round(math.log10(lr)))]
    named = values if len(values) <= 3 or len(tens) < 2 else tens
    axis.set_xticks(values, [spelling.rate(lr) if lr in named else "" for lr in values])
    axis.xaxis.set_minor_locator(NullLocator())


def sizes(axis: Axes) -> None:
    """Bytes on a logarithmic axis, with ticks at powers of two, some octaves apart."""
    axis.set_xscale("log", base=2)
    low, high = (math.log2(x) for x in axis.get_xlim())
    every = max(1, math.ceil((high - low) / 5))
    first = math.ceil(low / every) * every
    ticks = [2**i for i in range(first, math.floor(high) + 1, every)]
    axis.set_xticks(ticks)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: spelling.size(round(x))))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("state per sequence, measured")


def updates(axis: Axes, shown: Sequence[Cell], ticks: int = 5) -> None:
    """Updates from 0; logarithmic where some models need over ten times as many as others."""
    curves = [row["curve_steps"] for cell in shown for row in cell.runs if row.get("curve_steps")]
    last = [steps[-1] for steps in curves]
    if max(last) > 10 * min(last):
        axis.set_xscale("log")
        axis.set_xlim(0.8 * min(steps[0] for steps in curves), 1.15 * max(last))
    else:
        axis.set_xlim(0, 1.05 * max(last))
        axis.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10], integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axis.set_xlabel("updates")
