"""Figures of the theory: what a gate can overwrite, and how near a map comes to any other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .cells import Row
from .chart import COLUMN, FULL, GREY, Grid
from .labels import Label, beside, margin
from .spelling import number
from .styles import DASH_DOT, DOTS, LONG, SHORT, SOLID, Style, tint

# In the order of the rows. Curves differ by dash and marker too, for print in grey.
GATES = (
    Style("#000000", "", SOLID),
    Style("#D55E00", "", LONG),
    Style("#BB7A95", "", SHORT),
    Style("#882255", "", DASH_DOT),
)
FIXED = tuple(
    Style(tint("#AE4227", share), "", dash)
    for share, dash in ((0.55, DOTS), (0.7, SHORT), (0.85, LONG), (1.0, SOLID))
)
GROUPS = {
    "Q,K": Style("#0072B2", "s", LONG),
    "Q,Lt": Style("#D55E00", "D", SOLID),
    "Q,K,Lt": Style("#B07500", "^", DASH_DOT),
}
FLOOR = 1e-6  # lower end of the overwrite error, below which a verdict counts it as none


def make(rows: Sequence[Row], width: float, command: str) -> dict[str, Figure]:
    """Both figures by name, none without rows. width: inches, 0 to fit the content."""
    found = {"conditions-overwrite": overwriting(rows, width or COLUMN, command)}
    found["conditions-approximation"] = approximation(rows, width or FULL, command)
    return {name: figure for name, figure in found.items() if figure is not None}


def overwriting(rows: Sequence[Row], width: float, command: str) -> Figure | None:
    """The overwrite error over the bound of the gate's logit; forms without a gate are levels."""
    curves = [row for row in rows if row["kind"] == "overwrite"]
    levels = [row for row in rows if row["kind"] == "level"]
    if not curves:
        return None
    names = [row["name"] for row in (*curves, *levels)]
    right = margin(names)
    said = [
        "Squared error of overwriting one of 16 orthonormal slots and keeping the others (C1); 1 "
        "leaves the old value in place. Curves: α = a + (1 - a) σ(z)^(1/τ), |z| at most Z, k = 1 - "
        "α, a = 0 and τ = 1 unless said. Dotted: forms of decay that no logit changes, with a free "
        "key.",
        f"Computed, no runs; figure by `{command}`.",
    ]
    figure, (axis,) = Grid(width, 1, height=2.3, left=0.52, right=right).draw(
        ["Dynamic memory: what a gate can overwrite"], said
    )
    axis.set_yscale("log")
    axis.set_ylim(FLOOR / 2, 20)
    axis.set_xlim(0, max(curves[0]["Z"]))
    axis.set_xlabel("bound of the gate's logit, Z")
    axis.set_ylabel("overwrite error e2")
    axis.grid(axis="y")
    axis.yaxis.set_minor_locator(NullLocator())
    labels = []
    for row, drawn in zip(curves, GATES):
        points = [(x, y) for x, y in zip(row["Z"], row["e2"]) if y >= FLOOR / 2]
        axis.plot(*zip(*points), color=drawn.colour, linestyle=drawn.dash)
        labels.append(Label(row["name"], points[-1:], drawn.colour))
    for row in levels:
        axis.axhline(row["e2"], color=GREY, linewidth=0.7, linestyle=(0, (1, 1.5)), zorder=1)
        labels.append(Label(row["name"], [(axis.get_xlim()[1], row["e2"])], GREY))
    beside(axis, labels)
    return figure


def approximation(rows: Sequence[Row], width: float, command: str) -> Figure | None:
    """Bounds of the approximation error over n, and what is reached with fewer channels."""
    groups = [row for row in rows if row["kind"] == "group"]
    fixed = [row for row in rows if row["kind"] == "fixed"]
    few = [row for row in rows if row["kind"] == "capacity"]
    few.sort(key=lambda row: list(GROUPS).index(row["name"]))
    if not groups or not few:
        return None
    n = few[0]["n"]
    titles = ["Static approximation over n", f"Fewer channels, {n} tokens"]
    said = [
        "Error: largest difference of an entry from an attention map (C2). Left: least error with "
        "as many channels as tokens; 0.5 is a lower bound, 0 what a construction reaches, dotted "
        "beyond the lengths that were computed; curves bound Q,L and are reached by Q,K,L, with "
        "|q|, |k| at most 1 and by their largest α. Right: the least error that Adam found on a "
        "random map; in the grey area there is no diagonal recurrence of that many channels.",
        f"Computed, no runs; figure by `{command}`.",
    ]
    columns = 2 if width > COLUMN else 1
    room = margin(line for name, _ in merged(groups) for line in name.splitlines())
    grid = Grid(width, columns, right=0.62 if columns == 2 else room, gap=room + 0.42)
    figure, (left, beyond) = grid.draw(titles, said)
    over_length(left, groups, fixed)
    over_channels(beyond, few)
    return figure


