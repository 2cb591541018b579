"""The states between chunks, S_n = exp(G_c) S_{n-1} + late_n^T v_n, and their gradients, which are
the same sum from the other end. Long sequences of few heads are cut into segments of time."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import ceil_div
from zoo.kernels.matrix_plan import Shape, listed, segments_of
from zoo.kernels.matrix_rows import rows, taken

BLOCK = 1024  # numbers of a state that one program of `starts` holds


@triton.jit
def states(
    x, y, whole, start, S, end, total, T, N, SEGMENTS, LENGTH,
    XH: tl.constexpr, H: tl.constexpr, DK: tl.constexpr, DV: tl.constexpr, DECAYS: tl.constexpr,
    REVERSE: tl.constexpr, BACKWARDS: tl.constexpr, C: tl.constexpr, BK: tl.constexpr,
    BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program per block of d_k, block of d_v, segment of LENGTH chunks, and head.

    x: b T XH k; y: b T h v; whole: b n h DECAYS (0: alpha = 1); start: b segments h k v or none;
    BACKWARDS: from the last chunk to the first. Writes S, the state ahead of each chunk in that
    order: b n h k v, and end: b h k v. Or S is none: then ends of all segments, b segments h k v,
    and total, the products of their wholes: b segments h DECAYS.
    """
    VS: tl.constexpr = (DV + BV - 1) // BV
    KS: tl.constexpr = (DK + BK - 1) // BK
    pid, other = tl.program_id(0) % (VS * KS), tl.program_id(0) // (VS * KS)
    part, ih, ib = other % SEGMENTS, other // SEGMENTS % H, other // SEGMENTS // H
    k, cols = (pid // VS * BK + tl.arange(0, BK))[:, None], pid % VS * BV + tl.arange(0, BV)
    i, here, at = tl.arange(0, C), (k < DK) & (cols < DV)[None, :], k * DV + cols[None, :]
    # One decay per head serves all rows.
    row, decays = (k, k < DK) if DECAYS > 1 else (k * 0, k < DK)
    segment = tl.cast(ib * SEGMENTS + part, tl.int64) * H + ih
    tile, product = tl.zeros((BK, BV), tl.float32), tl.full((BK, 1), 1.0, tl.float32)
    if start is not None:
        tile += tl.load(start + segment * (DK * DV) + at, mask=here, other=0.0)
    for step in range(part * LENGTH, tl.minimum(part * LENGTH + LENGTH, N)):
        n = N - 1 - step if BACKWARDS else step
        chunk = tl.cast(ib * N + n, tl.int64) * H + ih
        if S is not None:
            tl.store(S + chunk * (DK * DV) + at, tile.to(S.dtype.element_ty), mask=here)
        a = rows(x, ib, ih, n * C, i, T, XH, DK, REVERSE)[None, :] + k
        a = tl.load(a, mask=(n * C + i < T)[None, :] & (k < DK), other=0.0)
        b = taken(y, ib, ih, n * C, T, cols, H, DV, REVERSE, C)
        if DECAYS > 0:
            over = tl.load(whole + chunk * DECAYS + row, mask=decays, other=0.0)
            tile, product = tile * over, product * over
        tile = tl.dot(a, b, tile, input_precision=PRECISION)
    if S is None:
        tl.store(end + segment * (DK * DV) + at, tile, mask=here)
        if DECAYS > 0:
            tl.store(total + segment * DECAYS + row, product, mask=decays)
    elif part == SEGMENTS - 1:
        tl.store(end + (tl.cast(ib, tl.int64) * H + ih) * (DK * DV) + at, tile, mask=here)


@triton.jit
def starts(
    end, total, start, to, SEGMENTS, H: tl.constexpr, DK: tl.constexpr, DV: tl.constexpr,
    DECAYS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The state ahead of each segment, b segments h k v, into `to`, from what `states` found
    without it. start: b h k v or none. One program per BLOCK numbers of a state and head."""
    BLOCKS: tl.constexpr = (DK * DV + BLOCK - 1) // BLOCK
    at = tl.program_id(0) % BLOCKS * BLOCK + tl.arange(0, BLOCK)
    ih, ib = tl.program_id(0) // BLOCKS % H, tl.program_id(0) // BLOCKS // H
    here = at < DK * DV
    tile = tl.zeros((BLOCK,), tl.float32)
    if start is not None:
        head = (tl.cast(ib, tl.int64) * H + ih) * (DK * DV)
        tile += tl.load(start + head + at, mask=here, other=0.0)
    for part in range(SEGMENTS):
        segment = tl.cast(ib * SEGMENTS + part, tl.int64) * H + ih
        tl.store(to + segment * (DK * DV) + at, tile, mask=here)
        if DECAYS > 0:
            over = total + segment * DECAYS + (at // DV if DECAYS > 1 else at * 0)
            tile *= tl.load(over, mask=here, other=0.0)
        tile += tl.load(end + segment * (DK * DV) + at, mask=here, other=0.0)


def run_states(
    x: Tensor, y: Tensor, whole: Tensor | None, start: Tensor | None, shape: Shape, backwards: bool
) -> tuple[Tensor, Tensor]:
    """x: b t (h or 1) k; y: b t h v; start: b h k v. Returns: the states ahead of each chunk in the
    order of the sum, b n h k v in the dtype of x, and the last, b h k v in float32."""
    b, n, h, d_k, d_v = y.shape[0], shape.n, shape.h, shape.d_k, shape.d_v
    constants = options(shape, x.dtype == torch.float32, x.shape[2], backwards)
    programs = ceil_div(d_k, constants["BK"]) * ceil_div(d_v, constants["BV"]) * b * h
    segments, length = segments_of(y, programs, n)
    S = x.new_empty(b, n, h, d_k, d_v)
    last = S.new_empty(b, h, d_k, d_v, dtype=torch.float32)
    grid, numbers = (programs * segments,), (shape.t, n, segments, length)
    if segments > 1:
        ends = last.new_empty(b, segments, h, d_k, d_v)
        totals, ahead = last.new_empty(b, segments, h, shape.decays), torch.empty_like(ends)
        states[grid](x, y, whole, None, None, ends, totals, *numbers, **constants)
        joined = shape.constants(starts, BLOCK=BLOCK)
        starts[(ceil_div(d_k * d_v, BLOCK) * b * h,)](
            ends, totals, start, ahead, segments, **joined
        )
        start = ahead
    states[grid](x, y, whole, start, S, last, None, *numbers, **constants)
    return S, last


def options(shape: Shape, wide: bool, heads: int, backwards: bool) -> dict[str, Any]:
    """wide: in float32; heads: of the first factor."""
    blocks = shape.blocks(32, 64) if wide else shape.blocks(64, 64, stages=3)
    return shape.constants(states, XH=heads, BACKWARDS=backwards, **blocks)


def compilations() -> list[Compilation]:
    shape = Shape(2048, 4, 128, 256, "channel")
    first: dict[str, Any] = {"start": None, "S": None} | options(shape, False, 4, True)
    later: dict[str, Any] = {"total": None} | options(shape, True, 4, False)
    return [
        listed("states of segments", states, shape, "bf16", **first),
        listed("states", states, shape, "fp32", **later),
        listed("starts", starts, shape, "fp32", BLOCK=BLOCK, num_warps=4, num_stages=2),
    ]
