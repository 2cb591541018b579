"""Tiles of h_t = alpha_t h_{t-1} + k_t v_t: where they lie, what they hold, what enters them.

A tile is G groups of S consecutive tokens: warps run along groups, lanes along channels, and a
program walks over the tokens of all its groups at once, so that what it holds are G C numbers (the
d_v values of every head side by side, d_v padded to a power of two) or G H (one for a head). A
token is an update and then a read; where o reads "before", its read is one ahead of its update, and
there is one update more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from zoo.kernels.launch import LOG2E

EXPONENT = tl.constexpr(LOG2E)
FLOOR = tl.constexpr(-50.0)  # of log alpha: zoo.scan.chunks.faintest(float32, 1)


class Form(NamedTuple):
    """What a kernel is compiled for.

    tokens, groups: S and G. heads: of a tile, H. d_v and values: without and with padding. lane:
    channels side by side in a thread. stages: tiles being loaded or worked on. lag: 1 where o reads
    before the update. back: groups and tokens go from the last to the first. one_: all heads have
    the same q or k. static_: all tokens have.
    """

    tokens: Any  # numbers and flags; inside a kernel Triton may have wrapped them
    groups: Any
    heads: Any
    d_v: Any
    values: Any
    lane: Any
    stages: Any
    lag: Any
    reverse: Any
    back: Any
    one_q: Any
    static_q: Any
    one_k: Any
    static_k: Any


# The annotation of a Form in a kernel: Triton goes by this name, type checkers by the type.
constexpr = Form


@triton.jit
def channels(h, FORM: constexpr):
    """This program's batch, its heads (H), their channels (C), and which of both exist."""
    blocks = tl.cdiv(h, FORM.heads)
    block, b = tl.program_id(0) % blocks, tl.cast(tl.program_id(0) // blocks, tl.int64)
    # Without a hint a thread gets 16 bytes side by side: each dtype would have a layout of its own,
    # and groups of tokens would spread over lanes.
    LANE: tl.constexpr = FORM.lane
    HEADS: tl.constexpr = LANE // FORM.values if FORM.values < LANE else 1
    C: tl.constexpr = FORM.heads * FORM.values
    head = block * FORM.heads + tl.max_contiguous(tl.arange(0, FORM.heads), HEADS)
    i = block * C + tl.max_contiguous(tl.arange(0, C), LANE)
    within = i < h * FORM.values
    if FORM.d_v < FORM.values:
        within = within & (i % FORM.values < FORM.d_v)
        i = i // FORM.values * FORM.d_v + i % FORM.values
    return b, head, head < h, i, within


@triton.jit
def rows(n, s, lag, T, FORM: constexpr):
    """Token s of every group of tile n: where it is for group 0, how far off it is for the others,
    and which exist. lag: of updates behind reads, or 0."""
    row = tl.arange(0, FORM.groups)[:, None]
    if FORM.back:
        row = FORM.groups - 1 - row
    row = row * FORM.tokens
    first = n * (FORM.tokens * FORM.groups) + s - lag
    exists = (first + row >= 0) & (first + row < T)
    if FORM.reverse:
        first, row = T - 1 - first, -row
    return tl.cast(first, tl.int64), row, exists


@triton.jit
def read(x, stride, first, row, exists, column, within):
    """One token of each group, G C or G H: 0 where there is no token or channel."""
    at = x + first * stride + (row * stride + column[None, :])
    return tl.load(at, mask=exists & within[None, :], other=0.0).to(tl.float32)


@triton.jit
def write(x, stride, first, row, exists, column, within, y):
    at = x + first * stride + (row * stride + column[None, :])
    tl.store(at, y.to(x.dtype.element_ty), mask=exists & within[None, :])


@triton.jit
def of_batch(x, stride, b, head, inside, ONE: tl.constexpr, STATIC: tl.constexpr):
    """x at batch b: a pointer, or the numbers (H) where no token changes them."""
    x += b * stride
    if STATIC:
        x = tl.load(x + head * (0 if ONE else 1), mask=inside, other=0.0).to(tl.float32)
    return x


@triton.jit
def factor(
    x, stride, first, row, exists, head, inside, ONE: tl.constexpr, STATIC: tl.constexpr
):  # fmt: skip
    """q or k, as of_batch() gave it, for one token of each group: G H, or 1 H if static."""
    if STATIC:
        return x[None, :]
    else:
        return read(x, stride, first, row, exists, head * (0 if ONE else 1), inside)


@triton.jit
def decays(step, stride, rate, first, row, exists, head, inside):
    """step (1 where the decay has none), log alpha and alpha, G H: 0, 0 and 1 at no token."""
    if step is None:
        steps = tl.where(exists & inside[None, :], 1.0, 0.0)
    else:
        steps = read(step, stride, first, row, exists, head, inside)
    if rate is not None:
        log = -steps * rate[None, :]
    else:
        log = steps * 0.0 if step is None else -steps
    log = tl.maximum(log, FLOOR)
    return steps, log, tl.exp2(log * EXPONENT)


@triton.jit
def one_minus(log, alpha):
    """1 - alpha; near alpha = 1, where that cancels, the series of -expm1(log)."""
    more = log / 2 * (1 + log / 3 * (1 + log / 4 * (1 + log / 5 * (1 + log / 6))))
    return tl.where(log > -0.25, -log * (1 + more), 1 - alpha)


@triton.jit
def update(
    k, k_t, v, v_t, step, step_t, rate, n, s, T, head, inside, column, within, FORM: constexpr
):  # fmt: skip
    """Of token s of each group: step, alpha and k (G H, or k 1 H), and v (G C)."""
    first, row, exists = rows(n, s, FORM.lag, T, FORM)  # pyright: ignore[reportGeneralTypeIssues]
    steps, log, alpha = decays(step, step_t, rate, first, row, exists, head, inside)
    if k is None:
        key = one_minus(log, alpha)
    else:
        key = factor(k, k_t, first, row, exists, head, inside, FORM.one_k, FORM.static_k)
    return steps, alpha, key, read(v, v_t, first, row, exists, column, within)


@triton.jit
def spread(x, VALUES: tl.constexpr):
    """G H -> G C: the same for every value of a head."""
    if VALUES > 1:
        x = tl.broadcast_to(x[:, :, None], (x.shape[0], x.shape[1], VALUES))
        x = tl.reshape(x, (x.shape[0], x.shape[1] * VALUES))
    return x


@triton.jit
def per_head(x, VALUES: tl.constexpr):
    """G C -> G H: the sum over the values of a head."""
    if VALUES > 1:
        x = tl.sum(tl.reshape(x, (x.shape[0], x.shape[1] // VALUES, VALUES)), 2)
    return x


@triton.jit
def pair(a, h, a_next, h_next):
    """Two stretches of time in a row: what they multiply a state by, and what they add."""
    return a * a_next, a_next * h + h_next


@triton.jit
def quad(a, h, b, f, a_next, h_next, b_next, f_next):
    """The same, and (b, f) for all but the last element of the second stretch."""
    return a * a_next, a_next * h + h_next, b_next * a, b_next * h + f_next


@triton.jit
def enter(A, H, carry):
    """Lets `carry` (C) enter a tile of which each group is known alone.

    A, H: G C, what a group multiplies a state by, and what it adds. Returns: what enters each group
    (G C), what leaves the tile (C), and what the tile multiplies by (C).
    """
    g = tl.arange(0, A.shape[0])[:, None]
    last = g == A.shape[0] - 1
    H += tl.where(g == 0, A * carry[None, :], 0.0)
    F = tl.where(g == 0, carry[None, :], tl.zeros_like(H))
    A, H, _, F = tl.associative_scan((A, H, tl.full(H.shape, 1.0, tl.float32), F), 0, quad)
    return F, tl.sum(tl.where(last, H, 0.0), 0), tl.sum(tl.where(last, A, 0.0), 0)
