"""What every chunk of a matrix state needs: its attention map, and q and k decayed to its ends.

A pair of tokens i > j parts at one level: i lies in the second and j in the first half of a block
of 2, 4, 8 ... tokens. exp(G_i - G_j) is then a factor from the middle to i times one from j to the
middle, both at most 1. So nothing overflows, and no sum of logs is a difference of long ones. Pairs
within 8 tokens share one level, where a factor may reach exp(60), with logs of at least -20.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from zoo.kernels.compilation import Compilation
from zoo.kernels.matrix_plan import Shape, listed
from zoo.kernels.matrix_rows import LOG2E, falls, logs, put, taken

MOST = tl.constexpr(60 * 1.4426950408889634)  # scaled: the largest exponent that is ever wanted


@triton.jit
def table(
    fall, ib, ih, first, T, H: tl.constexpr, REVERSE: tl.constexpr, MOVES: tl.constexpr,
    BEFORE: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """exp of the logs summed over tokens j+1 to i (to i-1 if BEFORE), for one decay per head: C C.

    Rows i; 0 where j > i.
    """
    i, j = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    last = i - 1 if BEFORE else i  # the last token that a query has seen decay
    x = logs(fall, ib, ih, first, last, T, H, 1, REVERSE, MOVES)
    x = tl.load(x, mask=(last >= 0) & (first + last < T), other=0.0) * -LOG2E
    weights = tl.exp2(tl.cumsum(tl.where(last > j, x, 0.0), 0))
    return tl.where(last >= j, weights, 0.0)


@triton.jit
def ends(
    fall, ib, ih, first, T, H: tl.constexpr, REVERSE: tl.constexpr, MOVES: tl.constexpr,
    BEFORE: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """For one decay per head, exponentials: from the chunk's start to each query (C), from each key
    to the chunk's end (C), and over the whole chunk."""
    i, j = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    x = logs(fall, ib, ih, first, j, T, H, 1, REVERSE, MOVES)
    x = tl.load(x, mask=first + j < T, other=0.0) * -LOG2E
    query = tl.sum(tl.where(j < i if BEFORE else j <= i, x, 0.0), 1)
    key = tl.sum(tl.where(j > i, x, 0.0), 1)
    return tl.exp2(query), tl.exp2(key), tl.exp2(tl.sum(x))


@triton.jit
def tied(log):
    """1 - exp(log), log in powers of 2; a series near 0, where the difference would cancel."""
    x = log / LOG2E
    series = 1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7)))
    return tl.where(x > -0.35, -x * (1 + x / 2 * (1 + x / 3 * series)), 1 - tl.exp2(log))


@triton.jit
def sums(mask, log, PRECISION: tl.constexpr):
    """mask @ log, each row of the mask choosing what to add up. mask: C C; log: C BK, float32."""
    if mask.dtype == tl.float32:
        return tl.dot(mask, log, input_precision=PRECISION)
    # 16 bits in two halves: 1e-4 where an exponential is not negligible.
    high = log.to(mask.dtype)
    low = (log - high.to(tl.float32)).to(mask.dtype)
    return tl.dot(mask, low, tl.dot(mask, high))


@triton.jit
def factors(mask, log, level, BEFORE: tl.constexpr, PRECISION: tl.constexpr):
    """What q and k are multiplied with at a level, C BK each; where a token is no query or no key
    of that level, any finite number. mask: from `levels`."""
    x = sums(mask, log, PRECISION)
    to_query = tl.exp2(tl.minimum(x - log if BEFORE else x, MOST))
    return to_query, tl.exp2(tl.minimum(tl.where(level == 2, -x, x), MOST))


