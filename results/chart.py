"""What all figures share: sizes, fonts, a grid of panels, the small print below, and saving."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLUMN, FULL = 3.35, 6.9  # inches: one column of a two-column page, and the whole page
FORMATS = ("png", "svg", "pdf")
GREY = "#6b6b6b"
SMALL = 5.5  # points
LINE = 1.3  # height of a line of text, in font sizes

# The hash salt and the empty dates below make two drawings of the same rows the same bytes.
RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 7,
    "axes.labelpad": 3,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.visible": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.4,
    "svg.hashsalt": "linear-attention-zoo",
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}
NO_DATES = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Grid:
    """Panels of equal size. All lengths in inches; gap and right leave room for labels."""

    width: float
    columns: int
    height: float = 1.9
    left: float = 0.46
    right: float = 0.72
    top: float = 0.26
    bottom: float = 0.38
    gap: float = 1.2
    row_gap: float = 0.62

    def draw(self, titles: Sequence[str], small_print: Sequence[str]) -> tuple[Figure, list[Axes]]:
        """A figure with one panel for each title, and the small print below them."""
        columns = min(self.columns, len(titles))
        rows = -(-len(titles) // columns)
        inner = (self.width - self.left - self.right - (columns - 1) * self.gap) / columns
        wrapped = [wrap(title, inner, 7) for title in titles]
        extra = max(len(title) for title in wrapped) - 1  # lines of title beyond the first
        step = self.height + self.row_gap + extra * LINE * 7 / 72
        top = self.top + extra * LINE * 7 / 72
        below = [line for text in small_print for line in wrap(text, self.width - 0.1, SMALL)]
        total = top + rows * step - (step - self.height) + self.bottom
        total += len(below) * LINE * SMALL / 72 + 0.06

        figure = Figure(figsize=(self.width, total))
        FigureCanvasAgg(figure)
        axes = []
        for i, title in enumerate(wrapped):
            row, column = divmod(i, columns)
            x = self.left + column * (inner + self.gap)
            y = total - top - self.height - row * step
            box = (x / self.width, y / total, inner / self.width, self.height / total)
            axes.append(figure.add_axes(box))
            axes[-1].set_title("\n".join(title), linespacing=LINE)
        style = {"size": SMALL, "color": GREY, "va": "bottom", "linespacing": LINE}
        figure.text(0.06 / self.width, 0.03 / total, "\n".join(below), **style)
        return figure, axes


def wrap(text: str, width: float, size: float) -> list[str]:
    """Lines that fit into `width` inches; a letter is 0.53 times as wide as high, on average."""
    return textwrap.wrap(text, int(72 * width / (0.53 * size)), break_on_hyphens=False)


def save(figures: dict[str, Figure], folder: Path) -> list[Path]:
    """Every figure in every format. The files depend on the figures alone."""
    folder.mkdir(parents=True, exist_ok=True)
    # The fonts of mathematics were made without a date, which fontTools reports for every figure.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    paths = []
    with matplotlib.rc_context(RC):
        for name, figure in figures.items():
            for kind in FORMATS:
                path = folder / f"{name}.{kind}"
                figure.savefig(path, format=kind, metadata=NO_DATES[kind])
                paths.append(path)
    return paths


def percent_axis(axis: Axes, label: str, top: float = 104) -> None:
    """0 to 100 with head-room, so that markers at 100 are whole, or up to `top` for labels."""
    axis.set_ylim(-3, top)
    axis.spines["left"].set_bounds(-3, 104)
    axis.set_yticks(range(0, 101, 20))
    axis.grid(axis="y")
    axis.set_ylabel(label)
