"""The zoo as a family tree: the template once, and for each model what it has of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure

from . import chart
from .cells import Row
from .page import INK, LEADING, Page, Piece
from .styles import ink, style
from .tex_math import tex

COLUMNS = (("linear transformer",), ("softmax", "linear RNN"), ("state-space model", "delta rule"))
TITLES = {
    "softmax": "Softmax attention",
    "linear transformer": "Linear transformers",
    "linear RNN": "Linear RNNs",
    "state-space model": "State-space models",
    "delta rule": "Delta rule",
}
# What a model is told by: how the slot is printed, and its colour.
SLOTS = {
    "f_q": ("q =", "#0072B2"),
    "f_k": ("k =", "#009E73"),
    "f_v": ("v =", "#666666"),
    "f_alpha": ("α =", "#D55E00"),
    "f_g": ("g =", "#882255"),
    "local": ("u =", "#8a6d00"),
    "erase": ("erase", "#D55E00"),
    "mix": ("o =", INK),
    "now": ("now", INK),
    "bonus": ("bonus", INK),
    "normaliser": ("o /", INK),
    "norm": ("norm", INK),
    "post": ("post", INK),
}
DIVISORS = {"": "", "add": "(q z + ε)", "clamp": "max(q z, ε)", "add_key": "(q (z + ε))"}
# The template's two lines, each part with the slot whose colour it takes.
TEMPLATE = (
    (("S_t = diag(", ""), ("α_t", "f_alpha"), (") S_{t-1} +", ""), ("k_tᵀ", "f_k"), ("v_t", "f_v")),
    (("o_t =", ""), ("q_t", "f_q"), ("S_t", "")),
    (("y_t = (norm(o_t) ⊙", ""), ("g_t", "f_g"), (") W_O", "")),
)
BETWEEN, ABOVE, INDENT, GUTTER = 3.4, 13.0, 15.0, 12.0  # points: models, families, columns
FORK = 78.0  # where the tree branches, points from the top


def make(rows: Sequence[Row], width: float, command: str) -> dict[str, Figure]:
    """The figure `zoo`, none without rows. width: inches, 0 for a full page's."""
    if not rows:
        return {}
    page = Page((width or chart.FULL) * 72)
    template(page)
    columns = [families for families in COLUMNS if any(r["family"] in families for r in rows)]
    room = (page.width - GUTTER * (len(columns) - 1)) / len(columns)
    lefts = [i * (room + GUTTER) for i in range(len(columns))]
    middle = page.width / 2
    page.lines += [(middle, FORK - 9, middle, FORK), (lefts[0] + 3, FORK, lefts[-1] + 3, FORK)]
    if len(columns) == 1:
        page.lines.append((lefts[0] + 3, FORK, middle, FORK))
    ends = [branch(page, rows, names, left, room) for names, left in zip(columns, lefts)]
    small_print = (
        f"{len(rows)} models. Printed is what a model has instead of its family's usual functions. "
        "x is the input of a layer, u what a projection, convolution or shift makes of it; biases "
        f"are left out. Made by {command} from the code's own formulas."
    )
    return {"zoo": page.drawn(max(ends), small_print)}


def template(page: Page) -> None:
    """Eq. 13 to 15 in the middle of the top, each function in the colour that models use."""
    page.centred([Piece("The template", size=7.6, bold=True)], 10)
    for i, parts in enumerate(TEMPLATE):
        line = [(tex(text, breaks=False), SLOTS.get(slot, ("", INK))[1]) for text, slot in parts]
        page.centred(
            [Piece(text, colour, 8.2, math=True) for text, colour in line], 24 + 13 * i, 2.5
        )
    said = "q, k, v, α and g are functions of x (Eq. 11 to 15 of MetaLA, arXiv 2411.10741)"
    page.centred([Piece(said, chart.GREY, chart.SMALL)], 62)


def branch(
    page: Page, rows: Sequence[Row], families: Sequence[str], left: float, room: float
) -> float:
    """One column: families and their models along a stem. Returns: where it ends."""
    y = FORK + 15
    for family in families:
        members = [row for row in rows if row["family"] == family]
        if members:
            page.lines.append((left + 3, FORK, left + 3, y - 2.5))
            page.lines.append((left + 3, y - 2.5, left + 7, y - 2.5))
            y = leaves(page, members, left, room, y) + ABOVE
    return y - ABOVE


def leaves(page: Page, members: Sequence[Row], left: float, room: float, y: float) -> float:
    """A family: its name, what is usual in it, its models. Returns: the line below."""
    page.pieces.append((left + 9, y, Piece(TITLES[members[0]["family"]], size=7.6, bold=True)))
    y += LEADING + 1
    usual = common(members)
    pieces = [piece for slot, text in usual.items() for piece in told(slot, text)]
    if pieces:
        y = page.flow([Piece("usual:", chart.GREY), *pieces], left + 9, left + room, y)
    stem, y = y - LEADING + 2, y + BETWEEN
    for row in members:
        page.lines.append((left + 9, stem, left + 9, y - 2.2))
        page.lines.append((left + 9, y - 2.2, left + 12, y - 2.2))
        page.markers.append((left + INDENT + 1, y - 2.2, style(row["name"])))
        stem = y - 2.2
        y = page.flow(entry(row, usual), left + INDENT + 6, left + room, y) + BETWEEN
    return y


def entry(row: Row, usual: dict[str, str]) -> list[Piece]:
    """A model's name, and the slots that are not its family's usual ones."""
    pieces = [Piece(row["label"], ink(style(row["name"]).colour), 6.8, bold=True)]
    for slot in SLOTS:
        text = shown(row, slot)
        if key(text) != usual.get(slot, ""):
            pieces += told(slot, text)
    return pieces if len(pieces) > 1 else [*pieces, Piece("as usual", chart.GREY)]


def shown(row: Row, slot: str) -> str:
    """A slot's formula without biases, which tell few models apart."""
    if slot == "normaliser":
        return DIVISORS[row[slot]]
    return re.sub(r" \+ b(_\w+)?(?=\W|$)", "", row[slot])


def key(text: str) -> str:
    """What two formulas share that differ in whether a convolution comes before them."""
    return re.sub(r"(?<![\w^_])u(?!\w)", "x", text)


def common(members: Sequence[Row]) -> dict[str, str]:
    """What more than half of a family has in each slot; families of one or two have no usual."""
    if len(members) < 3:
        return {}
    found = {}
    for slot in SLOTS:
        text, times = Counter(key(shown(row, slot)) for row in members).most_common(1)[0]
        if 2 * times > len(members) and text:
            found[slot] = text
    return found


def told(slot: str, text: str) -> list[Piece]:
    """`α = ...` in pieces between which a line may end; what a model lacks is named as well."""
    name, colour = SLOTS[slot]
    if text in ("", "-"):
        return [Piece("no decay" if text else f"no {name.removesuffix(' =')}", colour)]
    first, *others = parted(text)
    return [Piece(tex(t, breaks=False), colour, math=True) for t in (f"{name} {first}", *others)]


def parted(text: str) -> list[str]:
    """The parts between commas that stand in no bracket."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]
