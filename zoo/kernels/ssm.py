"""Tiles of S_t = exp(-step_t rate) S_{t-1} + k_t v_t, one value channel, and a segment's end.

A tile of states is [key channels of a lane, warps, lanes along keys, lanes along channels]: the
first and third axis make n, the others h. Triton gives neighbours in memory to one lane, and then
lanes to the last axes first, but before 3.7 to the first ones: there, the axes are mirrored. That
keeps the keys of a channel in one warp, and states in one layout from token to token.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import LOG2E, ceil_div, power_of_two

KEEP = 16  # tokens between the states that forward keeps for backward
MIRRORED = tuple(map(int, triton.__version__.split(".")[:2])) < (3, 7)
# exp2 flushes what is too small to 0 and is as fast there: no floor, unlike on a CPU.
SCALE = tl.constexpr(-LOG2E)
LN2 = tl.constexpr(1 / LOG2E)


class Form(NamedTuple):
    """What is compiled into a kernel. before: o reads the state before the update.

    channels: all of them, h; states: of each, n. tokens: unrolled, a divisor of keep. keys: of a
    lane. The product of key_lanes and channel_lanes is 32, a warp.
    """

    channels: Any  # numbers and flags; inside a kernel Triton may have wrapped them
    states: Any
    before: Any
    reverse: Any
    keys: Any
    warps: Any
    key_lanes: Any
    channel_lanes: Any
    tokens: Any = 8
    keep: Any = KEEP
    mirrored: Any = MIRRORED

    @staticmethod
    def of(h: int, states: int, *, before: bool, reverse: bool, back: bool) -> Form:
        """Four states to a lane: as many as it loads at once, so that they stay there."""
        n = power_of_two(states)
        keys = min(4, n)
        channel_lanes = 32 * keys // n
        # More warps share a sum over channels, and the program's part of it costs memory.
        warps = (4 if n <= 16 else 8) if back else 1
        warps = min(warps, power_of_two(ceil_div(h, channel_lanes)))
        return Form(h, states, before, reverse, keys, warps, n // keys, channel_lanes)


constexpr = Form  # Triton compiles in what is annotated with this word


@triton.jit
def along(length: tl.constexpr, axis: tl.constexpr, FORM: constexpr):
    """0 to length - 1 along an axis of a tile."""
    i = tl.arange(0, length)
    if axis == (3 if FORM.mirrored else 0):
        i = i[:, None, None, None]
    elif axis == (2 if FORM.mirrored else 1):
        i = i[None, :, None, None]
    elif axis == (1 if FORM.mirrored else 2):
        i = i[None, None, :, None]
    else:
        i = i[None, None, None, :]
    return i


@triton.jit
def total(x, axis: tl.constexpr, FORM: constexpr):
    """The sum along an axis of a tile, which stays with length 1."""
    return tl.sum(x, 3 - axis if FORM.mirrored else axis, keep_dims=True)


@triton.jit
def program(T, tokens, FORM: constexpr):
    """Batch, segment of time, how many there are, and block of channels; and h, n of its states."""
    width = FORM.warps * FORM.channel_lanes
    blocks = tl.cdiv(FORM.channels, width)
    segments = tl.cdiv(T, tokens)
    block, rest = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    n = along(FORM.key_lanes, 2, FORM) * FORM.keys + along(FORM.keys, 0, FORM)
    h = along(FORM.warps, 1, FORM) * FORM.channel_lanes + along(FORM.channel_lanes, 3, FORM)
    return (
        tl.cast(rest // segments, tl.int64),
        rest % segments,
        segments,
        block,
        block * width + h,
        n,
    )


@triton.jit
def rates(rate, RATE: tl.constexpr, b, h, n, FORM: constexpr):
    """-rate LOG2E of a tile of states, so that alpha = exp2(step times this)."""
    at = (b * RATE * FORM.channels + h) * FORM.states + n
    found = tl.load(rate + at, mask=(h < FORM.channels) & (n < FORM.states), other=0.0)
    return found.to(tl.float32) * SCALE


@triton.jit
def tokens_of(x, X: tl.constexpr, b, s, T, at, there, FORM: constexpr):
    """Tokens of x from the s-th in the order of the walk, one tensor each; 0 where there are none.
    X: whether x has more than one batch row; how far apart its tokens and its heads are.
    """
    begin = x + (b * X[0] * T + (T - 1 - s if FORM.reverse else s)) * X[1]
    found = ()
    C: tl.constexpr = FORM.tokens
    for i in tl.static_range(C):  # pyright: ignore[reportGeneralTypeIssues]
        token = begin - i * X[1] if FORM.reverse else begin + i * X[1]
        x_i = tl.load(token + at, mask=there & (s >= 0) & (s + i < T), other=0.0)
        found = found + (x_i.to(tl.float32),)
    return found


@triton.jit
def inputs(
    step, STEP: tl.constexpr, v, V: tl.constexpr, k, K: tl.constexpr, q, Q: tl.constexpr,
    b, s, T, h, n, FORM: constexpr,
):  # fmt: skip
    """One tuple: steps of some tokens, their values, and keys and queries where not None.

    Loads cannot overtake stores, so a walk asks for its next tokens before it stores anything.
    """
    channel = h < FORM.channels
    found = tokens_of(step, STEP, b, s, T, h, channel, FORM)
    found = found + tokens_of(v, V, b, s, T, h, channel, FORM)
    # Every lane asks for its own, even where heads share: Triton then leaves states where they are.
    there = channel & (n < FORM.states)
    if k is not None:
        found = found + tokens_of(k, K, b, s, T, n + h * K[2], there, FORM)
    if q is not None:
        found = found + tokens_of(q, Q, b, s, T, n + h * Q[2], there, FORM)
    return found


@triton.jit
def one_minus(alpha, log2):
    """1 - alpha for alpha = exp2(log2), exact near alpha = 1."""
    y = log2 * LN2
    # The next term, y^7 / 7!, is below float32's rounding of y where y > -1/4.
    series = 1 + y * (1 / 4) * (1 + y * (1 / 5) * (1 + y * (1 / 6)))
    series = -y * (1 + y * (1 / 2) * (1 + y * (1 / 3) * series))
    return tl.where(y > -0.25, series, 1 - alpha)


@triton.jit(do_not_specialize=["T", "tokens"])
def ends_kernel(
    x, y, step, rate, ends, sums, T, tokens,
    X: tl.constexpr, Y: tl.constexpr, STEP: tl.constexpr, RATE: tl.constexpr, FORM: constexpr,
    BACK: tl.constexpr, ADD_FIRST: tl.constexpr,
):  # fmt: skip
    """What a segment makes of the state 0, and the sum of its steps.
    x: k, or q in the backward pass, which is BACK: from the last token to the first. y: v, or d_o.
    """
    b, segment, segments, _, h, n = program(T, tokens, FORM)  # pyright: ignore[reportGeneralTypeIssues]
    r = rates(rate, RATE, b, h, n, FORM)
    S = tl.zeros(r.shape, tl.float32)  # keys warps lanes lanes
    steps = h * 0.0  # 1 warps 1 lanes
    first, last = segment * tokens, tl.minimum(segment * tokens + tokens, T)
    C: tl.constexpr = FORM.tokens
    tiles = tl.cdiv(last - first, C)
    s = first + (tiles - 1) * C if BACK else first
    ahead = inputs(step, STEP, y, Y, x, X, None, X, b, s, T, h, n, FORM)
    for _ in range(tiles):
        now = ahead
        s += -C if BACK else C
        ahead = inputs(step, STEP, y, Y, x, X, None, X, b, s, T, h, n, FORM)
        for u in tl.static_range(C):
            log2 = now[C - 1 - u if BACK else u] * r
            alpha = tl.exp2(log2)
            factor = one_minus(alpha, log2)
            if x is not None:
                factor = now[3 * C - 1 - u if BACK else 2 * C + u]
            added = factor * now[2 * C - 1 - u if BACK else C + u]
            S = alpha * (S + added) if ADD_FIRST else alpha * S + added
            steps += now[C - 1 - u if BACK else u]
    at, channel = (b * segments + segment) * FORM.channels + h, h < FORM.channels
    tl.store(ends + at * FORM.states + n, S, mask=channel & (n < FORM.states))
    tl.store(sums + at, steps, mask=channel)


def compilations() -> list[Compilation]:
    signature = dict.fromkeys(("x", "y"), "*bf16") | {"T": "i32", "tokens": "i32"}
    signature |= dict.fromkeys(("step", "rate", "ends", "sums"), "*fp32")
    lies = {"X": (1, 16, 0), "Y": (1, 1024, 0), "STEP": (1, 1024, 0), "RATE": 0}
    found = []
    for back in (False, True):
        form = Form.of(1024, 16, before=False, reverse=back, back=back)
        constants = {**lies, "FORM": form, "BACK": back, "ADD_FIRST": back}
        name = "ssm ends " + ("back" if back else "forth")
        found.append(Compilation(name, ends_kernel, signature, constants, form.warps))
    return found
