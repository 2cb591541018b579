"""Paddles and markers as pixels, compiled."""

from __future__ import annotations

from math import floor

from tasks.lra.pathfinder_stream import inner


@inner
def paint(t, paints, contour, paddles, canvas):
    canvas[:] = 0
    half = t.lines.shape[1] // 2
    size = len(canvas)
    for k in range(len(paddles)):
        y, x, line = paddles[k, 0], paddles[k, 1], t.lines[paddles[k, 2]]
        values = paints.target if paddles[k, 3] < 2 else paints.distractor
        for a in range(max(y - half, 0), min(y + half + 1, size)):
            for b in range(max(x - half, 0), min(x + half + 1, size)):
                canvas[a, b] = max(canvas[a, b], values[line[a - y + half, b - x + half]])


@inner
def paint_marker(paints, y, x, canvas):
    size, far = len(canvas), len(paints.markers) // 2
    row = min(y, far) if y < size - far else y - size + 2 * far + 1
    column = min(x, far) if x < size - far else x - size + 2 * far + 1
    stamp = paints.markers[row, column]
    half = len(stamp) // 2
    for a in range(max(y - half, 0), min(y + half + 1, size)):
        for b in range(max(x - half, 0), min(x + half + 1, size)):
            canvas[a, b] = max(canvas[a, b], paints.marker[stamp[a - y + half, b - x + half]])


@inner
def stretch(canvas, image):
    """The smallest value becomes 0, the largest 255; halves are rounded up."""
    low, high = canvas[0, 0], canvas[0, 0]
    for a in range(len(canvas)):
        for b in range(len(canvas)):
            low, high = min(low, canvas[a, b]), max(high, canvas[a, b])
    scale = 255.0 / (high - low)
    for a in range(len(canvas)):
        for b in range(len(canvas)):
            image[a, b] = floor(min((canvas[a, b] - low) * scale, 255.0) + 0.5)