def over_length(axis: Axes, groups: Sequence[Row], fixed: Sequence[Row]) -> None:
    lengths = fixed[0]["n"] if fixed else groups[0]["n"]
    error_axis(axis)
    axis.set_xscale("log", base=2)
    axis.set_xlim(lengths[0] / 2**0.3, lengths[-1] * 2**0.3)
    shown = lengths[::2]
    axis.set_xticks(shown, [number(x) for x in shown])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("tokens n")
    labels = []
    for row, drawn in zip(fixed, FIXED):
        points = list(zip(row["n"], row["error"]))
        axis.plot(*zip(*points), color=drawn.colour, linestyle=drawn.dash)
        labels.append(Label(f"L, α ≤ {ceiling(row['ceiling'])}", points, drawn.colour))
    for name, level in merged(groups):
        last = max(groups[0]["n"])
        axis.plot([lengths[0], last], [level, level], color="#333333", linewidth=1.4)
        axis.plot([last, lengths[-1]], [level, level], color="#333333", linestyle=DOTS)
        labels.append(Label(name, [(lengths[-1], level)], "#333333"))
    beside(axis, labels)


def merged(groups: Sequence[Row]) -> list[tuple[str, float]]:
    """Groups whose error is the same at every length, by that error."""
    levels: dict[float, list[str]] = {}
    for row in groups:
        errors = row["upper"] if row["upper"] and max(row["upper"]) < FLOOR else row["lower"]
        if max(errors) - min(errors) < FLOOR:
            name = "none" if row["name"] == "-" else row["name"]
            levels.setdefault(round(errors[0], 9), []).append(name)
    return [("\n".join(folded(names)), level) for level, names in levels.items()]


def folded(names: Sequence[str]) -> list[str]:
    """Names side by side, in lines of a label's length."""
    lines = [names[0]]
    for name in names[1:]:
        if len(lines[-1]) + len(name) > 16:
            lines.append(name)
        else:
            lines[-1] += f" · {name}"
    return lines


def over_channels(axis: Axes, few: Sequence[Row]) -> None:
    error_axis(axis)
    axis.set_ylabel("")
    axis.set_xscale("log", base=2)
    ratios = [few[0]["n"] / d_k for d_k in few[0]["d_k"]]
    axis.fill_between(ratios, few[0]["lower"], color="#e4e4e4", linewidth=0, zorder=1)
    axis.set_xlim(min(ratios) / 2**0.2, max(ratios) * 2**0.2)
    axis.xaxis.set_major_locator(FixedLocator(ratios))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("tokens per channel, n / d_k")
    labels = []
    for row in few:
        drawn = GROUPS[row["name"]]
        points = sorted(zip(ratios, row["error"]))
        look = {"color": drawn.colour, "marker": drawn.marker, "clip_on": False, "zorder": 3}
        if row is few[-1]:  # open, so that what is below it is seen
            look |= {"markerfacecolor": "none", "markersize": 6.5, "markeredgewidth": 0.9}
        axis.plot(*zip(*points), linestyle=drawn.dash, **look)
        labels.append(Label(row["name"], points, drawn.colour))
    beside(axis, labels)


def error_axis(axis: Axes) -> None:
    axis.set_ylim(-0.03, 1.04)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axis.grid(axis="y")
    axis.set_ylabel("largest error of an entry")


def ceiling(value: float) -> str:
    """0.99 as it is, 1 - 2^-12 as a power."""
    power = -math.log2(1 - value)
    if abs(power - round(power)) > 1e-9:
        return f"{value:g}"
    return "1 - 2⁻" + str(round(power)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
