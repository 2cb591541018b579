"""Figures as pure functions of rows: PNG, SVG and PDF, without a GPU and without the models."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from . import (
    chart,
    conditions_figures,
    efficiency_figures,
    lm_figures,
    lra_figures,
    mqar_figures,
    zoo_figures,
)
from .cells import Row

FIGURES = {
    "mqar": mqar_figures.make,
    "lra": lra_figures.make,
    "lm": lm_figures.make,
    "efficiency": efficiency_figures.make,
    "zoo": zoo_figures.make,
    "conditions": conditions_figures.make,
}
# Made from stored rows, those of a table; the others from the models and the theory themselves.
STORED = {"mqar": "mqar", "lra": "7", "lm": "lm", "efficiency": "efficiency"}


def names() -> list[str]:
    """Figures that can be made."""
    return list(FIGURES)


def draw(
    name: str, rows: Sequence[Row], width: float = 0.0, command: str = ""
) -> dict[str, Figure]:
    """Figures by file name, none where there are no rows. width: inches, 0 to fit the content."""
    if name not in FIGURES:
        close = difflib.get_close_matches(name, FIGURES, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"No figure is called {name!r}.{hint} There are: {', '.join(names())}")
    with matplotlib.rc_context(chart.RC):
        return FIGURES[name](rows, width, command or f"lazoo plot {name}")


def write(
    name: str, rows: Sequence[Row], out: str | Path, width: float = 0.0, command: str = ""
) -> list[Path]:
    """Draw and save as `out/<figure>.png`, `.svg` and `.pdf`; returns the files."""
    return chart.save(draw(name, rows, width, command), Path(out))
