"""The Pathfinder process, compiled: two long snakes, short ones around them, two markers.

Written after the process of drewlinsley/pathfinder, snakes2.py and snakes.py at ab9c130: draw for
draw the same decisions, so that one stream of random numbers gives the same images. Masks are the
levels 0..255 of the original's fractions. Needs numba; import this module where images are drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from tasks.lra.pathfinder_paint import paint, paint_marker, stretch
from tasks.lra.pathfinder_snakes import (
    DEAD_END,
    DONE,
    STAMP,
    TAIL_X,
    TAIL_Y,
    X,
    Y,
    extend,
    merge,
    seed_anywhere,
    seed_first,
    seed_second,
)
from tasks.lra.pathfinder_stream import below, inner, start


class Numbers(NamedTuple):
    """Process, as integers; outside: 1 where the surroundings of a paddle must be in the image."""

    margins: int
    reach: int
    size: int
    padding: int
    contour: int
    distractors: int
    distractor_length: int
    retrials: int
    distractor_retrials: int
    apart: bool
    outside: int


@njit(nogil=True, error_model="numpy")
def draw_images(key, first, tables, paints, numbers, out):
    """Images first, first + 1, ... of the stream `key`, into the arrays of pathfinder.Images."""
    images, labels, counts, markers, paddles = out
    size = numbers.size
    state = np.zeros(1, np.uint64)
    mask = np.zeros((size, size), np.uint8)
    canvas = np.zeros((size, size))
    snakes = np.zeros((2, 7), np.int64)
    for i in range(len(images)):
        start(state, key, np.uint64(first + i))
        labels[i] = below(state, 2)
        margin = below(state, numbers.margins)
        t = tables[margin]
        counts[i, 0] = margin
        targets(state, t, paints, numbers, mask, snakes, counts[i], paddles[i])
        crowd(state, t, paints, numbers, mask, counts[i], paddles[i])
        mark(state, t, labels[i], snakes, markers[i])
        paint(t, paints, numbers.contour, paddles[i, : counts[i, 7]], canvas)
        for j in range(2):
            paint_marker(paints, markers[i, j, 0], markers[i, j, 1], canvas)
        stretch(canvas, images[i])


@inner
def targets(state, t, paints, numbers, mask, snakes, counts, paddles):
    """Two snakes of `contour` paddles, drawn alternately; all over again where one fails."""
    while True:
        counts[1] += 1
        mask[:] = 255
        inside = numbers.size - numbers.padding
        mask[numbers.padding : inside, numbers.padding : inside] = 0
        if not seed_first(state, t, numbers, snakes[0]):
            continue
        counts[2] += 1
        if not seed_second(state, t, numbers, snakes[0], snakes[1]):
            continue
        outcome = DONE
        for owner in range(2):
            note(paddles, owner, snakes[owner], owner)
        for k in range(2, 2 * numbers.contour):
            outcome = extend(state, t, paints, numbers, mask, snakes[k % 2])
            if outcome != DONE:
                counts[2 + outcome] += 1
                break
            note(paddles, k, snakes[k % 2], k % 2)
        if outcome == DONE and not (numbers.apart and touch(t, paddles, 2 * numbers.contour, mask)):
            break
    # The last paddle of the first snake stays out of the mask, as published.
    merge(mask, t.masks[snakes[1, STAMP]], snakes[1, Y], snakes[1, X])
    counts[7] = 2 * numbers.contour


@inner
def touch(t, paddles, count, mask):
    """Whether the surroundings of the two snakes overlap."""
    own = np.zeros((2, len(mask), len(mask)), np.uint8)
    for k in range(count):
        merge(own[paddles[k, 3]], t.masks[paddles[k, 2]], paddles[k, 0], paddles[k, 1])
    for y in range(len(mask)):
        for x in range(len(mask)):
            if min(own[0, y, x], own[1, y, x]) > 127:
                return True
    return False


@inner
def crowd(state, t, paints, numbers, mask, counts, paddles):
    """Distractors, as many as there is room for; each has a few attempts."""
    snake = np.zeros(7, np.int64)
    before = np.zeros((numbers.size, numbers.size), np.uint8)
    reach, size = numbers.reach, numbers.size
    wide = np.full((size + 2 * reach, size + 2 * reach), numbers.outside, np.uint8)
    taken = np.zeros((size, size), np.uint8)
    for owner in range(2, 2 + numbers.distractors):
        for _ in range(numbers.distractor_retrials + 1):
            copy(mask, before)
            used = counts[7]
            outcome = DEAD_END
            if seed_anywhere(state, t, numbers, mask, wide, taken, snake):
                note(paddles, used, snake, owner)
                outcome = DONE
                for k in range(1, numbers.distractor_length):
                    outcome = extend(state, t, paints, numbers, mask, snake)
                    if outcome != DONE:
                        counts[4 + outcome] += 1
                        break
                    note(paddles, used + k, snake, owner)
            if outcome == DONE:
                merge(mask, t.masks[snake[STAMP]], snake[Y], snake[X])
                counts[7] = used + numbers.distractor_length
                counts[8] += 1
                break
            copy(before, mask)


@inner
def copy(source, target):
    for y in range(len(source)):
        for x in range(len(source)):
            target[y, x] = source[y, x]


@inner
def note(paddles, k, snake, owner):
    paddles[k, 0], paddles[k, 1] = snake[Y], snake[X]
    paddles[k, 2], paddles[k, 3] = snake[STAMP], owner


@inner
def mark(state, t, label, snakes, markers):
    """The first tail of one snake and the last tip, of the same snake where the label is 1."""
    a = below(state, 2)
    b = a if label == 1 else 1 - a
    markers[0, 0], markers[0, 1] = snakes[a, TAIL_Y], snakes[a, TAIL_X]
    markers[1, 0], markers[1, 1] = snakes[b, Y], snakes[b, X]
