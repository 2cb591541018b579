"""Selective scan, backwards: from the last tokens to the first, with states rebuilt on the way.

For each token and channel: 1.5 d_k exponentials and, in bytes with v in 16 bits, v 2, step 4,
d_o 2, d_v 2, d_step 4, and 4 d_k / 16 for the kept states. Where heads share q or k, each block of
32 channels (d_k = 16) writes its part of the gradient, and a sum reads it: twice 4 d_k / 32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.ssm import LN2, constexpr, inputs, one_minus, program, rates, tokens_of, total
from zoo.kernels.ssm_segments import Plan, example, given


def backward(
    do: Tensor | None,
    later: Tensor | None,
    inputs: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    *,
    before: bool,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """As zoo.scan.derivative.Kernel wants it; inputs and kept as in ssm_forward.forward."""
    q, k, v, step, rate, start = inputs
    b, _, h = v.shape
    plan = Plan.of(v, q.shape[3], before=before, reverse=reverse, back=True)
    found = given(q=q, k=k, v=v, step=step, rate=rate, do=torch.zeros_like(v) if do is None else do)
    written: dict[str, Tensor | None] = {
        "dq": room(q, plan),
        "dk": None if k is None else room(k, plan),
        "dv": torch.empty_like(v, memory_format=torch.contiguous_format),
        "dstep": step.new_empty(v.shape),
        "drate": step.new_empty(b, plan.segments, h, q.shape[3]),
        "dstart": None if start is None else step.new_empty(b, h, q.shape[3]),
    }
    with torch.cuda.device_of(v):
        later = plan.starts(found, "q", "do", later, back=True)
        read = {**found, "kept": kept[0].contiguous(), "later": later}
        backward_kernel[plan.grid](**read, **written, **plan.launch)
    for name, x in (("dq", q), ("dk", k)):
        if x is not None and x.shape[2] == 1:
            written[name] = written[name].sum(1).unsqueeze(2).to(x.dtype)  # pyright: ignore
    written["drate"] = written["drate"].sum(1)  # pyright: ignore[reportOptionalMemberAccess]
    return tuple(x for x in written.values() if x is not None)


def room(x: Tensor, plan: Plan) -> Tensor:
    """For a gradient of q or k: b t h n, or b blocks t n for the parts of one that heads share."""
    if x.shape[2] > 1:
        return x.new_empty(plan.b, *x.shape[1:])
    return x.new_empty(plan.b, plan.blocks, plan.t, x.shape[3], dtype=torch.float32)


def compilations() -> list[Compilation]:
    found = []
    for name, form, (types, lies) in example(back=True):
        read = {"do": types["v"], "kept": "*fp32", "dv": types["v"]}
        written = dict.fromkeys(("dq", "dk", "dstep", "drate"), "*fp32")
        constants = {**lies, "DO": lies["V"], "later": None, "dstart": None, "FORM": form}
        if "k" in lies:
            constants["dk"] = None
        signature = {**types, **read, **written}
        arguments = (f"ssm backward {name}", backward_kernel, signature, constants, form.warps)
        found.append(Compilation(*arguments))
    return found


@triton.jit(do_not_specialize=["T", "tokens"])
def backward_kernel(
    q, k, v, step, rate, do, kept, later, dq, dk, dv, dstep, drate, dstart, T, tokens,
    Q: tl.constexpr, K: tl.constexpr, V: tl.constexpr, STEP: tl.constexpr, RATE: tl.constexpr,
    DO: tl.constexpr, FORM: constexpr,
):  # fmt: skip
    """G is the gradient of the states.

    later: that of the state after each segment, b segments (h n), or None. drate: the same shape.
    """
    b, segment, segments, block, h, n = program(T, tokens, FORM)  # pyright: ignore[reportGeneralTypeIssues]
    channel, there = h < FORM.channels, (h < FORM.channels) & (n < FORM.states)
    size = FORM.channels * FORM.states
    at = h * FORM.states + n
    r = rates(rate, RATE, b, h, n, FORM)
    G = tl.zeros(r.shape, tl.float32)  # keys warps lanes lanes
    if later is not None:
        G = tl.load(later + (b * segments + segment) * size + at, mask=there, other=0.0)
    d_r = tl.zeros(r.shape, tl.float32)
    first, last = segment * tokens, tl.minimum(segment * tokens + tokens, T)
    C: tl.constexpr = FORM.tokens
    PARTS: tl.constexpr = FORM.keep // C
    for j in range(tl.cdiv(last - first, FORM.keep)):
        tile = tl.cdiv(last, FORM.keep) - 1 - j
        at_kept = (b * tl.cdiv(T, FORM.keep) + tile) * size + at
        starts = (tl.load(kept + at_kept, mask=there, other=0.0),)
        for u in tl.static_range(PARTS - 1):
            s = tile * FORM.keep + u * C
            found = inputs(step, STEP, v, V, k, K, None, Q, b, s, T, h, n, FORM)
            starts = starts + (rebuilt(starts[u], r, k, found, FORM)[2 * C],)
        for u in tl.static_range(PARTS - 1, -1, -1):
            s = tile * FORM.keep + u * C
            found = inputs(step, STEP, v, V, k, K, q, Q, b, s, T, h, n, FORM)
            found = found + tokens_of(do, DO, b, s, T, h, channel, FORM)
            G, d_r, d_q, d_k, d_v, d_step = gradients(G, d_r, starts[u], r, k, found, FORM)  # pyright: ignore
            write(dv, d_v, b, s, T, FORM.channels, h, channel, FORM)
            write(dstep, d_step, b, s, T, FORM.channels, h, channel, FORM)
            write_keys(dq, d_q, Q, b, block, s, T, h, n, FORM)
            if k is not None:
                write_keys(dk, d_k, K, b, block, s, T, h, n, FORM)
    tl.store(drate + (b * segments + segment) * size + at, d_r, mask=there)
    if dstart is not None and segment == 0:
        tl.store(dstart + b * size + at, G, mask=there)


@triton.jit
def rebuilt(S, r, k, found, FORM: constexpr):
    """Of some tokens the alphas, the states before each of them and the one after the last."""
    C: tl.constexpr = FORM.tokens
    alphas, pasts = (), ()
    for i in tl.static_range(C):  # pyright: ignore[reportGeneralTypeIssues]
        log2 = found[i] * r
        alpha = tl.exp2(log2)
        key = one_minus(alpha, log2) if k is None else found[2 * C + i]
        alphas, pasts = alphas + (alpha,), pasts + (S,)
        S = alpha * S + key * found[C + i]
    return alphas + pasts + (S,)


@triton.jit
def gradients(G, d_r, S, r, k, found, FORM: constexpr):
    """Of some tokens, S being the state before them. found: steps, values, keys if any, queries,
    d_o. W is the gradient of the log decays."""
    C: tl.constexpr = FORM.tokens
    walk = rebuilt(S, r, k, found, FORM)
    d_q, d_k, d_v, d_step = None, None, None, None
    for i in tl.static_range(C - 1, -1, -1):
        alpha, past = walk[i], walk[C + i]
        value = found[C + i]
        d_o = found[(3 if k is None else 4) * C + i]
        from_o = found[(2 if k is None else 3) * C + i] * d_o
        if not FORM.before:
            G += from_o
        d_q = put(d_q, i, (past if FORM.before else walk[C + i + 1]) * d_o, FORM)
        if k is None:
            key = one_minus(alpha, found[i] * r)
            past -= value  # k = 1 - alpha brings -alpha G v to the log decay
        else:
            key = found[2 * C + i]
            d_k = put(d_k, i, G * value, FORM)
        d_v = put(d_v, i, total(G * key, 0, FORM), FORM)
        G *= alpha
        W = G * past
        d_step = put(d_step, i, total(W * r, 0, FORM), FORM)
        d_r -= W * found[i]
        if FORM.before:
            G += from_o
    if k is None:
        d_k = d_q  # Triton before 3.7 returns no None
    d_v, d_step = tl.sum(d_v, 3, keep_dims=True), tl.sum(d_step, 3, keep_dims=True) * LN2
    return G, d_r, d_q, d_k, d_v, d_step


@triton.jit
def in_front(x, FORM: constexpr):
    """x with an axis for tokens in front of its four, which are not mirrored then."""
    return tl.expand_dims(tl.permute(x, (3, 2, 1, 0)) if FORM.mirrored else x, 0)


@triton.jit
def put(tile, i: tl.constexpr, x, FORM: constexpr):
    """x as token i of several, which are registers of a lane: nothing moves."""
    row = tl.arange(0, FORM.tokens)[:, None, None, None, None]
    return tl.where(row == i, in_front(x, FORM), row * 0.0 if tile is None else tile)


@triton.jit
def write(x, tile, b, s, T, WIDTH: tl.constexpr, at, there, FORM: constexpr):
    """tile: tokens and the axes of `at`, into row b of b t WIDTH."""
    i = tl.arange(0, FORM.tokens)[:, None, None, None, None]
    to = x + (b * T + (T - 1 - s if FORM.reverse else s)) * WIDTH + in_front(at, FORM)
    to = to - i * WIDTH if FORM.reverse else to + i * WIDTH
    tl.store(to, tile.to(x.dtype.element_ty), mask=in_front(there, FORM) & (s + i < T))


@triton.jit
def write_keys(x, tile, X: tl.constexpr, b, block, s, T, h, n, FORM: constexpr):
    """tile: tokens keys warps lanes lanes, of q or k, or this block's part where heads share."""
    if X[2] == 0:
        row = b * tl.cdiv(FORM.channels, FORM.warps * FORM.channel_lanes) + block
        tile = tl.sum(tl.sum(tile, 4, keep_dims=True), 2, keep_dims=True)
        write(x, tile, row, s, T, FORM.states, n, n < FORM.states, FORM)
    else:
        there = (h < FORM.channels) & (n < FORM.states)
        at = h * FORM.states + n
        write(x, tile, b, s, T, FORM.channels * FORM.states, at, there, FORM)
