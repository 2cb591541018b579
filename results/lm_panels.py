"""What figures of language models share: a panel with room for names, and the small print."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import captions, lm_marks, lm_words, strokes
from .cells import Block, Line, Row
from .chart import COLUMN, FULL, GREY, Grid
from .labels import MANY, Label, margin, needed, short
from .lm_blocks import only
from .lm_words import BASELINES

LEVEL = (0, (1, 1.5))  # dashes of a line that stands for no model
LEFT = 0.56  # inches, of ticks with two decimals
REACH = 0.85  # of the lowest number drawn: a level further below is not shown


def width_of(block: Block) -> float:
    """Inches: a column, or the page for many lines."""
    return FULL if len(block.lines) > MANY else COLUMN


def panel(block: Block, title: str, width: float, said: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure of one panel whose right margin holds the names of all lines."""
    names = [*(line.name for line in block.lines), *levels(block)]
    tall = max(2.1, needed(len(names)))
    figure, (axis,) = Grid(width, 1, tall, left=LEFT, right=margin(names)).draw([title], said)
    return figure, axis


def small_print(block: Block, command: str, how: str) -> list[str]:
    """How to read the figure, how it was chosen and trained, who is missing, and what made it."""
    lost = [line for line in block.lines if only(line).mean is None]
    reasons = [f"{line.name} ({', '.join(only(line).failures) or 'no test'})" for line in lost]
    gone = f" Without result: {', '.join(reasons)}." * bool(lost)
    conv = captions.convolution(str(block.usual["conv"] or "own"))
    seeds = captions.spread(captions.cells(block)).removeprefix("Mean ± standard deviation, ")
    made = f"{captions.runs(block.rows)} Runs by {captions.commands(block.rows)}"
    return [
        f"{how}{gone}",
        f"{seeds} {lm_words.rule(block)}",
        f"{conv[0].upper()}{conv[1:]}{_apart(block)}. {made}; figure by `{command}`.",
    ]


def levels(block: Block) -> dict[str, float]:
    """Bits per byte of what needs no model, by printed name."""
    found: dict[str, float] = {}
    for row in block.rows:
        for name, value in (row.get("baselines") or {}).items():
            if value is not None:
                found.setdefault(BASELINES.get(str(name), str(name)), value)
    return dict(sorted(found.items()))


def level_lines(axis: Axes, block: Block) -> list[Label]:
    """Levels that lie inside the axis. Returns: their names."""
    low, high = axis.get_ylim()
    inside = {name: y for name, y in levels(block).items() if low < y < high}
    for y in inside.values():
        axis.axhline(y, color=GREY, linewidth=0.7, linestyle=LEVEL, zorder=1)
    return [Label(short(name), [(axis.get_xlim()[1], y)], GREY) for name, y in inside.items()]


def runs(line: Line) -> list[Row]:
    """At the chosen rate; of a line without result, all, as far as they went."""
    cell = only(line)
    return cell.runs or [row for row in cell.rows if row["status"] == "diverged"]


def stroke(axis: Axes, block: Block, line: Line, points: Sequence[tuple[float, float]]) -> None:
    """One curve in the model's colour and dash."""
    drawn = strokes.look(block, line)
    axis.plot(*zip(*points), color=drawn.colour, linestyle=drawn.dash, linewidth=0.9)


def _apart(block: Block) -> str:
    """`, but GLA: positions rope` for lines whose names do not say what is unusual."""
    told = lm_marks.untold(block)
    return f"; {told}" if told else ""
