"""Selective scan, forwards: a warp walks along time with a few channels' states in registers.

For each token and channel: d_k exponentials and, in bytes with v in 16 bits, v 2, step 4, o 2, and
4 d_k / 16 for the states from which backward starts; q and k of one head for all are small. A cut
in time doubles exponentials and reads, and is made only where a GPU would idle otherwise.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import ceil_div
from zoo.kernels.ssm import constexpr, inputs, one_minus, program, rates, total
from zoo.kernels.ssm_segments import Plan, example, given


def forward(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    step: Tensor,
    rate: Tensor,
    start: Tensor | None,
    *,
    before: bool,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, ...]:
    """q, k: b t (h or 1) n, k None: 1 - alpha; v, step: b t h; rate: (b or 1) h n; start: b h n.

    Returns: o (b t h), the last state, and, where `keep`, the states that backward wants to see.
    """
    (b, t, h), n = v.shape, q.shape[3]
    plan = Plan.of(v, n, before=before, reverse=reverse, back=False)
    found = given(q=q, k=k, v=v, step=step, rate=rate)
    o = torch.empty_like(v, memory_format=torch.contiguous_format)  # b t h
    end = v.new_empty(b, h, n, dtype=torch.float32)
    kept = v.new_empty(b, ceil_div(t, plan.form.keep), h, n, dtype=torch.float32) if keep else None
    with torch.cuda.device_of(v):
        start = plan.starts(found, "k", "v", start, back=False)
        written = {"o": o, "end": end, "kept": kept}
        forward_kernel[plan.grid](**found, start=start, **written, **plan.launch)
    return (o, end) if kept is None else (o, end, kept)


def compilations() -> list[Compilation]:
    found = []
    for name, form, arguments in example(back=False):
        signature = {**arguments[0], "o": arguments[0]["v"], "end": "*fp32", "kept": "*fp32"}
        constants = {**arguments[1], "start": None, "FORM": form}
        found.append(Compilation(f"ssm forward {name}", forward_kernel, signature, constants, 1))
    return found


@triton.jit(do_not_specialize=["T", "tokens"])
def forward_kernel(
    q, k, v, step, rate, start, o, end, kept, T, tokens,
    Q: tl.constexpr, K: tl.constexpr, V: tl.constexpr, STEP: tl.constexpr, RATE: tl.constexpr,
    FORM: constexpr,
):  # fmt: skip
    """start: b segments (h n), or None. kept: b (T / keep) (h n), or None."""
    b, segment, segments, _, h, n = program(T, tokens, FORM)  # pyright: ignore[reportGeneralTypeIssues]
    channel, there = h < FORM.channels, (h < FORM.channels) & (n < FORM.states)
    size = FORM.channels * FORM.states
    at = h * FORM.states + n
    r = rates(rate, RATE, b, h, n, FORM)
    S = tl.zeros(r.shape, tl.float32)  # keys warps lanes lanes
    if start is not None:
        S = tl.load(start + (b * segments + segment) * size + at, mask=there, other=0.0)
    first, last = segment * tokens, tl.minimum(segment * tokens + tokens, T)
    ahead = inputs(step, STEP, v, V, k, K, q, Q, b, first, T, h, n, FORM)
    C: tl.constexpr = FORM.tokens
    PARTS: tl.constexpr = FORM.keep // C
    for s_kept in range(first, last, FORM.keep):
        if kept is not None:
            tile = b * tl.cdiv(T, FORM.keep) + s_kept // FORM.keep
            tl.store(kept + tile * size + at, S, mask=there)
        for u in tl.static_range(PARTS):
            s = s_kept + u * C
            now = ahead
            ahead = inputs(step, STEP, v, V, k, K, q, Q, b, s + C, T, h, n, FORM)
            to = o + (b * T + (T - 1 - s if FORM.reverse else s)) * FORM.channels + h
            for i in tl.static_range(C):
                log2 = now[i] * r
                alpha = tl.exp2(log2)
                key = one_minus(alpha, log2) if k is None else now[2 * C + i]
                past = S
                S = alpha * S + key * now[C + i]
                y = now[(2 if k is None else 3) * C + i] * (past if FORM.before else S)
                y = total(total(y, 0, FORM), 2, FORM)  # 1 warps 1 lanes
                row = to - i * FORM.channels if FORM.reverse else to + i * FORM.channels
                tl.store(row, y.to(o.dtype.element_ty), mask=channel & (s + i < T))
    if segment == segments - 1:
        tl.store(end + b * size + at, S, mask=there)
