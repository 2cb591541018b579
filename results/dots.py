"""A dot plot of one width: a row for each model, by accuracy, with the numbers beside the dots."""

from __future__ import annotations

from matplotlib.axes import Axes

from . import spelling, strokes
from .cells import Block, Cell, Line
from .chart import GREY
from .labels import SIZE, margin, short
from .styles import ink

ROW = 0.132  # inches
ROOM = {False: 0.36, True: 0.72}  # inches for values without and with a standard deviation


def height(block: Block) -> float:
    """Inches for a row per model, one for chance, and half a row at each end."""
    return ROW * (len(block.lines) + 2)


def names(block: Block) -> float:
    """Inches on the left of a panel."""
    return margin(line.name for line in block.lines)


def values(block: Block) -> float:
    """Inches on the right of a panel."""
    return ROOM[any(cell.std is not None for _, cell in _ordered(block) if cell)]


def dots(axis: Axes, block: Block, spread: float) -> None:
    """Test accuracy of every model; undetermined ones after the others, then those without result.

    spread: inches on the right, at whose end the values stop.
    """
    ordered = _ordered(block)
    axis.set_xlim(-3, 104)
    axis.set_xticks(range(0, 101, 20))
    axis.grid(axis="both")
    axis.set_ylim(len(ordered) + 0.5 * (block.chance is not None), -1)
    axis.set_xlabel(f"test accuracy at d_model {block.widths[0]}, %")
    written, colours = [short(line.name) for line, _ in ordered], []
    for y, (line, cell) in enumerate(ordered):
        drawn = strokes.look(block, line)
        colours.append(ink(drawn.colour))
        mean = None if cell is None else cell.mean
        if cell is not None and mean is not None:
            if cell.std:
                wide = 100 * cell.std
                axis.errorbar(
                    100 * mean, y, xerr=wide, color=drawn.colour, elinewidth=0.7, capsize=1.5
                )
            strokes.marker(axis, 100 * mean, y, drawn, cell.undetermined)
        _value(axis, y, _said(cell), colours[-1], spread)
    if block.chance is not None:
        level = strokes.chance(axis, block, upright=True)
        written += [label.text for label in level]
        colours.append(GREY)
        _value(axis, len(ordered), spelling.percent(block.chance), GREY, spread)
    axis.set_yticks(range(len(written)), written, size=SIZE)
    axis.tick_params(axis="y", length=0)
    for tick, colour in zip(axis.get_yticklabels(), colours):
        tick.set_color(colour)


def _ordered(block: Block) -> list[tuple[Line, Cell | None]]:
    """Lines with their cells, the best first; those that print the same in the zoo's order."""
    pairs = [(line, line.cells.get(block.widths[0])) for line in block.lines]

    def place(pair: tuple[Line, Cell | None]) -> tuple[bool, bool, float]:
        cell = pair[1]
        if cell is None or cell.mean is None:
            return True, True, 0.0
        return False, cell.undetermined, -round(cell.mean, 3)

    return sorted(pairs, key=place)


def _said(cell: Cell | None) -> str:
    if cell is None or cell.mean is None:
        return spelling.DASH
    return f"{100 * cell.mean:.1f}" + (f" ± {100 * cell.std:.1f}" if cell.std is not None else "")


def _value(axis: Axes, y: float, text: str, colour: str, spread: float) -> None:
    """A number at the right end of a row."""
    style = {"ha": "right", "va": "center_baseline", "size": SIZE, "color": colour}
    axis.annotate(
        text,
        (1, y),
        (72 * spread - 3, 0),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        annotation_clip=False,
        **style,
    )
