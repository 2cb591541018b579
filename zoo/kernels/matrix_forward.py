"""The forward pass of a matrix state: o = q exp(G) S + A v, from chunks and the states between."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import ceil_div
from zoo.kernels.matrix_chunks import chunks
from zoo.kernels.matrix_chunks import options as of_chunks
from zoo.kernels.matrix_plan import Shape, levels, listed
from zoo.kernels.matrix_rows import put, state_of, taken
from zoo.kernels.matrix_states import run_states


@triton.jit
def outputs(
    near, S, A, v, o, T, N, NH: tl.constexpr, H: tl.constexpr, DK: tl.constexpr, DV: tl.constexpr,
    REVERSE: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One program per block of d_v, chunk and head.

    near: b T NH k; S: b n h k v, ahead of each chunk; A: b n h c c; v, o: b T h v.
    """
    VS: tl.constexpr = (DV + BV - 1) // BV
    other = tl.program_id(0) // VS
    n, ih, ib = other % N, other // N % H, other // N // H
    i, first, chunk = tl.arange(0, C), n * C, tl.cast(ib * N + n, tl.int64) * H + ih
    values = tl.program_id(0) % VS * BV + tl.arange(0, BV)
    tile = tl.load(A + chunk * (C * C) + i[:, None] * C + i[None, :])
    y = taken(v, ib, ih, first, T, values, H, DV, REVERSE, C)
    out = tl.dot(tile, y, input_precision=PRECISION)
    for channel in range(0, DK, BK):
        cols = channel + tl.arange(0, BK)
        x = taken(near, ib, ih, first, T, cols, NH, DK, REVERSE, C)
        state = state_of(S, chunk, cols, values, DK, DV)
        out = tl.dot(x, state, out, input_precision=PRECISION)
    put(o, out, ib, ih, first, T, values, H, DV, REVERSE, C)


def forward(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    fall: Tensor | None,
    state: Tensor | None,
    *,
    reverse: bool,
    before: bool,
) -> tuple[Tensor, ...]:
    """q: b t (h or 1) k; k likewise, or None (tied); v: b t h v; fall: -log alpha, (b or 1) (t or
    1) h (k or 1), or None; state: b h k v. All contiguous; q, k and v of one dtype.

    Returns: o, the last state, and for the backward pass A, S and, with a decay, near, late, whole.
    """
    shape = Shape.of(q, k, v, fall, reverse, before)
    (b, t, h, d_v), n, c, d_k = v.shape, shape.n, shape.c, shape.d_k
    wide = v.dtype == torch.float32
    A, near, late, whole = v.new_empty(b, n, h, c, c), q, k, None
    if fall is not None:
        near, late = v.new_empty(b, t, h, d_k), v.new_empty(b, t, h, d_k)
        whole = fall.new_empty(b, n, h, shape.decays)
    assert late is not None
    masks = levels(c, v.dtype, v.device) if shape.kind == "channel" else None
    to = (None, None) if whole is None else (near, late)
    constants = of_chunks(shape, wide)
    chunks[(b * h * n,)](q, k, fall, masks, A, to[0], to[1], whole, t, n, **constants)
    S, last = run_states(late, v, whole, state, shape, backwards=False)
    o, constants = torch.empty_like(v), options(shape, wide, near.shape[2])
    grid = (ceil_div(d_v, constants["BV"]) * b * h * n,)
    outputs[grid](near, S, A, v, o, t, n, **constants)
    return (o, last, A, S) if whole is None else (o, last, A, S, near, late, whole)


def options(shape: Shape, wide: bool, heads: int) -> dict[str, Any]:
    """wide: in float32; heads: of near."""
    return shape.constants(outputs, NH=heads, **shape.blocks(*((32, 64) if wide else (64, 128))))


def compilations() -> list[Compilation]:
    shape = Shape(2048, 4, 128, 256, "channel")
    return [listed("outputs", outputs, shape, "bf16", **options(shape, False, 4))]
