"""Where tokens and states of a matrix state lie in memory; time may run backwards."""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)  # exp(x) = exp2(x LOG2E), and logs are so scaled here
LEAST = tl.constexpr(-20 * 1.4426950408889634)  # zoo.scan.chunks.least, scaled


@triton.jit
def rows(
    x, ib, ih, first, i, T, H: tl.constexpr, WIDTH: tl.constexpr, REVERSE: tl.constexpr
):  # fmt: skip
    """Pointers to the tokens first + i of batch ib and head ih in x: b T H WIDTH. H may be 1."""
    token = T - 1 - first if REVERSE else first
    base = (tl.cast(ib, tl.int64) * T + token) * H
    base = base if H == 1 else base + ih
    return x + base * WIDTH + (-i if REVERSE else i) * (H * WIDTH)


@triton.jit
def logs(
    fall, ib, ih, first, i, T, H: tl.constexpr, WIDTH: tl.constexpr, REVERSE: tl.constexpr,
    MOVES: tl.constexpr,
):  # fmt: skip
    """Pointers into fall: b T H WIDTH or, unless it MOVES, b 1 H WIDTH."""
    if MOVES:
        return rows(fall, ib, ih, first, i, T, H, WIDTH, REVERSE)
    return rows(fall, ib, ih, 0, i * 0, 1, H, WIDTH, False)


@triton.jit
def taken(
    x, ib, ih, first, T, cols, H: tl.constexpr, WIDTH: tl.constexpr, REVERSE: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """C tokens from `first` on of x: b T H WIDTH; zeros where there are no more. C cols."""
    i = tl.arange(0, C)
    at = rows(x, ib, ih, first, i, T, H, WIDTH, REVERSE)[:, None] + cols[None, :]
    return tl.load(at, mask=(first + i < T)[:, None] & (cols < WIDTH)[None, :], other=0.0)


@triton.jit
def put(
    x, tile, ib, ih, first, T, cols, H: tl.constexpr, WIDTH: tl.constexpr, REVERSE: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """Writes what `taken` reads. tile: C cols."""
    i = tl.arange(0, C)
    at = rows(x, ib, ih, first, i, T, H, WIDTH, REVERSE)[:, None] + cols[None, :]
    mask = (first + i < T)[:, None] & (cols < WIDTH)[None, :]
    tl.store(at, tile.to(x.dtype.element_ty), mask=mask)


@triton.jit
def falls(
    fall, ib, ih, first, T, cols, H: tl.constexpr, WIDTH: tl.constexpr, REVERSE: tl.constexpr,
    MOVES: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Scaled logs of alpha, at least LEAST: C cols. fall: -log alpha, as for `logs`."""
    i = tl.arange(0, C)
    at = logs(fall, ib, ih, first, i, T, H, WIDTH, REVERSE, MOVES)[:, None] + cols[None, :]
    mask = (first + i < T)[:, None] & (cols < WIDTH)[None, :]
    return tl.maximum(tl.load(at, mask=mask, other=0.0) * -LOG2E, LEAST)


@triton.jit
def state_of(S, chunk, k, v, DK: tl.constexpr, DV: tl.constexpr):
    """Channels k and values v of the state of a chunk and head. S: b n h k v, DK DV each."""
    at = S + chunk * (DK * DV) + k[:, None] * DV + v[None, :]
    return tl.load(at, mask=(k < DK)[:, None] & (v < DV)[None, :], other=0.0)
