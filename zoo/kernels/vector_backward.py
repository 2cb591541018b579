"""Backward pass of h_t = alpha_t h_{t-1} + k_t v_t: all gradients in one walk, from the last token.

States are rebuilt for every 8 tokens from the one that forward kept. For each token and value
channel it reads v and d_o and writes d_v, for each head it reads the step and what is given of q
and k, all once, and writes their gradients. With a tied key, no q and 16-bit values that is 14.5
bytes per token and channel (d_v = 1), with a 16-bit key 18.5, with a tied key and float32 values
20.5. Where time is cut into segments, d_o, the step and q are read twice.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.vector import (
    channels,
    constexpr,
    enter,
    factor,
    of_batch,
    per_head,
    read,
    rows,
    spread,
    update,
    write,
)
from zoo.kernels.vector_plan import AHEAD, Plan, ahead
from zoo.kernels.vector_segments import carried, totalled


def backward(
    d_o: Tensor | None,
    d_end: Tensor | None,
    inputs: tuple[Tensor | None, ...],
    kept: tuple[Tensor, ...],
    *,
    lag: int,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """inputs: as of vector_forward.forward(), to whose outputs d_o and d_end belong. Returns: a
    gradient for each that is not None, with the full batch."""
    q, k, v, step, rate, start = inputs
    assert q is not None
    assert v is not None
    d_o = torch.zeros_like(v) if d_o is None else d_o
    plan = Plan.of(q, k, v, lag, reverse, back=True)
    gradients = {
        "d_q": plan.empty(q),
        "d_k": plan.empty(k),
        "d_v": torch.empty_like(v, memory_format=torch.contiguous_format),
        "d_step": plan.empty(step),
        "d_rate": plan.empty(rate),
        "d_start": None if start is None else start.new_empty(start.shape),
    }
    with torch.cuda.device_of(v):
        backward_kernel[plan.programs, plan.segments](
            **plan.arguments(q=q, k=k, v=v, step=step, rate=rate, d_o=d_o),
            **totalled(plan, q, d_o, step, rate),
            d_end=None if d_end is None else d_end.contiguous(),
            kept=kept[0].contiguous(),
            **gradients,
        )
    return tuple(
        x.sum_to_size(plan.b, *given.shape[1:]).to(given.dtype)
        for x, given in zip(gradients.values(), inputs)
        if x is not None and given is not None
    )


def compilations() -> list[Compilation]:
    return [ahead(f"vector backward {each}", backward_kernel, each, back=True) for each in AHEAD]


@triton.jit(do_not_specialize=["T", "tiles", "per"])
def backward_kernel(
    q, k, v, step, rate, d_o, d_end, kept, whole, added, d_q, d_k, d_v, d_step, d_rate, d_start,
    q_b, q_t, k_b, k_t, v_b, v_t, step_b, step_t, rate_b, d_o_b, d_o_t, T, h, tiles, per,
    FORM: constexpr,
):  # fmt: skip
    segment, segments, size = tl.program_id(1), tl.num_programs(1), h * FORM.d_v
    S: tl.constexpr = FORM.tokens
    G: tl.constexpr = FORM.groups
    V: tl.constexpr = FORM.values
    HEADS: tl.constexpr = FORM.heads
    C: tl.constexpr = HEADS * V
    b, head, inside, column, within = channels(h, FORM)  # pyright: ignore[reportGeneralTypeIssues]
    q = of_batch(q, q_b, b, head, inside, FORM.one_q, FORM.static_q)
    if k is not None:
        k = of_batch(k, k_b, b, head, inside, FORM.one_k, FORM.static_k)
        d_k += b * (0 if FORM.static_k else T * h)
    v += b * v_b
    d_v += b * T * size
    d_o += b * d_o_b
    d_q += b * (0 if FORM.static_q else T * h)
    if step is not None:
        step += b * step_b
        d_step += b * T * h
    if rate is not None:
        rate = of_batch(rate, rate_b, b, head, inside, False, True)
    kept += b * tiles * G * size
    group = G - 1 - tl.arange(0, G)[:, None]
    none = tl.zeros((G, C), tl.float32)
    d_qs = tl.zeros((G, HEADS), tl.float32)
    d_ks, d_rates = d_qs, d_qs
    handed = tl.zeros((C,), tl.float32)
    if d_end is not None:
        handed = tl.load(d_end + b * size + column, mask=within, other=0.0)
    if whole is not None:
        order = segments - 1 - segment
        handed = carried(handed, whole, added, b, order, segments - 1, size, column, within)
    first, last = segment * per, tl.minimum(segment * per + per, tiles)
    for i in tl.range(first, last, num_stages=FORM.stages):
        n = first + last - 1 - i
        H = read(kept, size, n * G, group, group >= 0, column, within)
        steps, alphas, keys, values, decayed = (), (), (), (), ()
        for s in tl.static_range(S):
            times, alpha, key, value = update(
                k, k_t, v, v_t, step, step_t, rate, n, s, T, head, inside, column, within, FORM
            )
            steps, alphas, keys = steps + (times,), alphas + (alpha,), keys + (key,)
            values, decayed = values + (value,), decayed + (spread(alpha, V) * H,)
            H = decayed[s] + spread(key, V) * value
        # From here on from the last token to the first. F: the gradient of alpha_t h_{t-1}, summed.
        A, F = none + 1.0, none
        reads, queries = (), ()
        for j in tl.static_range(S):
            i0, row, exists = rows(n, S - 1 - j, 0, T, FORM)
            reads = reads + (read(d_o, d_o_t, i0, row, exists, column, within),)
            query = factor(q, q_t, i0, row, exists, head, inside, FORM.one_q, FORM.static_q)
            queries = queries + (query,)
            a = spread(alphas[S - 1 - j], V)
            A, F = A * a, a * (F + spread(query, V) * reads[j])
        F, handed, _ = enter(A, F, handed)
        for s in tl.static_range(S - 1, -1, -1):
            key, d_read = spread(keys[s], V), reads[S - 1 - s]
            E = F + spread(queries[S - 1 - s], V) * d_read  # of h_t
            F = spread(alphas[s], V) * E
            d_query = per_head(d_read * (decayed[s] + key * values[s]), V)
            i0, row, exists = rows(n, s, 0, T, FORM)
            if FORM.static_q:
                d_qs += d_query
            else:
                write(d_q, h, i0, row, exists, head, inside, d_query)
            i0, row, exists = rows(n, s, FORM.lag, T, FORM)
            write(d_v, size, i0, row, exists, column, within, key * E)
            d_key = per_head(values[s] * E, V)
            d_log = per_head(decayed[s] * E, V)
            if k is None:
                d_log -= alphas[s] * d_key
            elif FORM.static_k:
                d_ks += d_key
            else:
                write(d_k, h, i0, row, exists, head, inside, d_key)
            if rate is not None:
                d_rates -= steps[s] * d_log
                d_log *= rate[None, :]
            if step is not None:
                write(d_step, h, i0, row, exists, head, inside, -d_log)
    part = (b * segments + segment) * h + head
    if FORM.static_q:
        tl.store(d_q + part, tl.sum(d_qs, 0), mask=inside)
    if k is not None and FORM.static_k:
        tl.store(d_k + part, tl.sum(d_ks, 0), mask=inside)
    if rate is not None:
        tl.store(d_rate + part, tl.sum(d_rates, 0), mask=inside)
    if d_start is not None and segment == 0:
        tl.store(d_start + b * size + column, handed, mask=within)
