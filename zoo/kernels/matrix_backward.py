"""The backward pass of a matrix state: gradients of v and of the attention maps, then the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import ceil_div
from zoo.kernels.matrix_chunks import table
from zoo.kernels.matrix_keys import keys
from zoo.kernels.matrix_keys import options as of_keys
from zoo.kernels.matrix_plan import Shape, levels, listed
from zoo.kernels.matrix_rows import put, rows, state_of, taken
from zoo.kernels.matrix_states import run_states


@triton.jit
def of_pairs(dA, A, BEFORE: tl.constexpr):
    """Gradient of one log per head: token t has decayed the pairs i >= t > j (i > t if BEFORE, for
    which this is the gradient of token t - 1). dA, A: C C. Returns: C."""
    C: tl.constexpr = A.shape[0]
    t, j = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    later = tl.cumsum(tl.where(t > j, dA * A, 0.0), 0, reverse=True)
    return tl.sum(tl.where(j < (t - 1 if BEFORE else t), later, 0.0), 1)


@triton.jit
def values(
    late, dS, A, v, do, fall, dv, dA, dfall, T, N, NH: tl.constexpr, FB: tl.constexpr,
    MOVES: tl.constexpr, H: tl.constexpr, DK: tl.constexpr, DV: tl.constexpr, KIND: tl.constexpr,
    REVERSE: tl.constexpr, BEFORE: tl.constexpr, C: tl.constexpr, BK: tl.constexpr,
    BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program per chunk and head.

    late: b T NH k; dS: b n h k v, gradient of the state behind each chunk; A: b n h c c; v, do: b T
    h v. Writes dv: b T h v; dA: b n h c c, all of do v^T or, unless KIND is "channel", the gradient
    of q k^T; dfall, for one decay per head: b T h, what pairs inside the chunk contribute.
    """
    n, ih = tl.program_id(0) % N, tl.program_id(0) // N % H
    ib, first = tl.program_id(0) // N // H, n * C
    i, j = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    chunk = tl.cast(ib * N + n, tl.int64) * H + ih
    turned = tl.load(A + chunk * (C * C) + j * C + i)
    tile = tl.zeros((C, C), tl.float32)
    for value in range(0, DV, BV):
        cols = value + tl.arange(0, BV)
        x = taken(do, ib, ih, first, T, cols, H, DV, REVERSE, C)
        y = taken(v, ib, ih, first, T, cols, H, DV, REVERSE, C)
        tile = tl.dot(x, tl.trans(y), tile, input_precision=PRECISION)
        out = tl.dot(turned, x, input_precision=PRECISION)
        for channel in range(0, DK, BK):
            k = channel + tl.arange(0, BK)
            key = taken(late, ib, ih, first, T, k, NH, DK, REVERSE, C)
            state = state_of(dS, chunk, k, cols, DK, DV)
            out = tl.dot(key, state, out, input_precision=PRECISION)
        put(dv, out, ib, ih, first, T, cols, H, DV, REVERSE, C)
    square = chunk * (C * C) + i * C + j
    if KIND == "head":
        x = -of_pairs(tile, tl.load(A + square).to(tl.float32), BEFORE)
        t = tl.arange(0, C)
        t = (t + C - 1) % C if BEFORE else t  # no pair is decayed by the last token: x[0] = 0
        tl.store(rows(dfall, ib, ih, first, t, T, H, 1, REVERSE), x, mask=first + t < T)
        tile *= table(fall, ib * FB, ih, first, T, H, REVERSE, MOVES, BEFORE, C)
    elif KIND == "keep":
        tile = tl.where(i > j if BEFORE else i >= j, tile, 0.0)
    tl.store(dA + square, tile.to(dA.dtype.element_ty))


def backward(
    do: Tensor | None,
    dend: Tensor | None,
    inputs: Sequence[Tensor | None],
    kept: Sequence[Tensor],
    *,
    reverse: bool,
    before: bool,
) -> tuple[Tensor, ...]:
    """All contiguous. Returns: gradients for q, k, v, fall and state that are not None."""
    q, k, v, fall, state = inputs
    assert q is not None
    assert v is not None
    shape = Shape.of(q, k, v, fall, reverse, before)
    A, S, near, late, whole = kept if fall is not None else (*kept, q, k, None)
    assert near is not None
    assert late is not None
    (b, t, h, _), n, wide = v.shape, shape.n, v.dtype == torch.float32
    do = torch.zeros_like(v) if do is None else do.to(v.dtype)
    dS, dstate = run_states(near, do, whole, dend, shape, backwards=True)
    dv, dA = torch.empty_like(v), torch.empty_like(A)
    dpairs = None if shape.kind != "head" else dstate.new_empty(b, t, h)
    constants = options(shape, wide, late.shape[2])
    values[(b * h * n,)](late, dS, A, v, do, fall, dv, dA, dpairs, t, n, **constants)
    dq, dk, dfall = of_keys_and_decays(shape, q, k, fall, v, do, S, dS, dA)
    if dfall is not None:
        dfall = dfall if dpairs is None else (dfall.sum(3) + dpairs).unsqueeze(3)
        dfall = dfall if shape.moves else dfall.sum(1, keepdim=True)
    gradients = (dq, dk, dv, dfall, None if state is None else dstate)
    return tuple(x for x in gradients if x is not None)


def of_keys_and_decays(
    shape: Shape, q: Tensor, k: Tensor | None, fall: Tensor | None, *others: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """dq, dk (None if tied) and dfall (None if there is none). others: v, do, S, dS, dA."""
    v, do, S, dS, dA = others
    (b, t, h, _), n, d_k = v.shape, shape.n, shape.d_k
    constants = of_keys(shape, v.dtype == torch.float32)
    parts = ceil_div(d_k, constants["BK"])
    # Sums over heads that share q or k are made in float32.
    dq, dk = (
        None
        if x is None
        else v.new_empty(b, t, h, d_k, dtype=v.dtype if x.shape[2] == h else torch.float32)
        for x in (q, k)
    )
    dfall = None
    if fall is not None:
        dfall = fall.new_empty(b, t, h, parts if shape.kind == "head" else d_k)
    masks = levels(shape.c, v.dtype, v.device) if shape.kind == "channel" else None
    keys[(parts * b * h * n,)](
        q, k, fall, masks, v, do, S, dS, dA, dq, dk, dfall, t, n, **constants
    )
    assert dq is not None
    return shared(dq, q), None if k is None or dk is None else shared(dk, k), dfall


def shared(gradient: Tensor, x: Tensor) -> Tensor:
    """Over the heads, where one serves all."""
    if x.shape[2] != gradient.shape[2]:
        gradient = gradient.sum(2, keepdim=True)
    return gradient.to(x.dtype)


def options(shape: Shape, wide: bool, heads: int) -> dict[str, Any]:
    """wide: in float32; heads: of late."""
    return shape.constants(values, NH=heads, **shape.blocks(*((32, 32) if wide else (64, 64))))


def compilations() -> list[Compilation]:
    shape, head = Shape(2048, 4, 128, 256, "channel"), Shape(2048, 4, 64, 64, "head")
    return [
        listed("values", values, shape, "bf16", dfall=None, **options(shape, False, 4)),
        listed("values head", values, head, "fp32", **options(head, True, 4)),
    ]
