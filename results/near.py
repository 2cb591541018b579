"""Direct labels of few lines, each next to a point of its line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from .labels import LEADER, SIZE, Label, annotate, pixels

ARROW = 14.0  # points


def near(
    axis: Axes, labels: Sequence[Label], arrows: Sequence[Label] = (), size: float = SIZE
) -> None:
    """Labels next to a point of their line, where they cover least: other labels, then lines.

    arrows: points with an arrow to the right, ARROW points long, that must stay visible.
    """
    scale, frame, busy = pixels(axis), axis.get_window_extent(), drawn(axis)
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
        annotate(axis, label, point, offset, "baseline", size, LEADER if leader else 0)


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


def drawn(axis: Axes) -> np.ndarray:
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
