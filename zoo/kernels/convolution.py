"""Causal depthwise convolution of a few taps with its bias and activation, in one kernel.

y_t = act(sum_j w_j u_{t-kernel+1+j} + b), summed in float32 whatever u and w are stored in. The
tokens before the first one come in a tensor of their own, so that no copy puts them before the
rest. Rows of the batch are in groups of equal size, each with taps of its own.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import LOG2E, ceil_div, power_of_two

TOKENS, CHANNELS = 32, 64  # of one program's block, at most
WARPS = 8
# What can be compiled ahead: taps, activation, whether there is a bias, and tokens before.
FORMS = {
    "silu4": (4, "silu", False, False),
    "silu4-bias": (4, "silu", True, False),
    "silu4-tail": (4, "silu", False, True),
    "none2": (2, "none", False, False),
}
POINTERS = ("d_y", "u", "tail", "taps", "bias", "y", "d_u", "d_tail", "found")
SIZES = ("t", "d", "rows", "u_b", "u_t", "y_b", "y_t")

TO_EXP2: tl.constexpr = tl.constexpr(LOG2E)


def forward(
    u: Tensor, tail: Tensor | None, taps: Tensor, bias: Tensor | None, activation: str
) -> Tensor:
    """u: b t d; tail: b kernel-1 d, the tokens before it, None for zeros; taps: g kernel d; bias:
    g d. Returns: b t d, in the dtype of u."""
    (b, t, d), (groups, kernel, _) = u.shape, taps.shape
    u, tail, taps, bias = prepared(u, tail, taps, bias)
    y = u.new_empty(b, t, d, dtype=u.dtype)
    block, channels = blocks(t, d, CHANNELS)
    with torch.cuda.device_of(u):
        forward_kernel[b * ceil_div(t, block), ceil_div(d, channels)](
            *(u, tail, taps, bias, y, t, d, b // groups, u.stride(0), u.stride(1)),
            *(0 if tail is None else kernel - 1, kernel, activation, block, channels),
            num_warps=WARPS,  # pyright: ignore[reportCallIssue]
        )
    return y


def prepared(
    u: Tensor, tail: Tensor | None, taps: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Neighbouring channels side by side, as the kernels read them; u alone may have strides."""
    u = u if u.stride(2) == 1 else u.contiguous()
    tail = None if tail is None else tail.contiguous()
    return u, tail, taps.contiguous(), None if bias is None else bias.contiguous()


def blocks(t: int, d: int, channels: int) -> tuple[int, int]:
    """Tokens and channels of one program's block."""
    return min(TOKENS, power_of_two(t, 8)), min(channels, power_of_two(d, 16))


@triton.jit
def forward_kernel(
    u, tail, taps, bias, y, t, d, rows, u_b, u_t,
    PAST: tl.constexpr, KERNEL: tl.constexpr, ACTIVATION: tl.constexpr,
    BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) // tl.cdiv(t, BT)
    at = (tl.program_id(0) % tl.cdiv(t, BT)) * BT + tl.arange(0, BT)
    c = tl.program_id(1) * BD + tl.arange(0, BD)
    u += tl.cast(row, tl.int64) * u_b
    taps += tl.cast(row // rows, tl.int64) * KERNEL * d
    if PAST > 0:
        tail += tl.cast(row, tl.int64) * PAST * d
    if bias is not None:
        bias += tl.cast(row // rows, tl.int64) * d
    z = summed(u, tail, taps, bias, at, 0, c, t, d, u_t, PAST, KERNEL, BT, BD)
    if ACTIVATION == "silu":
        z = z * sigmoid(z)
    elif ACTIVATION == "relu":
        z = tl.where(z <= 0.0, 0.0, z)  # what is not a number stays so
    elif ACTIVATION == "gelu":
        z = z * normal(z)
    place = (tl.cast(row, tl.int64) * t + at)[:, None] * d + c[None, :]
    tl.store(y + place, z.to(y.dtype.element_ty), mask=(at < t)[:, None] & (c < d)[None, :])


@triton.jit
def seen(u, tail, at, ahead: tl.constexpr, c, t, d, u_t, PAST: tl.constexpr):
    """u_{at+ahead}: BT BD, float32. Tokens that do not exist are 0."""
    i, known = at + ahead, (c < d)[None, :]
    place = tl.cast(i, tl.int64)[:, None] * u_t + c[None, :]
    x = tl.load(u + place, mask=((i >= 0) & (i < t))[:, None] & known, other=0.0).to(tl.float32)
    if PAST > 0:
        before = ((i < 0) & (i >= -PAST))[:, None] & known
        place = (i + PAST)[:, None] * d + c[None, :]
        x += tl.load(tail + place, mask=before, other=0.0).to(tl.float32)
    return x


@triton.jit
def tap(taps, j: tl.constexpr, c, d):
    """w_j: 1 BD."""
    return tl.load(taps + j * d + c, mask=c < d, other=0.0).to(tl.float32)[None, :]


@triton.jit
def summed(
    u, tail, taps, bias, at, ahead: tl.constexpr, c, t, d, u_t,
    PAST: tl.constexpr, KERNEL: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """What the activation of token at + ahead sees: BT BD."""
    z = tl.zeros((BT, BD), dtype=tl.float32)
    for j in tl.static_range(KERNEL):
        x = seen(u, tail, at, ahead + j - (KERNEL - 1), c, t, d, u_t, PAST)
        z += x * tap(taps, j, c, d)
    if bias is not None:
        z += tl.load(bias + c, mask=c < d, other=0.0).to(tl.float32)[None, :]
    return z


@triton.jit
def sigmoid(z):
    e = tl.exp2(-tl.abs(z) * TO_EXP2)  # never of a positive number
    return tl.where(z >= 0.0, 1.0, e) / (1.0 + e)


@triton.jit
def normal(z):
    """The standard normal distribution function."""
    return 0.5 * (1.0 + tl.math.erf(z * 0.7071067811865476))


def compilations() -> list[Compilation]:
    """MetaLA's and Mamba's convolution, the one of two taps, and one that carries a tail."""
    forms = [("silu4", "bf16"), ("silu4-bias", "fp32"), ("silu4-tail", "bf16"), ("none2", "bf16")]
    return [compilation(forward_kernel, *form, channels=CHANNELS) for form in forms]


def compilation(way: Any, form: str, dtype: str, *, channels: int) -> Compilation:
    """u in dtype; everything else in float32, as under automatic casting."""
    kernel, activation, biased, carried = FORMS[form]
    absent = (() if carried else ("tail", "d_tail")) + (() if biased else ("bias",))
    pointers = [name for name in POINTERS if name in way.arg_names and name not in absent]
    types = {name: f"*{dtype}" if name in ("u", "tail", "d_u") else "*fp32" for name in pointers}
    types |= {name: "i32" for name in SIZES if name in way.arg_names}
    constants: dict[str, Any] = {name: None for name in absent if name in way.arg_names}
    constants |= {"PAST": kernel - 1 if carried else 0, "KERNEL": kernel, "ACTIVATION": activation}
    constants |= {"BT": TOKENS, "BD": channels}
    name = f"convolution {way.fn.__name__.removesuffix('_kernel')} {form} {dtype}"
    return Compilation(name, way, types, constants, num_warps=WARPS)
