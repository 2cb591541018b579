"""The short convolution of a layer: shifted products in torch, or one Triton kernel on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo.scan import on_gpu
from zoo.spec import Stream

LONGEST = 8  # taps that the kernel takes; each one is a load of its own
# What the kernel applies itself; any other activation follows it.
FUSED: dict[Any, str] = {F.silu: "silu", F.relu: "relu", F.gelu: "gelu"}


def convolved(
    s: Stream,
    owner: nn.Module,
    u: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """y_t = act(sum_j w_j u_{t-kernel+1+j} + b). u: b t d; weight: d kernel; bias: d.

    The stream has the tokens before u and keeps the last ones, in the owner's name.
    Returns: b t d in the dtype of u, which automatic casting may have made bfloat16 where weights
    are float32; sums are in the wider of the two.
    """
    t, kernel = u.shape[1], weight.shape[1]
    if choose(u, weight) == "triton":
        tail = preceding(s, owner, u, kernel - 1)
        y = fused(u, tail, weight, bias, FUSED.get(activation, "none"))
        return y if activation in FUSED else activation(y)
    full = s.past(owner, u, kernel - 1) if kernel > 1 else u
    # A sum of shifted products: for 2 to 4 taps that needs no transposed copy of u.
    y = full[:, :t] * weight[:, 0]  # b t d
    for j in range(1, kernel):
        y = torch.addcmul(y, full[:, j : j + t], weight[:, j])
    return activation(y if bias is None else y + bias).to(u.dtype)


def choose(u: Tensor, weight: Tensor) -> Literal["triton", "torch"]:
    """Which of the two computes the convolution of u."""
    return "torch" if refuses(u, weight) else "triton"


def refuses(u: Tensor, weight: Tensor) -> str:
    """Why the kernel cannot run; empty when it can."""
    if torch.compiler.is_compiling():
        return "torch.compile fuses the plain form by itself"
    if weight.shape[1] > LONGEST:
        return f"takes {LONGEST} taps at most, not {weight.shape[1]}"
    return on_gpu.missing(u, torch.promote_types(u.dtype, weight.dtype))


def preceding(s: Stream, owner: nn.Module, u: Tensor, n: int) -> Tensor | None:
    """The n tokens before u, b n d, None if u begins the sequence; what Stream.past keeps, kept."""
    if n == 0:
        return None
    b, t, d = u.shape
    tail = s.tail(owner, u[:, :0]).to(u.dtype)  # b n d, or b 0 d
    if t >= n:
        s.keep(owner, u[:, t - n :].clone())
    else:
        zeros = u.new_zeros(b, n - tail.shape[1], d)
        s.keep(owner, torch.cat([zeros, tail, u], dim=1)[:, t:].clone())  # b n d
    return tail if tail.shape[1] else None


def fused(
    u: Tensor, tail: Tensor | None, weight: Tensor, bias: Tensor | None, activation: str
) -> Tensor:
    """u: b t d; tail: b kernel-1 d, None for zeros; weight: d kernel; bias: d. Returns: b t d."""
    taps = weight.mT.contiguous().unsqueeze(0)  # 1 kernel d: neighbouring channels side by side
    biases = None if bias is None else bias.unsqueeze(0)  # 1 d
    return Convolution.apply(u, tail, taps, biases, activation)  # pyright: ignore


class Convolution(torch.autograd.Function):
    """taps: g kernel d; bias: g d. Each of the g groups is for as many rows of the batch."""

    @staticmethod
    def forward(
        u: Tensor, tail: Tensor | None, taps: Tensor, bias: Tensor | None, activation: str
    ) -> Tensor:
        from zoo.kernels import convolution

        return convolution.forward(u, tail, taps, bias, activation)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.activation = inputs[4]
        ctx.save_for_backward(*inputs[:4])

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        found = iter(Gradient.apply(*d_outputs, *given, ctx.activation))  # pyright: ignore
        return *(None if x is None else next(found) for x in given), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Tensor, int]:
        y: Any = Convolution.apply(*folded(info, in_dims, inputs))
        return y.unflatten(0, (info.batch_size, -1)), 0


class Gradient(torch.autograd.Function):
    """A function of its own, because vmap may be around it. Returns those of the tensors given."""

    @staticmethod
    def forward(d_y: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
        from zoo.kernels import convolution_gradient

        found = convolution_gradient.backward(d_y, *inputs)
        return tuple(x for x in found if x is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor) -> None:
        raise NotImplementedError("the fused convolution has first derivatives only")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        found: Any = Gradient.apply(*folded(info, in_dims, inputs))
        split = tuple(x.unflatten(0, (info.batch_size, -1)) for x in found)
        return split, (0,) * len(split)


def folded(info: Any, in_dims: Any, inputs: Any) -> list[Any]:
    """(mapped, b, ...) -> (mapped b, ...) for every tensor, so that a member's groups stay its own.

    A tensor that is not mapped is repeated, which taps and biases are small enough for.
    """
    return [
        (x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
        if isinstance(x, Tensor)
        else x
        for x, dim in zip(inputs, in_dims, strict=True)
    ]
