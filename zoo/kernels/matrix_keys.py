"""The gradients of q, k and the decays of a matrix state, chunk by chunk.

A decay's gradient is a sum over the pairs and states that it decayed, at each level of a pair; it
is never a difference of sums over all tokens, in which precision would cancel.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from zoo.kernels.compilation import Compilation
from zoo.kernels.matrix_chunks import ends, factors, sums, tied
from zoo.kernels.matrix_plan import Shape, listed
from zoo.kernels.matrix_rows import LEAST, falls, put, rows, state_of, taken


@triton.jit
def inside(
    q, k, log, dA, masks, BEFORE: tl.constexpr, LEVELS: tl.constexpr, C: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients from the attention map of a chunk: dq, dk, dlog, C BK each.

    q, k, log: C BK; dA: pointer to C C; masks: from `levels`.
    """
    OP: tl.constexpr = dA.dtype.element_ty
    i = tl.arange(0, C)
    square = i[:, None] * C + i[None, :]
    dq, dk, dlog = tl.zeros_like(log), tl.zeros_like(log), tl.zeros_like(log)
    if not BEFORE:  # no decay touches a token's own weight
        own = tl.load(dA + i * (C + 1)).to(tl.float32)[:, None]
        dq, dk = own * k, own * q
    masks += square
    for level in range(2, LEVELS):
        mask = tl.load(masks)
        to_query, to_key = factors(mask, log, level, BEFORE, PRECISION)
        pairs = tl.load(dA + square) * tl.load(masks + C * C)
        new = to_query * tl.dot(pairs, (k * to_key).to(OP), input_precision=PRECISION)
        dq += new
        of_query = q * new
        x = (q * to_query).to(OP)
        new = to_key * tl.dot(tl.trans(pairs), x, input_precision=PRECISION)
        dk += new
        of_key = k * new
        # The gradients of the exponents, passed on to the logs that they sum.
        both = of_query + tl.where(level == 2, -of_key, of_key)
        dlog = tl.dot(tl.trans(mask), both.to(OP), dlog, input_precision=PRECISION)
        if BEFORE:
            dlog -= of_query
        masks += 2 * C * C
    return dq, dk, dlog


