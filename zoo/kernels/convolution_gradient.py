"""The gradients of a short convolution, in one kernel and one sum over what its programs found."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.convolution import (
    TO_EXP2,
    WARPS,
    blocks,
    compilation,
    normal,
    prepared,
    seen,
    sigmoid,
    summed,
    tap,
)
from zoo.kernels.launch import ceil_div

CHANNELS = 32  # of one program's block, at most


def backward(
    d_y: Tensor,
    u: Tensor,
    tail: Tensor | None,
    taps: Tensor,
    bias: Tensor | None,
    activation: str,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Shapes as in `forward`. Returns: the gradients of u, tail, taps and bias, if there are any.

    The tokens that read u_t follow it, so each program computes z again for the kernel - 1 tokens
    behind its block: nothing but u is kept from the forward pass.
    """
    (b, t, d), (groups, kernel, _) = u.shape, taps.shape
    dtypes = taps.dtype, None if bias is None else bias.dtype
    u, tail, taps, bias = prepared(u, tail, taps, bias)
    d_y = d_y if d_y.stride(2) == 1 else d_y.contiguous()
    d_u = u.new_empty(b, t, d)
    d_tail = None if tail is None else torch.empty_like(tail)
    past = 0 if tail is None else kernel - 1
    block, channels = blocks(past + t, d, CHANNELS)
    parts = ceil_div(past + t, block)
    # What each program finds, which torch adds in the same order every time; the bias comes last.
    found = u.new_empty(b * parts, kernel + 1, d, dtype=torch.float32)
    strides = (u.stride(0), u.stride(1), d_y.stride(0), d_y.stride(1))
    with torch.cuda.device_of(u):
        backward_kernel[b * parts, ceil_div(d, channels)](
            *(d_y, u, tail, taps, bias, d_u, d_tail, found, t, d, b // groups, *strides),
            *(past, kernel, activation, block, channels),
            num_warps=WARPS,  # pyright: ignore[reportCallIssue]
        )
    total = found.view(groups, -1, kernel + 1, d).sum(1)  # g kernel+1 d
    d_bias = None if dtypes[1] is None else total[:, kernel].to(dtypes[1])
    return d_u, d_tail, total[:, :kernel].to(dtypes[0]), d_bias


@triton.jit
def backward_kernel(
    d_y, u, tail, taps, bias, d_u, d_tail, found, t, d, rows, u_b, u_t, y_b, y_t,
    PAST: tl.constexpr, KERNEL: tl.constexpr, ACTIVATION: tl.constexpr,
    BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    parts = tl.cdiv(PAST + t, BT)
    row = tl.program_id(0) // parts
    at = (tl.program_id(0) % parts) * BT - PAST + tl.arange(0, BT)
    c = tl.program_id(1) * BD + tl.arange(0, BD)
    u += tl.cast(row, tl.int64) * u_b
    taps += tl.cast(row // rows, tl.int64) * KERNEL * d
    if PAST > 0:
        tail += tl.cast(row, tl.int64) * PAST * d
    if bias is not None:
        bias += tl.cast(row // rows, tl.int64) * d
    d_y += tl.cast(row, tl.int64) * y_b
    found += tl.cast(tl.program_id(0), tl.int64) * (KERNEL + 1) * d
    x = tl.zeros((BT, BD), dtype=tl.float32)
    for m in tl.static_range(KERNEL):
        inside = ((at + m >= 0) & (at + m < t))[:, None] & (c < d)[None, :]
        place = tl.cast(at + m, tl.int64)[:, None] * y_t + c[None, :]
        g = tl.load(d_y + place, mask=inside, other=0.0).to(tl.float32)  # of the token at + m
        if ACTIVATION != "none":
            z = summed(u, tail, taps, bias, at, m, c, t, d, u_t, PAST, KERNEL, BT, BD)
            g *= slope(z, ACTIVATION)
        x += g * tap(taps, KERNEL - 1 - m, c, d)
        if m == 0:
            for j in tl.static_range(KERNEL):
                read = seen(u, tail, at, j - (KERNEL - 1), c, t, d, u_t, PAST)
                tl.store(found + j * d + c, tl.sum(g * read, axis=0), mask=c < d)
            tl.store(found + KERNEL * d + c, tl.sum(g, axis=0), mask=c < d)
    inside = ((at >= 0) & (at < t))[:, None] & (c < d)[None, :]
    place = (tl.cast(row, tl.int64) * t + at)[:, None] * d + c[None, :]
    tl.store(d_u + place, x.to(d_u.dtype.element_ty), mask=inside)
    if PAST > 0:
        inside = (at < 0)[:, None] & (c < d)[None, :]
        place = (tl.cast(row, tl.int64) * PAST + at + PAST)[:, None] * d + c[None, :]
        tl.store(d_tail + place, x.to(d_tail.dtype.element_ty), mask=inside)


@triton.jit
def slope(z, ACTIVATION: tl.constexpr):
    """The activation's derivative."""
    if ACTIVATION == "silu":
        s = sigmoid(z)
        return s * (1.0 + z * (1.0 - s))
    elif ACTIVATION == "relu":
        return tl.where(z <= 0.0, 0.0, 1.0)
    else:
        return normal(z) + z * 0.3989422804014327 * tl.exp2(-0.5 * z * z * TO_EXP2)


def compilations() -> list[Compilation]:
    """Those of the forward pass, and plain float32."""
    forms = [("silu4", "bf16"), ("silu4", "fp32"), ("silu4-bias", "fp32"), ("silu4-tail", "bf16")]
    return [
        compilation(backward_kernel, *form, channels=CHANNELS)
        for form in (*forms, ("none2", "bf16"))
    ]
