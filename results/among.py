"""Direct labels among many points: a search for places where no label covers anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from .labels import SIZE, THIN, Label, annotate, pixels
from .near import ARROW, drawn

RADII = (4, 7, 11, 16, 22, 29, 37, 46, 56, 68, 82)  # from a point to its label, points
ANGLES = np.arange(0, 2 * np.pi, np.pi / 8)
KEPT = 160  # places for a label that are worth comparing with those of the others
ROUNDS = 12
SIDE = 1.5  # white left and right of a label, points
ALONG = np.linspace(0, 1, 16)[:, None]  # where leaders are looked at


@dataclass(frozen=True)
class Places:
    """Where a label may go, in pixels. m: places.

    boxes: m x 4, left, bottom, right, top. leaders: m x 2 x 2, from the point to the box.
    cost: m, of each place by itself. index: m, which point of the line it belongs to.
    """

    boxes: np.ndarray
    leaders: np.ndarray
    cost: np.ndarray
    index: np.ndarray


def among(axis: Axes, labels: Sequence[Label], arrows: Sequence[Label] = ()) -> bool:
    """Labels near a point of their line, with thin lines to them, if there is room for all.

    arrows: points with an arrow to the right, ARROW points long, that must stay visible.
    Returns: whether there is room; if not, nothing is written.
    """
    scale, busy, marks = pixels(axis), drawn(axis), _marks(axis, arrows)
    found = [_places(axis, label, scale, busy, marks) for label in labels]
    if any(len(places.cost) == 0 for places in found):
        return False
    order = sorted(range(len(found)), key=lambda i: found[i].leaders[0, 0, 0])
    tried = [_settled(found, way) for way in (range(len(found)), order, order[::-1])]
    costs, chosen = min(tried, key=lambda settled: sum(settled[0]))
    if max(costs) >= HIDDEN:
        return False
    for label, places, k in zip(labels, found, chosen):
        left, bottom, right, top = places.boxes[k] + [SIDE * scale, 0, -SIDE * scale, 0]
        (x, y), (end_x, end_y) = places.leaders[k]
        leader = THIN if np.hypot(end_x - x, end_y - y) > 4.5 * scale else 0
        across = (min(max(end_x, left), right) - left) / (right - left)
        end = (across, (end_y - bottom) / (top - bottom))
        offset = ((left - x) / scale, (bottom - y) / scale)
        annotate(axis, label, label.points[places.index[k]], offset, "bottom", SIZE, leader, end)
    return True


HIDDEN = 1000.0  # cost of a place where one label or marker hides another


def _places(axis: Axes, label: Label, scale: float, busy: np.ndarray, marks: np.ndarray) -> Places:
    """The cheapest places for a label by itself: near its point, on nothing, inside the axes."""
    probe = axis.text(0, 0, label.text, size=SIZE)
    extent = probe.get_window_extent()
    probe.remove()
    half = np.array([extent.width / 2 + SIDE * scale, extent.height / 2])
    points = np.array([axis.transData.transform(point) for point in label.points])  # p 2
    ways = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)  # a 2
    steps = ways[None] * (np.array(RADII)[:, None, None] * scale + half)  # r a 2
    steps = steps.reshape(-1, 2)  # ra 2
    centres = (points[:, None] + steps[None]).reshape(-1, 2)  # m 2
    index = np.repeat(np.arange(len(points)), len(steps))  # m
    boxes = np.concatenate([centres - half, centres + half], axis=1)  # m 4
    frame = axis.get_window_extent()
    low, high = np.array(frame.min), np.array(frame.max)
    inside = (boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1)
    boxes, index = boxes[inside], index[inside]
    starts = points[index]  # m 2
    ends = np.clip(starts, boxes[:, :2], boxes[:, 2:])  # m 2
    leaders = np.stack([starts, ends], axis=1)  # m 2 2
    length = np.hypot(*(ends - starts).T) / scale
    others = marks[(np.abs(marks[:, None] - points).max(axis=2) > 0.5).all(axis=1)]
    cost = (
        length
        + length**2 / 15
        + 4 * (len(points) - 1 - index)
        + 2.0 * _covered(boxes, busy, 1 * scale)
    )
    cost += HIDDEN * (_covered(boxes, marks, 2.6 * scale) > 0)
    kept = np.argsort(cost, kind="stable")[:KEPT]
    cost = cost[kept] + 12.0 * _passed(leaders[kept], others, 3 * scale)
    return Places(boxes[kept], leaders[kept], cost, index[kept])


def _settled(found: Sequence[Places], order: Sequence[int]) -> tuple[list[float], list[int]]:
    """Labels choose in turns, until none gains by a change. Returns: cost and place of each."""
    chosen: dict[int, int] = {}
    for _ in range(ROUNDS):
        before = dict(chosen)
        for i in order:
            chosen[i] = int(np.argmin(found[i].cost + _against(found, chosen, i)))
        if chosen == before:
            break
    costs = [float((found[i].cost + _against(found, chosen, i))[chosen[i]]) for i in chosen]
    return costs, [chosen[i] for i in range(len(found))]


def _against(found: Sequence[Places], chosen: dict[int, int], i: int) -> np.ndarray:
    """What each place of label i costs beside the places chosen for others so far."""
    rest = [j for j in chosen if j != i]
    mine, lines = found[i].boxes, found[i].leaders
    if not rest:
        return np.zeros(len(mine))
    boxes = np.stack([found[j].boxes[chosen[j]] for j in rest])  # n 4
    leaders = np.stack([found[j].leaders[chosen[j]] for j in rest])  # n 2 2
    right, left = mine[:, None, :2] - boxes[None, :, 2:], boxes[None, :, :2] - mine[:, None, 2:]
    apart = (right >= 1) | (left >= 1)
    cost = HIDDEN * (~apart.any(axis=2)).sum(axis=1)
    own = _along(lines).reshape(-1, 2)  # m*16 2
    inside = (own[:, None] > boxes[None, :, :2]) & (own[:, None] < boxes[None, :, 2:])
    cost += HIDDEN * inside.all(axis=2).reshape(len(mine), -1, len(rest)).any(axis=1).sum(axis=1)
    theirs = _along(leaders).reshape(-1, 2)  # n*16 2
    cost += HIDDEN * (_covered(mine, theirs, 0) > 0)
    return cost + 25.0 * _crossings(lines, leaders)


def _along(leaders: np.ndarray) -> np.ndarray:
    """Points along lines. leaders: m x 2 x 2. Returns: m x 16 x 2."""
    return leaders[:, :1] + ALONG * (leaders[:, 1:] - leaders[:, :1])


def _covered(boxes: np.ndarray, points: np.ndarray, pad: float) -> np.ndarray:
    """How many points lie in each box, widened by pad. Returns: m."""
    inside = (points >= boxes[:, None, :2] - pad) & (points <= boxes[:, None, 2:] + pad)
    return inside.all(axis=2).sum(axis=1)


def _passed(leaders: np.ndarray, points: np.ndarray, near: float) -> np.ndarray:
    """How many points each leader runs over. Returns: m."""
    if not len(points):
        return np.zeros(len(leaders))
    away = np.abs(_along(leaders)[:, :, None] - points).max(axis=3)  # m 16 n
    return (away < near).any(axis=1).sum(axis=1)


def _crossings(lines: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many of the other leaders each line crosses. Returns: m."""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        u, v = b - a, c - a
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0] > 0

    a, b = lines[:, None, 0], lines[:, None, 1]
    c, d = others[None, :, 0], others[None, :, 1]
    a, c = a + 0.2 * (b - a), c + 0.2 * (d - c)  # those from one point do not cross there
    cross = (side(a, b, c) != side(a, b, d)) & (side(c, d, a) != side(c, d, b))
    return cross.sum(axis=1)


def _marks(axis: Axes, arrows: Sequence[Label]) -> np.ndarray:
    """Pixels that no label may cover: centres of markers, and points along arrows. n x 2."""
    found = [np.empty((0, 2))]
    for line in axis.lines:
        if line.get_marker() not in ("None", "", " ", None):
            found.append(line.get_transform().transform(np.asarray(line.get_xydata(), float)))
    for arrow in arrows:
        start = axis.transData.transform(arrow.points[-1])
        found.append(start + np.array([[1.0, 0.0]]) * ALONG * ARROW * pixels(axis))
    marks = np.concatenate(found)
    return marks[np.isfinite(marks).all(axis=1)]
