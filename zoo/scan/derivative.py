"""Hand-written derivatives: a forward and a backward function as one differentiable function.

vmap folds the mapped axis into the batch axis, so a kernel is free to write into its buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Tensors = tuple[Tensor, ...]


class Kernel(NamedTuple):
    """Every tensor in and out has the batch as axis 0; an input may have 1 there and is broadcast.

    forward: inputs -> (o, state, *kept), kept being whatever backward wants to see again.
    backward: (d_o, d_state, inputs, kept) -> a gradient for each input that is not None, with the
        full batch. Either of d_o and d_state may be None: nobody asked.
    inputs: how many inputs there are.
    """

    forward: Callable[..., Tensors]
    backward: Callable[..., Tensors]
    inputs: int


def differentiable(kernel: Kernel, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
    """o and state of the kernel. inputs: None where the kernel allows it."""
    return Forward.apply(kernel, *inputs)[:2]  # pyright: ignore[reportIndexIssue]


class Forward(torch.autograd.Function):
    @staticmethod
    def forward(kernel: Kernel, *inputs: Tensor | None) -> Tensors:
        return kernel.forward(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.kernel = inputs[0]
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:], *output[2:])

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        gradients = iter(Backward.apply(ctx.kernel, *d_outputs[:2], *saved))  # pyright: ignore
        given = (
            None if x is None else summed(next(gradients), x) for x in saved[: ctx.kernel.inputs]
        )
        return None, *given

    @staticmethod
    def vmap(info: Any, in_dims: Any, kernel: Kernel, *inputs: Tensor | None) -> Any:
        return unfolded(Forward.apply(kernel, *folded(info, in_dims[1:], inputs)), info.batch_size)


class Backward(torch.autograd.Function):
    """A function of its own, because vmap may be around it (per-sample gradients)."""

    @staticmethod
    def forward(kernel: Kernel, *tensors: Tensor | None) -> Tensors:
        saved = tensors[2:]
        with full_precision(saved[kernel.inputs]):
            return kernel.backward(*tensors[:2], saved[: kernel.inputs], saved[kernel.inputs :])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_outputs: Tensor | None) -> None:
        raise NotImplementedError("this scan has first derivatives only; use backend='loop'")

    @staticmethod
    def vmap(info: Any, in_dims: Any, kernel: Kernel, *tensors: Tensor | None) -> Any:
        return unfolded(
            Backward.apply(kernel, *folded(info, in_dims[1:], tensors)), info.batch_size
        )


def full_precision(x: Tensor | None) -> AbstractContextManager[object]:
    """No automatic casting on the device of x."""
    assert x is not None
    available = torch.amp.is_autocast_available(x.device.type)
    return torch.autocast(x.device.type, enabled=False) if available else nullcontext()


def summed(gradient: Tensor, x: Tensor) -> Tensor:
    """Over the batch, where x was broadcast along it."""
    return gradient.sum(0, keepdim=True) if gradient.shape[0] != x.shape[0] else gradient


def folded(
    info: Any, in_dims: Sequence[int | None], tensors: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """(mapped, b, ...) -> (mapped b, ...) for every tensor, mapped or not."""
    pairs = [
        (None if x is None else x.unsqueeze(0) if dim is None else x.movedim(dim, 0))
        for x, dim in zip(tensors, in_dims, strict=True)
    ]
    b = max(x.shape[1] for x in pairs if x is not None)
    return [
        None if x is None else x.expand(info.batch_size, b, *x.shape[2:]).flatten(0, 1)
        for x in pairs
    ]


def unfolded(outputs: Tensors, mapped: int) -> tuple[Tensors, tuple[int, ...]]:
    return tuple(y.unflatten(0, (mapped, -1)) for y in outputs), (0,) * len(outputs)
