"""Learning curves of language models: validation bits per byte over tokens, and over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from . import lm_words, strokes
from .cells import Block, Line, Row
from .labels import Label, beside, short
from .lm_panels import REACH, level_lines, levels, panel, runs, small_print, stroke

SETTLED = 0.2  # share of a curve whose steep start may lie above the axis
UNITS = (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0))
HOW = "At the chosen learning rate, one curve per seed; a cross is where a run diverged."

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Across:
    """The axis of a figure of curves. each: what an update of a run adds to x, None if unknown."""

    label: str
    each: Callable[[Row], float | None]
    spelt: Callable[[float], str]
    how: str


def tokens(block: Block, title: str, width: float, command: str) -> Figure | None:
    """Over training tokens."""
    across = Across("training tokens", lm_words.tokens_of_update, lm_words.tick, HOW)
    return draw(block, title, width, command, across)


def time(block: Block, title: str, width: float, command: str) -> Figure | None:
    """Over the time of updates alone, at the speed of each run's own machine."""
    rows = [row for line in block.lines for row in runs(line)]
    ends = [_end(row) for row in rows if row.get("step_seconds") and row.get("curve_steps")]
    if not ends:
        return None
    unit, size = [unit for unit in UNITS if unit is UNITS[0] or max(ends) >= 3 * unit[1]][-1]
    devices = sorted({str(row["device"]) for row in rows if row.get("device")})
    how = (
        f"{HOW} Time: seconds of one update times updates, without validation, on"
        f" {' or '.join(devices) or 'an unknown device'}."
    )

    def each(row: Row) -> float | None:
        return row["step_seconds"] / size if row.get("step_seconds") else None

    across = Across(f"training time, {unit}", each, lambda x: f"{x:g}", how)
    return draw(block, title, width, command, across)


def draw(block: Block, title: str, width: float, command: str, across: Across) -> Figure | None:
    """One curve per run, named at its end."""
    found = [(line, row, curve(row, across)) for line in block.lines for row in runs(line)]
    found = [each for each in found if each[2]]
    if not found:
        return None
    low, high = limits(block, [points for _, _, points in found])
    how = across.how
    if any(points[0][1] > high for _, _, points in found):
        how += f" Curves begin above {high:.2f}, where the axis ends."
    if any(low < y < high for y in levels(block).values()):
        how += " Dotted: levels of the test text that need no model."
    figure, axis = panel(block, title, width, small_print(block, command, how))
    finished = [points for _, row, points in found if row["status"] == "ok"]
    sideways(axis, finished or [points for _, _, points in found], across)
    axis.set_ylim(low, high)
    labels = level_lines(axis, block)
    for line in block.lines:
        mine = [(row, points) for of, row, points in found if of is line]
        labels += _line(axis, block, line, mine)
    axis.set_ylabel("validation, bits per byte")
    axis.grid(axis="y")
    beside(axis, labels)
    return figure


def sideways(axis: Axes, curves: Sequence[Curve], across: Across) -> None:
    """The x axis, from 0; logarithmic where some runs end over ten times as late as others."""
    ends = [points[-1][0] for points in curves]
    if max(ends) > 10 * min(ends):
        axis.set_xscale("log")
        axis.set_xlim(0.8 * min(points[0][0] for points in curves), 1.15 * max(ends))
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.set_xlim(0, 1.03 * max(ends))
        axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: across.spelt(x)))
    axis.set_xlabel(across.label)


def _line(axis: Axes, block: Block, line: Line, found: list[tuple[Row, Curve]]) -> list[Label]:
    """The curves of a line, with markers at their ends. Returns: its name."""
    drawn, high, ends = strokes.look(block, line), axis.get_ylim()[1], []
    for row, points in found:
        stroke(axis, block, line, points)
        x, y = points[-1]
        ends.append((x, min(y, high)))
        if row["status"] == "diverged":
            cross = {"marker": "x", "markersize": 3.5, "linestyle": "none", "clip_on": False}
            axis.plot([x], [min(y, high)], color=drawn.colour, zorder=3, **cross)
        elif y <= high:
            strokes.marker(axis, x, y, drawn, hollow=False)
    return [Label(short(line.name), sorted(ends), drawn.colour)] if ends else []


def curve(row: Row, across: Across) -> Curve:
    """x and validation bits per byte; empty where either is unknown."""
    each = across.each(row)
    values = zip(row.get("curve_steps") or [], row.get("curve_valid") or [])
    return [(step * each, y) for step, y in values if each and y is not None and y < float("inf")]


def limits(block: Block, curves: Sequence[Curve]) -> tuple[float, float]:
    """Ends of the axis: all that is drawn after the steep start, and the levels near it."""
    settled = [y for points in curves for x, y in points if x >= SETTLED * points[-1][0]]
    low, high = min(settled), max(settled)
    low = min([low, *(y for y in levels(block).values() if REACH * low < y)])
    room = 0.05 * (high - low) or 0.1
    return low - room, high + room


def _end(row: Row) -> float:
    return row["step_seconds"] * row["curve_steps"][-1]
