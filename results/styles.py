"""One colour, marker and dash per model, the same in every figure, and the order of the models.

Hues go by family: black for softmax, blues for linear transformers without decay, warm colours for
decaying matrix states, purples for vector states, green for state-space models. Seven are Okabe and
Ito's, which differ for colour-blind readers too; markers and dashes differ for print in grey.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Style(NamedTuple):
    """How one model is drawn. marker, dash: in matplotlib's notation."""

    colour: str
    marker: str
    dash: str | tuple[int, tuple[float, ...]]


SOLID = "-"
LONG = (0, (6, 1.4))
SHORT = (0, (2.6, 1.2))
DOTS = (0, (1, 1.1))
DASH_DOT = (0, (5, 1.2, 1, 1.2))

# In the order in which tables and legends list the models.
STYLES = {
    "attention": Style("#000000", "o", SOLID),
    "linformer": Style("#56B4E9", "v", SHORT),
    "based": Style("#0072B2", "s", LONG),
    "gla": Style("#E69F00", "^", DASH_DOT),
    "metala": Style("#D55E00", "D", SOLID),
    "rwkv4": Style("#CC79A7", "P", SHORT),
    "hgrn": Style("#882255", "X", DOTS),
    "mamba": Style("#009E73", "p", LONG),
}

# For models that are not listed above, and to tell variants of a model apart.
COLOURS = ("#117733", "#332288", "#999933", "#AA4499", "#661100", "#6699CC", "#888888", "#BB5566")
MARKERS = ("<", ">", "h", "d", "8", "*", "H")
DASHES = (SHORT, LONG, DASH_DOT, DOTS)


def style(model: str, variant: bool = False) -> Style:
    """The model's style. It depends on the name alone, never on what else is in the figure.

    `metala:mqar` is drawn as metala is. variant: for a second line of the same model, which keeps
    the colour and gets a marker and dash of its own.
    """
    base = STYLES.get(model.partition(":")[0])
    if base and not variant:
        return base
    number = int.from_bytes(hashlib.sha256(model.encode()).digest()[:8])
    number, colour = divmod(number, len(COLOURS))
    number, marker = divmod(number, len(MARKERS))
    dash = DASHES[number % len(DASHES)]
    return Style(base.colour if base else COLOURS[colour], MARKERS[marker], dash)


def rank(model: str) -> tuple[int, str]:
    """Sorting key: models in the order of STYLES, each followed by its variants, then others."""
    base = model.partition(":")[0]
    known = list(STYLES)
    return (known.index(base) if base in known else len(known), model)


def ink(colour: str) -> str:
    """The colour, darkened until text in it has a contrast of 4.5 to 1 on white (WCAG 2, AA)."""
    parts = rgb(colour)
    while 1.05 / (luminance(parts) + 0.05) < 4.5:
        parts = [0.95 * part for part in parts]
    return to_hex(parts)


def tint(colour: str, share: float) -> str:
    """The colour mixed with white. share: 1 leaves it as it is, 0 is white."""
    return to_hex([1 - share * (1 - part) for part in rgb(colour)])


def luminance(parts: list[float]) -> float:
    """Relative luminance of an sRGB colour, 0 black to 1 white (WCAG 2)."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def rgb(colour: str) -> list[float]:
    """`#RRGGBB` as three numbers from 0 to 1."""
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def to_hex(parts: list[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