@triton.jit
def between(
    v, do, S, dS, chunk, ib, ih, first, T, channels, H: tl.constexpr, DK: tl.constexpr,
    DV: tl.constexpr, REVERSE: tl.constexpr, C: tl.constexpr, BV: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """do S^T and v dS^T, C BK each, and the sum over values of S dS: BK."""
    dq = tl.zeros((C, channels.shape[0]), tl.float32)
    dk = tl.zeros((C, channels.shape[0]), tl.float32)
    passed = tl.zeros((channels.shape[0],), tl.float32)
    for value in range(0, DV, BV):
        cols = value + tl.arange(0, BV)
        state = state_of(S, chunk, channels, cols, DK, DV)
        dstate = state_of(dS, chunk, channels, cols, DK, DV)
        x = taken(do, ib, ih, first, T, cols, H, DV, REVERSE, C)
        y = taken(v, ib, ih, first, T, cols, H, DV, REVERSE, C)
        dq = tl.dot(x, tl.trans(state), dq, input_precision=PRECISION)
        dk = tl.dot(y, tl.trans(dstate), dk, input_precision=PRECISION)
        passed += tl.sum(state.to(tl.float32) * dstate.to(tl.float32), 1)
    return dq, dk, passed


@triton.jit
def of_channels(
    q, k, log, far, late, passed, dlog, masks, BEFORE: tl.constexpr, OP: tl.constexpr,
    C: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """far and late decayed, and dlog with what they and the states pass on, C BK each.

    masks: the last of `levels`.
    """
    square = tl.arange(0, C)[:, None] * C + tl.arange(0, C)[None, :]
    up_to, after = tl.load(masks + square), tl.load(masks + C * C + square)
    query, key = sums(up_to, log, PRECISION), sums(after, log, PRECISION)
    far *= tl.exp2(query - log if BEFORE else query)
    late *= tl.exp2(key)
    dlog += passed[None, :] * tl.exp2(query + key)
    dlog = tl.dot(tl.trans(up_to), (q * far).to(OP), dlog, input_precision=PRECISION)
    dlog = tl.dot(tl.trans(after), (k * late).to(OP), dlog, input_precision=PRECISION)
    return far, late, dlog - q * far if BEFORE else dlog


@triton.jit
def of_head(q, k, far, late, passed, over, BEFORE: tl.constexpr):
    """Gradient of one log per head, from what the states pass on: C. q, k, far, late: C BK."""
    C: tl.constexpr = q.shape[0]
    t, p = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    of_query, of_key = tl.sum(q * far, 1)[None, :], tl.sum(k * late, 1)[None, :]
    given = tl.where(t < p if BEFORE else t <= p, of_query, 0.0) + tl.where(t > p, of_key, 0.0)
    return tl.sum(given, 1) + tl.sum(passed) * over


@triton.jit
def keys(
    q, k, fall, masks, v, do, S, dS, dA, dq, dk, dfall, T, N,
    QH: tl.constexpr, KH: tl.constexpr, FB: tl.constexpr, MOVES: tl.constexpr, H: tl.constexpr,
    DK: tl.constexpr, DV: tl.constexpr, KIND: tl.constexpr, TIED: tl.constexpr,
    REVERSE: tl.constexpr, BEFORE: tl.constexpr, C: tl.constexpr, LEVELS: tl.constexpr,
    BK: tl.constexpr, BV: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program per block of d_k, chunk and head.

    q, k, fall, masks: as for `chunks`; v, do: b T h v; S, dS: b n h k v, the state ahead of each
    chunk and the gradient of the one behind it; dA: from `values`. Writes dq, dk: b T h k; dfall: b
    T h k or, for one decay per head, b T h BLOCKS, to be summed.
    """
    BLOCKS: tl.constexpr = (DK + BK - 1) // BK
    part, other = tl.program_id(0) % BLOCKS, tl.program_id(0) // BLOCKS
    n, ih, ib = other % N, other // N % H, other // N // H
    i, first, chunk = tl.arange(0, C), n * C, tl.cast(ib * N + n, tl.int64) * H + ih
    cols = part * BK + tl.arange(0, BK)
    OP: tl.constexpr = dA.dtype.element_ty
    dA += chunk * (C * C)
    x = taken(q, ib, ih, first, T, cols, QH, DK, REVERSE, C)
    if KIND == "channel":
        log = falls(fall, ib * FB, ih, first, T, cols, H, DK, REVERSE, MOVES, C)
    if TIED:
        y = tied(log)
    else:
        y = taken(k, ib, ih, first, T, cols, KH, DK, REVERSE, C)
    if KIND == "channel":
        x, y = x.to(tl.float32), y.to(tl.float32)
        gx, gy, glog = inside(x, y, log, dA, masks, BEFORE, LEVELS, C, PRECISION)
    else:
        gx = tl.dot(tl.load(dA + i[:, None] * C + i[None, :]), y, input_precision=PRECISION)
        gy = tl.dot(tl.load(dA + i[None, :] * C + i[:, None]), x, input_precision=PRECISION)
    far, late, passed = between(
        v, do, S, dS, chunk, ib, ih, first, T, cols, H, DK, DV, REVERSE, C, BV, PRECISION
    )
    if KIND == "channel":
        masks += (LEVELS - 2) * (2 * C * C)
        far, late, glog = of_channels(
            x, y, log, far, late, passed, glog, masks, BEFORE, OP, C, PRECISION
        )
        if TIED:
            glog -= (gy + late) * tl.exp2(log)
        glog = tl.where(log > LEAST, -glog, 0.0)
        put(dfall, glog, ib, ih, first, T, cols, H, DK, REVERSE, C)
    elif KIND == "head":
        to_query, to_end, over = ends(fall, ib * FB, ih, first, T, H, REVERSE, MOVES, BEFORE, C)
        far, late = far * to_query[:, None], late * to_end[:, None]
        glog = -of_head(x, y, far, late, passed, over, BEFORE)
        at = rows(dfall, ib, ih, first, i, T, H, BLOCKS, REVERSE) + part
        tl.store(at, glog, mask=first + i < T)
    put(dq, gx + far, ib, ih, first, T, cols, H, DK, REVERSE, C)
    if not TIED:
        put(dk, gy + late, ib, ih, first, T, cols, H, DK, REVERSE, C)


def options(shape: Shape, wide: bool) -> dict[str, Any]:
    """wide: in float32."""
    if shape.kind == "channel":
        return shape.constants(keys, **shape.blocks(*((16, 32) if wide else (32, 64))))
    return shape.constants(keys, **shape.blocks(*((32, 32) if wide else (64, 64))))


def compilations() -> list[Compilation]:
    shape, own = Shape(2048, 4, 128, 256, "channel", q_heads=4, k_heads=4), {"masks": None}
    tied = Shape(2048, 4, 128, 256, "channel", tied=True, before=True, q_heads=4)
    head = Shape(2048, 4, 64, 64, "head", reverse=True)
    keep = Shape(2048, 4, 273, 65, "keep", q_heads=4, k_heads=4)
    none = {**own, "fall": None, "dfall": None}
    return [
        listed("keys", keys, shape, "bf16", 64, **options(shape, False)),
        listed("keys tied", keys, tied, "bf16", 64, k=None, dk=None, **options(tied, False)),
        listed("keys head", keys, head, "bf16", **own, **options(head, False)),
        listed("keys keep", keys, keep, "fp32", 384, **none, **options(keep, True)),
    ]
