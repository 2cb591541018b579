"""What the Pathfinder generator looks up: stamps of paddles and markers, turns, steps.

Angles are whole degrees for the first paddle of a snake; later ones point at a fixed set of pixels
around a pivot. So every paddle is one of a few hundred stamps, drawn here once, with Pillow.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tasks.lra.pathfinder_process import Process
from tasks.lra.pathfinder_stamps import along, disc, markers, stamps

DEGREES = 360
FREE = 76  # a mask value k counts as free where k / 255 <= 0.3


class Tables(NamedTuple):
    """For one margin. s: stamps, 360 whole degrees from -180 and then one for each candidate.

    lines, masks: s w w, uint8; a paddle and its surroundings, its start (of the first paddle) or
        its tip (of a later one) in the middle
    cells: n 2, what a first paddle must find free around its tail; direction d owns
        cells[cell_starts[d] : cell_starts[d + 1]]
    allowed: 360, directions in which a snake may begin
    tails: 360 4, where the first target may begin: rows y0..y1-1, columns x0..x1-1
    heads, pivots: 360 2, from tail to head, from head to pivot; second: 360 2, from tail to tail
    steps: s 2, from pivot to pivot; turns: s c, weight of candidate c after direction s
    candidates: c 2; disc: n 2
    """

    lines: np.ndarray
    masks: np.ndarray
    cells: np.ndarray
    cell_starts: np.ndarray
    allowed: np.ndarray
    tails: np.ndarray
    heads: np.ndarray
    pivots: np.ndarray
    second: np.ndarray
    steps: np.ndarray
    turns: np.ndarray
    candidates: np.ndarray
    disc: np.ndarray


class Paints(NamedTuple):
    """Values of the 256 levels, float64: free (1 - level), target, distractor, marker; ties: 256,
    whether level k and 459 - k, both as float32, reach 1.8; markers: y x w w, uint8, by place."""

    free: np.ndarray
    target: np.ndarray
    distractor: np.ndarray
    marker: np.ndarray
    ties: np.ndarray
    markers: np.ndarray


def check(p: Process) -> None:
    """Raises: ValueError where no snake has room to begin."""
    tails = np.concatenate([tables(p, margin).tails for margin in p.margins])
    tails = tails[tails[:, 1] > tails[:, 0]]
    if len(tails) == 0:
        raise ValueError(
            f"no snake can begin with size {p.size}, seed_mode {p.seed_mode!r}, seed_frame"
            f" {p.seed_frame}; give a smaller seed_frame, or seed_mode uniform"
        )
    # The second snake begins seed_distance from the first; nothing else keeps it in the image.
    room = min(tails[:, ::2].min(), p.size - tails[:, 1::2].max())
    if p.seed_distance > room:
        raise ValueError(f"seed_distance {p.seed_distance} leaves the image; give {room} at most")


@lru_cache(maxsize=4)
def tables(process: Process, margin: int) -> Tables:
    p, r = process, process.length + margin
    degrees = np.arange(-180, 180) * np.pi / 180
    candidates = _circle(r)  # c 2
    towards = np.arctan2(candidates[:, 0], candidates[:, 1])  # c
    directions = np.concatenate([degrees, towards])  # s
    backwards = np.where(towards < 0, towards + np.pi, towards - np.pi)
    lines, masks = stamps(p, margin, np.concatenate([degrees, backwards]))
    cells = [_cells(mask, r) for mask in masks[:DEGREES]]
    allowed = np.array([p.seed_mode == "uniform" or _surrounds(own) for own in cells])
    tails = np.array([_tails(p, own, ok) for own, ok in zip(cells, allowed)])
    turn = np.abs(directions[:, None] - towards)  # s c
    turn = np.minimum(np.minimum(turn, 2 * np.pi - turn) * p.continuity, np.pi / 2)
    turns = np.cos(turn) ** 2
    reverse = np.where(degrees + np.pi < np.pi, degrees + np.pi, degrees - np.pi)
    return Tables(
        lines=lines,
        masks=masks,
        cells=np.concatenate(cells),
        cell_starts=np.cumsum([0, *map(len, cells)]),
        allowed=allowed,
        tails=tails,
        heads=along(degrees, p.length),
        pivots=along(reverse, r),
        second=along(np.arange(DEGREES) * np.pi / 180, p.seed_distance),
        steps=along(directions, p.length + 2 * margin),
        turns=np.where(turns < 1e-20, 0, turns),
        candidates=candidates,
        disc=disc(margin),
    )


@lru_cache(maxsize=4)
def paints(process: Process) -> Paints:
    levels = np.arange(256) / 255
    single = levels.astype(np.float32).astype(float)  # masks are float32 in the original
    target = process.snake_contrast * process.paddle_contrast
    return Paints(
        free=1 - single,
        target=(levels * target).astype(np.float32).astype(float),
        distractor=(levels * process.snake_contrast).astype(np.float32).astype(float),
        marker=levels,
        ties=np.array([k > 203 and single[k] + single[459 - k] >= 1.8 for k in range(256)]),
        markers=markers(process),
    )


def _circle(radius: int) -> np.ndarray:
    """Pixels that the circle around a pivot passes, one per pixel of arc, ascending; c 2."""
    angles = np.arange(0, 360, 360 / (2 * radius * np.pi)) * np.pi / 180
    return np.unique(np.floor(along(angles, radius)).astype(np.int64), axis=0)


def _cells(mask: np.ndarray, reach: int) -> np.ndarray:
    """Where a first paddle's mask is full, from a point one pixel up-left of its tail; n 2.

    The pixel is a slip of the original, which draws the paddle beside the middle of its kernel.
    """
    offsets = np.argwhere(mask == 255) - (len(mask) - 1) // 2 + 1
    return offsets[(np.abs(offsets) <= reach).all(axis=1)]


def _surrounds(cells: np.ndarray) -> bool:
    """Whether cells lie in all four quadrants, axes included.

    Otherwise some corner pixel has none of its cells inside the image. OpenCV's dilation is then
    negative there, which the original takes for an image without any place.
    """
    signs = [(a, b) for a in (1, -1) for b in (1, -1)]
    return all((cells * sign >= 0).all(axis=1).any() for sign in signs)


def _tails(p: Process, cells: np.ndarray, allowed: bool) -> tuple[int, int, int, int]:
    """Tails whose cells all lie inside the frame: a rectangle y0, y1, x0, x1, ends excluded."""
    low = p.seed_frame - cells.min(axis=0)
    high = np.maximum(p.size - p.seed_frame - cells.max(axis=0), low)
    (y0, x0), (y1, x1) = low.tolist(), high.tolist()
    return (y0, y1, x0, x1) if allowed else (0, 0, 0, 0)
