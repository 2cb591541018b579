"""One colour, marker and dash per model, the same in every figure, and the order of the models.

Hues go by kind: black and grey for softmax, blues for linear transformers without decay, warm
colours for decaying matrix states, purples for vector states, greens for state-space models, browns
for the delta rule. Seven are Okabe and Ito's; the others were searched for the largest distance to
all, for colour-blind readers too. No two models of a family share a marker, no two of all share
marker and dash, and models of a family that are alike in grey differ in both.
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
DOUBLE = (0, (5, 1.2, 1, 1.2, 1, 1.2))

# In the order in which tables and legends list the models.
STYLES = {
    "attention": Style("#000000", "o", SOLID),
    "eva": Style("#706B6F", ">", DOUBLE),
    "linformer": Style("#56B4E9", "v", SHORT),
    "based": Style("#0072B2", "s", LONG),
    "performer": Style("#0D0B4B", "H", DOUBLE),
    "rfa": Style("#0B5573", "d", SOLID),
    "cosformer": Style("#857CFB", "*", DOTS),
    "transnormer": Style("#1805D5", "h", DOTS),
    "zeros": Style("#0B0D97", "8", SHORT),
    "inline": Style("#1772F6", "<", DASH_DOT),
    "gla": Style("#E69F00", "^", DASH_DOT),
    "metala": Style("#D55E00", "D", SOLID),
    "retnet": Style("#AE4227", "X", DOUBLE),
    "transnormerllm": Style("#FAC16A", "P", DASH_DOT),
    "hgrn2": Style("#9E1B00", "h", SHORT),
    "rwkv6": Style("#F1C724", "o", LONG),
    "rwkv4": Style("#CC79A7", "P", SHORT),
    "hgrn": Style("#882255", "X", DOTS),
    "glru": Style("#B853DF", "H", SOLID),
    "griffin": Style("#B12B9C", "^", LONG),
    "lru": Style("#DAB8D7", "*", DOUBLE),
    "trnn": Style("#410A72", "8", DASH_DOT),
    "mamba": Style("#009E73", "p", LONG),
    "mamba2": Style("#77C5B5", ">", SHORT),
    "s4": Style("#172A17", "v", DOTS),
    "s4d": Style("#ADD58B", "<", SOLID),
    "dss": Style("#4AE73C", "d", DASH_DOT),
    "h3": Style("#407244", "D", DOUBLE),
    "s5": Style("#74B758", "s", DOTS),
    "mega_ema": Style("#489810", "^", SHORT),
    "delta_net": Style("#BEA393", "p", DOTS),
    "gated_delta_net": Style("#918550", "8", LONG),
    "kda": Style("#B4B23D", "h", SOLID),
    "rwkv7": Style("#474031", "<", DOUBLE),
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
    markers = [marker for marker in MARKERS if base is None or marker != base.marker]
    number, marker = divmod(number, len(markers))
    dash = DASHES[number % len(DASHES)]
    return Style(base.colour if base else COLOURS[colour], markers[marker], dash)


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
