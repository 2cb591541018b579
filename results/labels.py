"""Direct labels in the margin of a panel, where they do not cover each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes

from .styles import ink


@dataclass(frozen=True)
class Label:
    """A name and the points of its line in data coordinates; the last is where it belongs first."""

    text: str
    points: Sequence[tuple[float, float]]
    colour: str


SIZE = 6.5  # of a label, points
LEADER, THIN = 0.5, 0.35  # width of the lines to few labels and to many, points
STEP = 1.22  # from label to label, in sizes
MANY = 12  # lines of a panel, from where on their labels take more room than a usual panel has
LONGEST = 24  # letters


def short(name: str) -> str:
    """A name that fits beside a panel; tables have it in full."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def margin(names: Iterable[str]) -> float:
    """Inches that `beside` needs for these names."""
    letters = max((len(short(name)) for name in names), default=0)
    return (13 + 0.56 * SIZE * max(letters, len("chance 1/64"))) / 72


def needed(count: int) -> float:
    """Inches of height that `beside` needs for that many labels."""
    return (STEP * SIZE * count + 1) / 72


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart, in the order of `wanted` and as near to it as possible.

    Neighbours that would collide form a group around the mean of what its members want. Positions
    stay within low..high; where that is too narrow for all, they start at `low`.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    groups: list[list[float]] = []  # [sum of wanted starts, members, start]
    for i in order:
        groups.append([wanted[i], 1, wanted[i]])
        while len(groups) > 1 and groups[-1][2] < groups[-2][2] + gap * groups[-2][1]:
            total, members, _ = groups.pop()
            before = groups[-1]
            before[0] += total - gap * members * before[1]
            before[1] += members
            before[2] = before[0] / before[1]
    placed = [start + gap * k for _, members, start in groups for k in range(int(members))]
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], high - gap * (len(placed) - 1 - k))
    for k in range(len(placed)):
        placed[k] = max(placed[k], low + gap * k)
    result = [0.0] * len(wanted)
    for k, i in enumerate(order):
        result[i] = placed[k]
    return result


def beside(axis: Axes, labels: Sequence[Label], size: float = SIZE) -> None:
    """Labels in the right margin, each with a thin line to its last point."""
    scale, frame = pixels(axis), axis.get_window_extent()
    ends = [axis.transData.transform(label.points[-1]) for label in labels]
    wanted = [y for _, y in ends]
    heights = spread(wanted, STEP * size * scale, frame.y0, frame.y1 - 1 * scale)
    heights = uncrossed([(x, y) for x, y in ends], heights, 1.2 * scale)
    for label, (x, y), height in zip(labels, ends, heights):
        offset = ((frame.x1 + 7 * scale - x) / scale, (height - y) / scale)
        leader = THIN if len(labels) > MANY + 1 else LEADER
        annotate(axis, label, label.points[-1], offset, "center", size, leader)


def uncrossed(
    ends: Sequence[tuple[float, float]], heights: Sequence[float], same: float
) -> list[float]:
    """The same heights, dealt out anew among points that are level with one another.

    The point furthest left gets the height furthest away, so that the lines from points to labels
    do not cross. same: how far apart neighbours may be to count as level.
    """
    order = sorted(range(len(ends)), key=lambda i: heights[i])
    groups = [order[:1]] if order else []
    for before, i in pairwise(order):
        if ends[i][1] - ends[before][1] > same:
            groups.append([])
        groups[-1].append(i)
    result = list(heights)
    for group in groups:
        level = sum(ends[i][1] for i in group) / len(group)
        far = sorted((heights[i] for i in group), key=lambda height: -abs(height - level))
        for i, height in zip(sorted(group, key=lambda i: ends[i][0]), far):
            result[i] = height
    return result


def annotate(
    axis: Axes,
    label: Label,
    point: tuple[float, float],
    offset: tuple[float, float],
    align: str,
    size: float,
    leader: float,
    end: tuple[float, float] | None = None,
) -> None:
    """Text at an offset (in points) from its data point, with a line between them if wanted.

    leader: width of the line in points, 0 for none. end: where it meets the text, as fractions of
    the text's width and height; without it the middle of the side that faces the point.
    """
    colour, alpha = (ink(label.colour), 0.8) if leader == THIN else (label.colour, 0.55)
    line = {"arrowstyle": "-", "color": colour, "lw": leader, "alpha": alpha}
    line |= {"shrinkA": 1, "shrinkB": 2.5, "relpos": end or (0 if offset[0] > 0 else 1, 0.5)}
    axis.annotate(
        label.text,
        point,
        offset,
        textcoords="offset points",
        annotation_clip=False,
        arrowprops=line if leader else None,
        color=ink(label.colour),
        size=size,
        va=align,
    )


def pixels(axis: Axes) -> float:
    """Pixels in a point, once the limits of the axes are settled."""
    axis.autoscale_view()
    assert axis.figure is not None
    return axis.figure.dpi / 72