@triton.jit
def level_map(
    A, q, k, log, masks, BEFORE: tl.constexpr, LEVELS: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """A and the part of the attention map from some key channels. A: C C; q, k, log: C BK.

    Also returns exponentials: from the chunk's start to each query, from each key to the chunk's
    end, and over the whole chunk, C BK each.
    """
    WIDE: tl.constexpr = masks.dtype.element_ty == tl.float32
    C: tl.constexpr = A.shape[0]
    i, j = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    if not BEFORE:
        A += tl.where(i == j, tl.sum(q * k, 1)[:, None], 0.0)
    masks += i * C + j
    for level in range(2, LEVELS):
        path = tl.load(masks)
        to = factors(path, log, level, BEFORE, PRECISION)  # the queries', the keys'
        # A may be kept in 16 bits; factors rounded so far, too, would nearly double its error.
        pairs = tl.dot(
            q * to[0], tl.trans(k * to[1]), input_precision=PRECISION if WIDE else "tf32"
        )
        # By selection: a product that nobody wants may have overflowed.
        A = tl.where(tl.load(masks + C * C) != 0, A + pairs, A)
        masks += 2 * C * C
    query = sums(tl.load(masks), log, PRECISION)
    key = sums(tl.load(masks + C * C), log, PRECISION)
    return A, tl.exp2(query - log if BEFORE else query), tl.exp2(key), tl.exp2(query + key)


@triton.jit
def chunks(
    q, k, fall, masks, A, near, late, whole, T, N,
    QH: tl.constexpr, KH: tl.constexpr, FB: tl.constexpr, MOVES: tl.constexpr, H: tl.constexpr,
    DK: tl.constexpr, KIND: tl.constexpr, TIED: tl.constexpr, REVERSE: tl.constexpr,
    BEFORE: tl.constexpr, C: tl.constexpr, LEVELS: tl.constexpr, BK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One program per chunk and head. q: b T QH k; k: b T KH k, or none (TIED); fall: -log alpha,
    b T h k or b T h 1; masks: from `levels`.

    Writes A: b n h c c; near = q exp(G_i) and late = k exp(G_c - G_i): b T h k; whole = exp(G_c):
    b n h k or b n h 1.
    """
    n, ih = tl.program_id(0) % N, tl.program_id(0) // N % H
    ib, first = tl.program_id(0) // N // H, n * C
    OP: tl.constexpr = A.dtype.element_ty
    i, j = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    chunk = tl.cast(ib * N + n, tl.int64) * H + ih
    tile = tl.zeros((C, C), tl.float32)
    if KIND == "head":
        to_query, to_end, over = ends(fall, ib * FB, ih, first, T, H, REVERSE, MOVES, BEFORE, C)
        to_query, to_end = to_query[:, None], to_end[:, None]
        tl.store(whole + chunk, over)
    for channel in range(0, DK, BK):
        cols = channel + tl.arange(0, BK)
        x = taken(q, ib, ih, first, T, cols, QH, DK, REVERSE, C).to(tl.float32)
        if KIND == "channel":
            log = falls(fall, ib * FB, ih, first, T, cols, H, DK, REVERSE, MOVES, C)
        if TIED:
            y = tied(log)
        else:
            y = taken(k, ib, ih, first, T, cols, KH, DK, REVERSE, C).to(tl.float32)
        if KIND == "channel":
            tile, to_query, to_end, over = level_map(
                tile, x, y, log, masks, BEFORE, LEVELS, PRECISION
            )
            at = whole + chunk * DK + cols[None, :] + i * 0
            tl.store(at, over, mask=(i == 0) & (cols < DK)[None, :])  # all rows are equal
        else:
            tile = tl.dot(x.to(OP), tl.trans(y.to(OP)), tile, input_precision=PRECISION)
        if KIND != "keep":
            put(near, x * to_query, ib, ih, first, T, cols, H, DK, REVERSE, C)
            put(late, y * to_end, ib, ih, first, T, cols, H, DK, REVERSE, C)
    if KIND == "head":
        tile *= table(fall, ib * FB, ih, first, T, H, REVERSE, MOVES, BEFORE, C)
    elif KIND == "keep":
        tile = tl.where(i > j if BEFORE else i >= j, tile, 0.0)
    tl.store(A + chunk * (C * C) + i * C + j, tile.to(OP))


def options(shape: Shape, wide: bool) -> dict[str, Any]:
    """wide: in float32."""
    channels = {"channel": 16 if wide else 32, "head": 32, "keep": 32 if wide else 64}
    return shape.constants(chunks, **shape.blocks(channels[shape.kind]))


def compilations() -> list[Compilation]:
    shape = Shape(2048, 4, 128, 256, "channel", q_heads=4, k_heads=4)
    tied = Shape(2048, 4, 128, 256, "channel", tied=True, before=True, q_heads=4)
    head = Shape(2048, 4, 64, 64, "head", reverse=True)
    return [
        listed("chunks", chunks, shape, "fp32", 48, **options(shape, True)),
        listed("chunks tied", chunks, tied, "bf16", 8, k=None, **options(tied, False)),
        listed("chunks head", chunks, head, "bf16", masks=None, **options(head, False)),
    ]
