"""Forward pass of h_t = alpha_t h_{t-1} + k_t v_t: o_t = q_t h_t, and states for the way back.

For each token and value channel it reads v and writes o, for each head it reads the step and what
is given of q and k, all once; and it writes a float32 state for every 8 tokens. With a tied key, no
q and 16-bit values that is 8.5 bytes per token and channel (d_v = 1), with a 16-bit key 10.5, with
a tied key and float32 values 12.5. Where time is cut into segments, the inputs are read twice.
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
    rows,
    spread,
    update,
    write,
)
from zoo.kernels.vector_plan import AHEAD, Plan, ahead
from zoo.kernels.vector_segments import carried, totalled


def forward(
    inputs: tuple[Tensor | None, ...], *, lag: int, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """inputs: q and k, (b or 1) (t or 1) (h or 1), k None: 1 - alpha; v, b t h v; step, b t h;
    rate, (b or 1) 1 h; start, b h v; the last three may be None. lag: 1 where o reads before the
    update. Returns: o, the last h, and what backward wants to see."""
    q, k, v, step, rate, start = inputs
    assert q is not None
    assert v is not None
    plan = Plan.of(q, k, v, lag, reverse, back=False)
    o = torch.empty_like(v, memory_format=torch.contiguous_format)
    end = v.new_empty(plan.b, plan.h, plan.form.d_v, dtype=torch.float32)
    kept = v.new_empty(plan.kept, dtype=torch.float32)
    with torch.cuda.device_of(v):
        forward_kernel[plan.programs, plan.segments](
            **plan.arguments(q=q, k=k, v=v, step=step, rate=rate),
            **totalled(plan, k, v, step, rate),
            start=None if start is None else start.contiguous(),
            o=o,
            kept=kept,
            end=end,
        )
    return o, end, kept


def compilations() -> list[Compilation]:
    return [ahead(f"vector forward {each}", forward_kernel, each, back=False) for each in AHEAD]


@triton.jit(do_not_specialize=["T", "tiles", "per"])
def forward_kernel(
    q, k, v, step, rate, start, whole, added, o, kept, end,
    q_b, q_t, k_b, k_t, v_b, v_t, step_b, step_t, rate_b, T, h, tiles, per, FORM: constexpr,
):  # fmt: skip
    segment, segments, size = tl.program_id(1), tl.num_programs(1), h * FORM.d_v
    S: tl.constexpr = FORM.tokens
    G: tl.constexpr = FORM.groups
    V: tl.constexpr = FORM.values
    C: tl.constexpr = FORM.heads * V
    b, head, inside, column, within = channels(h, FORM)  # pyright: ignore[reportGeneralTypeIssues]
    q = of_batch(q, q_b, b, head, inside, FORM.one_q, FORM.static_q)
    if k is not None:
        k = of_batch(k, k_b, b, head, inside, FORM.one_k, FORM.static_k)
    v += b * v_b
    if step is not None:
        step += b * step_b
    if rate is not None:
        rate = of_batch(rate, rate_b, b, head, inside, False, True)
    o += b * T * size
    kept += b * tiles * G * size
    group = tl.arange(0, G)[:, None]
    none = tl.zeros((G, C), tl.float32)
    carry = tl.zeros((C,), tl.float32)
    if start is not None:
        carry = tl.load(start + b * size + column, mask=within, other=0.0)
    if whole is not None:
        carry = carried(carry, whole, added, b, segment, segments - 1, size, column, within)
    first, last = segment * per, tl.minimum(segment * per + per, tiles)
    for n in tl.range(first, last, num_stages=FORM.stages):
        A, H = none + 1.0, none
        alphas, xs = (), ()
        for s in tl.static_range(S):
            _, alpha, key, value = update(
                k, k_t, v, v_t, step, step_t, rate, n, s, T, head, inside, column, within, FORM
            )
            a, x = spread(alpha, V), spread(key, V) * value
            A, H = A * a, a * H + x
            alphas, xs = alphas + (a,), xs + (x,)
        H, carry, _ = enter(A, H, carry)
        write(kept, size, n * G, group, group >= 0, column, within, H)
        for s in tl.static_range(S):
            H = alphas[s] * H + xs[s]
            i0, row, exists = rows(n, s, 0, T, FORM)
            query = factor(q, q_t, i0, row, exists, head, inside, FORM.one_q, FORM.static_q)
            write(o, size, i0, row, exists, column, within, spread(query, V) * H)
    if segment == segments - 1:
        tl.store(end + b * size + column, carry, mask=within)
