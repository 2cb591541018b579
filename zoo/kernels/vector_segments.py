"""Segments of time that run at once: what each does to a state, found by a first pass.

Where there are too few channels to fill the chip, a segment's own pass begins from the combined
totals of the segments before it.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.vector import (
    channels,
    constexpr,
    decays,
    enter,
    factor,
    of_batch,
    one_minus,
    pair,
    read,
    rows,
    spread,
)
from zoo.kernels.vector_plan import Plan, ahead

COMBINED = tl.constexpr(16)  # segments whose totals are combined at once


def totalled(
    plan: Plan, x: Tensor | None, y: Tensor, step: Tensor | None, rate: Tensor | None
) -> dict[str, Any]:
    """`whole` and `added` of every segment but the last, b segments (h v); None if it is alone.

    x, y: q and d_o for a plan that goes back, else k and v.
    """
    if plan.segments == 1:
        return {"whole": None, "added": None}
    shape = (plan.b, plan.segments - 1, plan.h * plan.form.d_v)
    whole, added = (y.new_empty(shape, dtype=torch.float32) for _ in range(2))
    with torch.cuda.device_of(y):
        totals_kernel[plan.programs, plan.segments - 1](
            **plan.arguments(x=x, y=y, step=step, rate=rate), whole=whole, added=added
        )
    return {"whole": whole, "added": added}


def compilations() -> list[Compilation]:
    return [
        ahead("vector totals", totals_kernel, "keys-cut", back=False),
        ahead("vector totals back", totals_kernel, "keys-cut", back=True),
    ]


@triton.jit
def carried(carry, whole, added, b, order, segments, size, column, within):
    """What the first `order` segments, of known totals, make of `carry` (C)."""
    chosen = tl.arange(0, COMBINED)[:, None]
    last = chosen == COMBINED - 1
    for j in range(0, order, COMBINED):
        at = (b * segments + j + chosen) * size + column[None, :]
        known = (j + chosen < order) & within[None, :]
        A = tl.load(whole + at, mask=known, other=1.0)
        H = tl.load(added + at, mask=known, other=0.0)
        A, H = tl.associative_scan((A, H), 0, pair)
        carry *= tl.sum(tl.where(last, A, 0.0), 0)
        carry += tl.sum(tl.where(last, H, 0.0), 0)
    return carry


@triton.jit(do_not_specialize=["T", "tiles", "per"])
def totals_kernel(
    x, y, step, rate, whole, added, x_b, x_t, y_b, y_t, step_b, step_t, rate_b, T, h, tiles, per,
    FORM: constexpr,
):  # fmt: skip
    """What each segment multiplies by and what it adds, in the order of the walk."""
    ONE: tl.constexpr = FORM.one_q if FORM.back else FORM.one_k
    STATIC: tl.constexpr = FORM.static_q if FORM.back else FORM.static_k
    order, segments = tl.program_id(1), tl.num_programs(1)
    segment = segments - order if FORM.back else order  # the last in order needs no totals
    S: tl.constexpr = FORM.tokens
    G: tl.constexpr = FORM.groups
    V: tl.constexpr = FORM.values
    C: tl.constexpr = FORM.heads * V
    b, head, inside, column, within = channels(h, FORM)  # pyright: ignore[reportGeneralTypeIssues]
    if x is not None:
        x = of_batch(x, x_b, b, head, inside, ONE, STATIC)
    y += b * y_b
    if step is not None:
        step += b * step_b
    if rate is not None:
        rate = of_batch(rate, rate_b, b, head, inside, False, True)
    none = tl.zeros((G, C), tl.float32)
    carry = tl.zeros((C,), tl.float32)
    product = carry + 1.0
    first, last = segment * per, tl.minimum(segment * per + per, tiles)
    for i in tl.range(first, last, num_stages=FORM.stages):
        n = first + last - 1 - i if FORM.back else i
        A, H = none + 1.0, none
        for j in tl.static_range(S):
            s = S - 1 - j if FORM.back else j
            i0, row, exists = rows(n, s, FORM.lag, T, FORM)
            _, log, alpha = decays(step, step_t, rate, i0, row, exists, head, inside)
            a = spread(alpha, V)
            if FORM.back:
                i0, row, exists = rows(n, s, 0, T, FORM)
            z = read(y, y_t, i0, row, exists, column, within)
            if x is None:
                z *= spread(one_minus(log, alpha), V)
            else:
                key = factor(x, x_t, i0, row, exists, head, inside, ONE, STATIC)
                z *= spread(key, V)
            A, H = A * a, a * (H + z) if FORM.back else a * H + z
        _, carry, by = enter(A, H, carry)
        product *= by
    at = (b * segments + order) * h * FORM.d_v + column
    tl.store(whole + at, product, mask=within)
    tl.store(added + at, carry, mask=within)
