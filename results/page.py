"""A page of small pieces of text and lines, in points from its top left corner, long as needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import chart
from .styles import Style

INK, PALE = "#222222", "#b9b9b9"
LEADING, GAP = 8.6, 4.5  # points: from line to line, between pieces


@dataclass(frozen=True)
class Piece:
    """A few signs that stay together on a line. math: the text is LaTeX."""

    text: str
    colour: str = INK
    size: float = 5.9
    math: bool = False
    bold: bool = False

    @property
    def shown(self) -> str:
        return f"${self.text}$" if self.math else self.text

    @property
    def weight(self) -> str:
        return "bold" if self.bold else "normal"


class Ruler:
    """Widths of text, measured as it will be drawn."""

    def __init__(self) -> None:
        self.figure = Figure(dpi=72)
        self.canvas = FigureCanvasAgg(self.figure)

    def width(self, piece: Piece) -> float:
        """Points."""
        text = self.figure.text(0, 0, piece.shown, size=piece.size, weight=piece.weight)
        found = text.get_window_extent(self.canvas.get_renderer()).width
        text.remove()
        return found


@dataclass
class Page:
    """What is where. width: points."""

    width: float
    ruler: Ruler = field(default_factory=Ruler)
    pieces: list[tuple[float, float, Piece]] = field(default_factory=list)
    lines: list[tuple[float, float, float, float]] = field(default_factory=list)
    markers: list[tuple[float, float, Style]] = field(default_factory=list)

    def centred(self, pieces: Sequence[Piece], y: float, gap: float = GAP) -> None:
        """One line in the middle of the page."""
        widths = [self.ruler.width(piece) + gap for piece in pieces]
        x = (self.width - sum(widths) + gap) / 2
        for piece, taken in zip(pieces, widths):
            self.pieces.append((x, y, piece))
            x += taken

    def flow(self, pieces: Sequence[Piece], left: float, right: float, y: float) -> float:
        """Pieces one after the other on as many lines as they need. Returns: the line below."""
        x, room = left, right - left - 4
        for piece in pieces:
            taken = self.ruler.width(piece)
            if taken > room:
                piece, taken = replace(piece, size=piece.size * room / taken), room
            if x > left and x + taken > right:
                x, y = left + 4, y + LEADING
            self.pieces.append((x, y, piece))
            x += taken + GAP
        return y + LEADING

    def drawn(self, end: float, small_print: str) -> Figure:
        """The page as a figure, `end` points long, with the small print below."""
        wrapped = chart.wrap(small_print, self.width / 72 - 0.1, chart.SMALL)
        height = end + len(wrapped) * chart.LINE * chart.SMALL + 6
        figure = Figure(figsize=(self.width / 72, height / 72))
        FigureCanvasAgg(figure)
        for x0, y0, x1, y1 in self.lines:
            xs, ys = [x0 / self.width, x1 / self.width], [1 - y0 / height, 1 - y1 / height]
            figure.add_artist(Line2D(xs, ys, color=PALE, linewidth=0.7))
        for x, y, style in self.markers:
            shape = {"marker": style.marker, "markersize": 3.6, "linestyle": "none"}
            shape |= {"markerfacecolor": style.colour, "markeredgewidth": 0}
            figure.add_artist(Line2D([x / self.width], [1 - y / height], **shape))
        for x, y, piece in self.pieces:
            look = {"color": piece.colour, "size": piece.size, "weight": piece.weight}
            figure.text(x / self.width, 1 - y / height, piece.shown, va="baseline", **look)
        look = {"size": chart.SMALL, "color": chart.GREY, "linespacing": chart.LINE}
        figure.text(4 / self.width, 3 / height, "\n".join(wrapped), va="bottom", **look)
        return figure
