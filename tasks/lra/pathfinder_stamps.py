"""Paddles and markers as small pictures, drawn large with Pillow and shrunk."""

from __future__ import annotations

from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from tasks.lra.pathfinder_process import Process


def stamps(p: Process, margin: int, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A paddle from the middle along each angle, and the same with all within `margin`; s w w."""
    half = p.length + ceil(p.thickness) + margin
    middle = half * p.scale
    ends = np.ceil(middle + along(angles, p.length * p.scale)).astype(int)  # s 2
    fine = [_line(middle, y, x, round(p.thickness * p.scale)) for y, x in ends.tolist()]
    around = _dilated(np.stack(fine), margin * p.scale)
    width = 2 * half + 1
    lines = np.stack([_shrunk(image, width) for image in fine])
    return lines, np.stack([_shrunk(image, width) for image in around])


def markers(p: Process) -> np.ndarray:
    """Markers by place: the shrinking sees the image's edges, so near them no two are alike.

    Row y has place y up to `far`, and counts on from far + 1 in the last `far` rows; all rows
    between have place `far`. Likewise columns. Returns: 2 * far + 1 places, twice; w w.
    """
    half = ceil(p.marker_radius) + 3
    far = min(half + 3, p.size // 2)
    places = [*range(far + 1), *range(p.size - far, p.size)]
    grid, out = np.arange(p.size * p.scale), []
    for y in places:
        for x in places:
            distance = (grid[:, None] - y * p.scale) ** 2 + (grid - x * p.scale) ** 2
            fine = np.where(distance <= (p.marker_radius * p.scale) ** 2, 255, 0).astype(np.uint8)
            small = np.pad(_shrunk(fine, p.size), half)
            out.append(small[y : y + 2 * half + 1, x : x + 2 * half + 1])
    return np.stack(out).reshape(len(places), len(places), 2 * half + 1, 2 * half + 1)


def along(angles: np.ndarray, distance: float) -> np.ndarray:
    return np.stack([distance * np.sin(angles), distance * np.cos(angles)], axis=1)


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.argwhere(y**2 + x**2 <= radius**2) - radius


def _line(middle: int, y: int, x: int, width: int) -> np.ndarray:
    image = Image.new("L", (2 * middle + 1, 2 * middle + 1), 0)
    ImageDraw.Draw(image).line([(middle, middle), (x, y)], fill=255, width=width)
    return np.array(image)


def _shrunk(image: np.ndarray, width: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((width, width), Image.Resampling.LANCZOS))


def _dilated(images: np.ndarray, radius: int) -> np.ndarray:
    wide = np.pad(images, ((0, 0), (radius, radius), (radius, radius)))
    out, (rows, columns) = np.zeros_like(images), images.shape[1:]
    for y, x in disc(radius) + radius:
        np.maximum(out, wide[:, y : y + rows, x : x + columns], out=out)
    return out
