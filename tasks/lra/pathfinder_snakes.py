"""How a snake begins and goes on, compiled.

A snake is a row of integers: where its next paddle turns, its newest paddle, whose stamp says the
direction and whose mask is not yet in the common one, and its first tail.
"""

from __future__ import annotations

from math import ceil

import numpy as np

from tasks.lra.pathfinder_stream import below, inner, uniform
from tasks.lra.pathfinder_tables import DEGREES, FREE

PIVOT_Y, PIVOT_X, STAMP, Y, X, TAIL_Y, TAIL_X = range(7)
DONE, DEAD_END, CROSSING = range(3)
LIMIT = 459  # levels that sum to less are accepted: below 1.8 as fractions


@inner
def seed_first(state, t, numbers, snake):
    for _ in range(numbers.retrials + 1):
        d = below(state, DEGREES)
        y0, y1, x0, x1 = t.tails[d]
        places = (y1 - y0) * (x1 - x0)
        if places == 0:
            return False
        place = below(state, places)
        if begin(t, numbers, snake, d, y0 + place // (x1 - x0), x0 + place % (x1 - x0)):
            return True
    return False


@inner
def seed_second(state, t, numbers, first, snake):
    """Anywhere at a distance from the first tail; nothing is kept free, as published."""
    for _ in range(numbers.retrials + 1):
        d = below(state, DEGREES)
        y, x = t.second[below(state, DEGREES)]
        tail_y, tail_x = int(np.rint(first[TAIL_Y] + y)), int(np.rint(first[TAIL_X] + x))
        if begin(t, numbers, snake, d, tail_y, tail_x):
            return True
    return False


@inner
def seed_anywhere(state, t, numbers, mask, wide, taken, snake):
    """Where the first paddle of a distractor finds all its cells free."""
    size = numbers.size
    reach = (len(wide) - size) // 2
    busy = 0
    for y in range(size):
        for x in range(size):
            wide[reach + y, reach + x] = mask[y, x] > FREE
            busy += int(mask[y, x] > FREE)
    for _ in range(numbers.retrials + 1):
        d = below(state, DEGREES)
        if not t.allowed[d] or size * size - busy < 0.01 * size * size:
            return False
        taken[:] = 0
        for cell in range(t.cell_starts[d], t.cell_starts[d + 1]):
            dy, dx = reach + t.cells[cell, 0], reach + t.cells[cell, 1]
            for y in range(size):
                for x in range(size):
                    taken[y, x] |= wide[y + dy, x + dx]
        places = size * size - count(taken)
        if places == 0:
            return False
        y, x = nth_free(taken, below(state, places))
        if begin(t, numbers, snake, d, y, x):
            return True
    return False


@inner
def count(taken):
    total = 0
    for y in range(len(taken)):
        for x in range(len(taken)):
            total += int(taken[y, x])
    return total


@inner
def nth_free(taken, n):
    for y in range(len(taken)):
        for x in range(len(taken)):
            if not taken[y, x]:
                if n == 0:
                    return y, x
                n -= 1
    return -1, -1


@inner
def begin(t, numbers, snake, d, y, x):
    """Puts the first paddle of a snake; refused where its head or pivot leaves the image."""
    head_y, head_x = ceil(y + t.heads[d, 0]), ceil(x + t.heads[d, 1])
    pivot_y, pivot_x = ceil(head_y + t.pivots[d, 0]), ceil(head_x + t.pivots[d, 1])
    if min(head_y, head_x, pivot_y, pivot_x) < 0:
        return False
    if max(head_y, head_x, pivot_y, pivot_x) >= numbers.size:
        return False
    turn_to(snake, pivot_y, pivot_x, d, y, x)
    snake[TAIL_Y], snake[TAIL_X] = y, x
    return True


@inner
def turn_to(snake, pivot_y, pivot_x, d, y, x):
    snake[PIVOT_Y], snake[PIVOT_X], snake[STAMP] = pivot_y, pivot_x, d
    snake[Y], snake[X] = y, x


@inner
def extend(state, t, paints, numbers, mask, snake):
    """One more paddle, towards a free pixel around the next pivot, rather straight on."""
    d = snake[STAMP]
    pivot_y = ceil(snake[PIVOT_Y] + t.steps[d, 0])
    pivot_x = ceil(snake[PIVOT_X] + t.steps[d, 1])
    weights = np.zeros(len(t.candidates))
    total = 0.0
    for c in range(len(weights)):
        y, x = pivot_y + t.candidates[c, 0], pivot_x + t.candidates[c, 1]
        if t.turns[d, c] > 0 and 0 <= y < numbers.size and 0 <= x < numbers.size:
            weights[c] = t.turns[d, c] * paints.free[highest(mask, t.disc, y, x)]
            total += weights[c]
    if total < 1e-4:
        return DEAD_END
    for _ in range(numbers.retrials + 1):
        c = choice(weights, total * uniform(state))
        y, x = pivot_y + t.candidates[c, 0], pivot_x + t.candidates[c, 1]
        if fits(mask, t.masks[DEGREES + c], paints.ties, y, x):
            merge(mask, t.masks[snake[STAMP]], snake[Y], snake[X])
            turn_to(snake, pivot_y, pivot_x, DEGREES + c, y, x)
            return DONE
    return CROSSING


@inner
def choice(weights, threshold):
    last, total = 0, 0.0
    for c in range(len(weights)):
        if weights[c] > 0:
            last = c
            total += weights[c]
            if total > threshold:
                break
    return last


@inner
def highest(mask, disc, y, x):
    top = 0
    for k in range(len(disc)):
        a, b = y + disc[k, 0], x + disc[k, 1]
        if 0 <= a < len(mask) and 0 <= b < len(mask):
            top = max(top, mask[a, b])
    return top


@inner
def fits(mask, stamp, ties, y, x):
    half = len(stamp) // 2
    for a in range(max(y - half, 0), min(y + half + 1, len(mask))):
        for b in range(max(x - half, 0), min(x + half + 1, len(mask))):
            old = np.int64(mask[a, b])
            both = old + stamp[a - y + half, b - x + half]
            if both > LIMIT or (both == LIMIT and ties[old]):
                return False
    return True


@inner
def merge(mask, stamp, y, x):
    half = len(stamp) // 2
    for a in range(max(y - half, 0), min(y + half + 1, len(mask))):
        for b in range(max(x - half, 0), min(x + half + 1, len(mask))):
            mask[a, b] = max(mask[a, b], stamp[a - y + half, b - x + half])
