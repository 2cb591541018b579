"""A dot plot of one data set: a row for each model, ours filled, the paper's open; then guesses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from . import spelling, strokes
from .cells import Cell
from .chart import GREY
from .labels import SIZE, short
from .lra_blocks import Group, Line
from .lra_captions import BASELINES
from .lra_tables import lines as lines_of
from .marks import TEST
from .published import Paper, lra
from .styles import Style, ink, style

ROW = 0.132  # inches
GUESSES = {
    "chance": (0, (1, 1.5)),
    "majority": (0, (4, 1.5)),
    "root operator": (0, (4, 1.5, 1, 1.5)),
}
NAMES = {"chance": "chance", **{name: said.lower() for name, said in BASELINES.items()}}


def levels(group: Group, dataset: str) -> dict[str, float]:
    """Guesses of one data set by name, per cent, chance first."""
    found: dict[str, float] = {}
    for row in group.on(dataset):
        guessed = {"chance": row.get("chance"), **(row.get("baselines") or {})}
        found |= {name: 100 * guessed[name] for name in NAMES if guessed.get(name) is not None}
    return {name: found[name] for name in NAMES if name in found}


def guesses(group: Group) -> list[str]:
    """Guesses that any data set of the comparison has."""
    known = {name for dataset in group.datasets for name in levels(group, dataset)}
    return [name for name in NAMES if name in known]


def paper_of(group: Group, line: Line, dataset: str) -> Paper | None:
    return lra().get(line.model, {}).get(dataset) if group.scores else None


def drawn_values(group: Group, dataset: str, curves: bool) -> list[float]:
    """Everything that a figure of a data set shows, per cent: tests, or curves of validation."""
    found = [*levels(group, dataset).values()]
    for line in lines_of(group):
        cell = line.cells.get(dataset)
        for row in cell.runs if cell else ():
            shown = row.get("curve_valid") or [] if curves else [row["value"]]
            found += [100 * value for value in shown]
        if not curves and (paper := paper_of(group, line, dataset)):
            found.append(float(paper.text))
    return found


def limits(group: Group, dataset: str, curves: bool = False) -> tuple[float, float]:
    """The ends of an axis of accuracies, per cent: a little beyond everything drawn."""
    found = drawn_values(group, dataset, curves) or [0.0, 100.0]
    return 5 * math.floor(min(found) / 5) - 3, 5 * math.ceil(max(found) / 5) + 3


def ticks(low: float, high: float) -> MultipleLocator:
    return MultipleLocator(20 if high - low > 70 else 10 if high - low > 25 else 5)


def height(group: Group, lines: Sequence[Line]) -> float:
    """Inches for a row per model, one per guess, and half a row at each end."""
    return ROW * (len(lines) + len(guesses(group)) + 1)


def look(lines: Sequence[Line], line: Line) -> Style:
    """The style of a line; a second line of the same model is drawn as a variant."""
    first = next(other for other in lines if other.base == line.base)
    return style(line.model, variant=line is not first)


def dots(
    axis: Axes, group: Group, lines: Sequence[Line], dataset: str, named: bool, room: float
) -> None:
    """Test accuracy of every model on one data set.

    named: whether the rows have names. room: inches on the right, at whose end the values stop.
    """
    written, colours = [short(line.name) for line in lines], []
    best = group.best(dataset)
    for y, line in enumerate(lines):
        drawn, cell = look(lines, line), line.cells.get(dataset)
        colours.append(ink(drawn.colour) if line.cells else GREY)
        if theirs := paper_of(group, line, dataset):
            ring(axis, float(theirs.text), y, drawn.colour if line.cells else GREY)
        if cell is not None and cell.mean is not None:
            if cell.std:
                bar = {"color": drawn.colour, "elinewidth": 0.9}
                axis.errorbar(100 * cell.mean, y, xerr=100 * cell.std, **bar)
            strokes.marker(axis, 100 * cell.mean, y, drawn, hollow=False)
        value(axis, y, said(cell), colours[-1], room, line.name in best)
    found = levels(group, dataset)
    for y, name in enumerate(guesses(group), len(lines)):
        written.append(NAMES[name])
        colours.append(GREY)
        if name in found:
            guess(axis, found[name], y, name)
            value(axis, y, f"{found[name]:.3g}", GREY, room)
    axis.set_ylim(len(written) - 0.4, -0.6)
    axis.set_yticks(range(len(written)), written if named else [""] * len(written), size=SIZE)
    axis.tick_params(axis="y", length=0)
    for tick, colour in zip(axis.get_yticklabels(), colours):
        tick.set_color(colour)


def ring(axis: Axes, x: float, y: float, colour: str) -> None:
    """What the paper prints, behind ours."""
    mark = {"markerfacecolor": "none", "markeredgecolor": ink(colour), "markeredgewidth": 0.7}
    axis.plot([x], [y], marker="o", linestyle="none", zorder=2, markersize=6.4, **mark)


def guess(axis: Axes, x: float, y: float, name: str) -> None:
    """A line from the row of a guess up through the models' rows."""
    axis.plot([x, x], [y, -0.6], color=GREY, linewidth=0.7, linestyle=GUESSES[name], zorder=1)
    axis.plot([x], [y], marker="|", color=GREY, markersize=4, zorder=2)


def said(cell: Cell | None) -> str:
    if cell is None or cell.mean is None:
        return spelling.DASH
    spread = f" ± {100 * cell.std:.1f}" if cell.std is not None else ""
    return f"{100 * cell.mean:.1f}{spread}{TEST * (cell.selection == 'test')}"


def value(axis: Axes, y: float, text: str, colour: str, room: float, bold: bool = False) -> None:
    """A number at the right end of a row."""
    style = {"ha": "right", "va": "center_baseline", "size": SIZE, "color": colour}
    axis.annotate(
        text,
        (1, y),
        (72 * room - 3, 0),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        annotation_clip=False,
        weight="bold" if bold else "normal",
        **style,
    )
