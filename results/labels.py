"""Direct labels that do not cover each other: in the margin of a panel, or next to their points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from .styles import ink


@dataclass(frozen=True)
class Label:
    """A name and the points of its line in data coordinates; the last is where it belongs first."""

    text: str
    points: Sequence[tuple[float, float]]
    colour: str


ARROW = 14.0  # points
SIZE = 6.5  # of a label, points
LONGEST = 24  # letters


def short(name: str) -> str:
    """A name that fits beside a panel; tables have it in full."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def margin(names: Iterable[str]) -> float:
    """Inches that `beside` needs for these names."""
    letters = max((len(short(name)) for name in names), default=0)
    return (13 + 0.56 * SIZE * max(letters, len("chance 1/64"))) / 72


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
    scale, frame = _pixels(axis), axis.get_window_extent()
    ends = [axis.transData.transform(label.points[-1]) for label in labels]
    wanted = [y for _, y in ends]
    heights = spread(wanted, 1.22 * size * scale, frame.y0, frame.y1 - 1 * scale)
    heights = uncrossed([(x, y) for x, y in ends], heights, 1.2 * scale)
    for label, (x, y), height in zip(labels, ends, heights):
        offset = ((frame.x1 + 7 * scale - x) / scale, (height - y) / scale)
        _write(axis, label, label.points[-1], offset, "center", size, leader=True)


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


def near(
    axis: Axes, labels: Sequence[Label], arrows: Sequence[Label] = (), size: float = SIZE
) -> None:
    """Labels next to a point of their line, where they cover least: other labels, then lines.

    arrows: points with an arrow to the right, ARROW points long, that must stay visible.
    """
    scale, frame, busy = _pixels(axis), axis.get_window_extent(), _drawn(axis)
    taken: list[Bbox] = []
    for arrow in arrows:
        x, y = axis.transData.transform(arrow.points[-1])
        taken.append(Bbox.from_bounds(x, y - 3 * scale, ARROW * scale, 6 * scale))
    for label in labels:
        probe = axis.text(0, 0, label.text, size=size)
        extent = probe.get_window_extent()
        probe.remove()
        places = []
        for back, point in enumerate(reversed(label.points)):
            x, y = axis.transData.transform(point)
            for far in (4.5, 8, 13, 20):
                for side in SIDES:
                    box = _box(x, y, extent.width, 0.8 * extent.height, side, far * scale)
                    cost = _cost(box, frame, taken, busy) + 0.8 * far + 4 * back
                    offset = ((box.x0 - x) / scale, (box.y0 - y) / scale)
                    places.append((cost, len(places), box, point, offset, far > 5))
        _, _, box, point, offset, leader = min(places, key=lambda place: place[:2])
        taken.append(box)
        _write(axis, label, point, offset, "baseline", size, leader)


# East first, then around; (0, 0) would be a label centred on its point.
SIDES = ((1, 0), (1, 1), (1, -1), (0, 1), (0, -1), (-1, 1), (-1, -1), (-1, 0))


def _box(x: float, y: float, w: float, h: float, side: tuple[int, int], far: float) -> Bbox:
    """The place of a label of size w x h on one side of a point. All in pixels."""
    across, up = side
    left = x + across * far - w * (1 - across) / 2
    bottom = y + up * far - h * (1 - up) / 2
    return Bbox.from_bounds(left, bottom, w, h)


def _cost(box: Bbox, frame: Bbox, taken: Sequence[Bbox], busy: np.ndarray) -> float:
    """How much a label there would hide or stick out. busy: pixels of lines, n x 2."""
    inside = Bbox.intersection(box, frame)
    area = box.width * box.height
    outside = 1 - (inside.width * inside.height / area if inside else 0)
    wider = box.padded(2)
    hidden = sum(1.0 for other in taken if wider.overlaps(other))
    covered = ((busy >= wider.min) & (busy <= wider.max)).all(axis=1).sum()
    return 400 * outside + 200 * hidden + 2 * float(covered)


def _drawn(axis: Axes) -> np.ndarray:
    """Points along everything plotted, three pixels apart. Returns: n x 2, pixels."""
    found = [np.empty((0, 2))]
    for line in axis.lines:
        points = line.get_transform().transform(np.asarray(line.get_xydata(), float))  # n x 2
        points = points[np.isfinite(points).all(axis=1)]
        for start, end in pairwise(points):
            steps = max(1, int(np.hypot(*(end - start)) / 3))
            found.append(start + (end - start) * np.linspace(0, 1, steps + 1)[:, None])
        found += [points, points + 3, points - 3]  # a marker is larger than its centre
    return np.concatenate(found)


def _write(
    axis: Axes,
    label: Label,
    point: tuple[float, float],
    offset: tuple[float, float],
    align: str,
    size: float,
    leader: bool,
) -> None:
    """Text at an offset (in points) from its data point, with a line between them if wanted."""
    line = {"arrowstyle": "-", "color": label.colour, "lw": 0.5, "alpha": 0.55}
    line |= {"shrinkA": 1, "shrinkB": 2.5, "relpos": (0 if offset[0] > 0 else 1, 0.5)}
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


def _pixels(axis: Axes) -> float:
    """Pixels in a point, once the limits of the axes are settled."""
    axis.autoscale_view()
    assert axis.figure is not None
    return axis.figure.dpi / 72
