"""The efficiency figures: training throughput and memory against length (the paper's Fig. A2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from . import captions, spelling
from .bench_blocks import Block, blocks, where
from .bench_words import memory_kinds
from .cells import Row
from .chart import COLUMN, FULL, Grid
from .efficiency_tables import KINDS, lengths, lines, setting, step
from .labels import MANY, Label, beside, margin, needed, short
from .strokes import marker
from .styles import style


def make(rows: Sequence[Row], width: float, command: str) -> dict[str, Figure]:
    """One figure for each comparison. width: inches, 0 for a page, or a column for many models."""
    found = blocks(rows, KINDS)
    names = ["efficiency", *(f"efficiency-{i}" for i in range(2, len(found) + 1))]
    return {name: one(block, width or FULL, command) for name, block in zip(names, found)}


def one(block: Block, width: float, command: str) -> Figure:
    """Throughput and memory side by side; below each other where there are many models."""
    models = lines(block)
    right = margin(models)
    columns = 2 if width > COLUMN and len(models) <= MANY else 1
    height = max(2.1, needed(len(models)))
    grid = Grid(width, columns, height, left=0.62, right=right, gap=right + 0.68)
    figure, (above, below) = grid.draw(
        ["Training throughput", "Most memory at once"], said(block, command)
    )
    speeds = drawn(above, block, "tokens_per_second")
    upright(above, "tokens per second", thousand, 10, speeds)
    memories = drawn(below, block, "peak_memory_bytes")
    upright(below, "training memory", lambda y: spelling.size(round(y)), 2, memories)
    return figure


def drawn(axis: Axes, block: Block, column: str) -> list[Label]:
    """A line for each model over length. Returns: their names."""
    over_length(axis, lengths(block))
    labels, seen = [], set[str]()
    for name, same in lines(block).items():
        model = str(same[0]["model"])
        base = model.partition(":")[0]
        look = style(model, variant=base in seen)
        seen.add(base)
        points = [(row["length"], row[column]) for row in same if row[column] is not None]
        if not points:
            continue
        axis.plot(*zip(*points), color=look.colour, linestyle=look.dash)
        for x, y in points:
            marker(axis, x, y, look, hollow=False)
        labels.append(Label(short(name), points, look.colour))
    return labels


def upright(
    axis: Axes, label: str, spelt: Callable[[float], str], base: int, labels: Sequence[Label]
) -> None:
    """The logarithmic axis of what was measured, and the names in the margin."""
    heights = [y for line in labels for _, y in line.points] or [1.0]
    low, high = min(heights) / 1.15, max(heights) * 1.15
    axis.set_yscale("log", base=base)
    axis.set_ylim(low, high)
    axis.yaxis.set_major_locator(LogLocator(base, subs=steps(base, high / low), numticks=14))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: spelt(y)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylabel(label)
    axis.grid(axis="y")
    beside(axis, labels)


def steps(base: int, span: float) -> Sequence[float]:
    """Ticks between two powers, as factors: the fewer the further the axis reaches."""
    if base == 10:
        return (1, 1.5, 2, 3, 4, 5, 6, 8) if span < 5 else (1, 2, 5)
    return (1, 1.25, 1.5, 1.75) if span < 5 else (1, 1.5) if span < 20 else (1,)


def over_length(axis: Axes, values: Sequence[int]) -> None:
    """Every length has a tick; many are named in units of 1,024 tokens, which takes less room."""
    few = len(values) <= 5
    names = [spelling.number(x) if few or x % 1024 else f"{x // 1024}k" for x in values]
    axis.set_xscale("log", base=2)
    axis.set_xlim(values[0] / 2**0.3, values[-1] * 2**0.3)
    axis.set_xticks(values, names)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("tokens of a row" if few else "tokens of a row, k = 1,024")


def said(block: Block, command: str) -> list[str]:
    ends = "A line ends where memory was lacking or an update would have taken too long."
    ended = [ends] * any(row["status"] != "ok" for row in block.rows)
    made = captions.provenance(block.rows, command).replace("; table by", "; figure by")
    clocks = spelling.joined(sorted({row["clock"] for row in block.rows} - {None}))
    return [
        f"{where(block)}; {clocks}. Training: {step(block)}",
        " ".join([setting(block), *ended]),
        f"Memory: {memory_kinds(block)}. {made}",
    ]


def thousand(value: float) -> str:
    """25000 as 25k."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
