"""Cross entropy of a linear head, in chunks of rows where all logits at once are too many.

One pass over the chunks makes logits, loss and both gradients. On a CPU a chunk stays in cache (a
vocabulary of 8192 makes the head most of a small model's step); on a GPU this bounds the memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits held at once, of all stacked models: in float32 4 MB on a CPU, about the size of a
# second-level cache, and 256 MB on a GPU, enough to fill it.
CHUNK = {"cpu": 2**20, "cuda": 2**26}
# Up to so many logits of one model, torch's own functions make fewer passes or launches.
PLAIN = {"cpu": 2**20, "cuda": 2**22}


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of -log softmax(hidden weight^T)[target], nats; at least float32.

    hidden: n d. weight: vocabulary d. targets: n, int64. Matrices are multiplied in the dtype that
    autocast asks for, otherwise in that of `hidden`.
    """
    logits = hidden.shape[0] * weight.shape[0]
    if torch.is_grad_enabled() and logits > PLAIN[hidden.device.type]:
        return Chunked.apply(hidden, weight, targets)[0]
    dtype = multiplied_in(hidden)
    logits = F.linear(hidden.to(dtype), weight.to(dtype))  # n vocabulary
    return F.cross_entropy(logits.to(summed_in(dtype)), targets)


def multiplied_in(hidden: Tensor) -> torch.dtype:
    """Autocast leaves float64 alone."""
    kind = hidden.device.type
    if torch.is_autocast_enabled(kind) and hidden.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return hidden.dtype


def summed_in(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class Chunked(torch.autograd.Function):
    """The gradients are made in forward, where each chunk's logits are at hand.

    Every tensor may have a first axis of models that are trained together.
    """

    @staticmethod
    def forward(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, v = hidden.shape[-2], weight.shape[-2]
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=summed_in(weight.dtype))
        total = hidden.new_zeros(hidden.shape[:-2], dtype=summed_in(hidden.dtype))
        dtype = multiplied_in(hidden)
        tensors = (hidden, weight, targets, d_hidden, d_weight, total)
        with torch.autocast(hidden.device.type, enabled=False):
            if hidden.dim() == 2:
                add(hidden, weight, targets, d_hidden, d_weight, total, dtype)
            else:
                together = max(1, CHUNK[hidden.device.type] // (n * v))
                for h, w, t, d_h, d_w, sums in zip(*(x.split(together) for x in tensors)):
                    if together > 1:
                        add(h, w, t, d_h, d_w, sums, dtype)
                    else:  # through the functions for matrices, as on its own
                        add(h[0], w[0], t[0], d_h[0], d_w[0], sums[0], dtype)
        return total.div_(n), d_hidden.div_(n), d_weight.div_(n).to(weight.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # pyright: ignore
        _, d_hidden, d_weight = output
        ctx.mark_non_differentiable(d_hidden, d_weight)
        ctx.save_for_backward(d_hidden, d_weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_) -> tuple[Tensor, Tensor, None]:  # pyright: ignore
        d_hidden, d_weight = ctx.saved_tensors
        factor = grad[..., None, None]
        d_hidden, d_weight = ((x * factor).to(x.dtype) for x in (d_hidden, d_weight))
        return d_hidden, d_weight, None

    @staticmethod
    def vmap(info, in_dims, *tensors: Tensor):  # pyright: ignore
        each = (
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip(tensors, in_dims, strict=True)
        )
        return Chunked.apply(*each), (0, 0, 0)


def add(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    d_hidden: Tensor,
    d_weight: Tensor,
    total: Tensor,
    dtype: torch.dtype,
) -> None:
    """Writes the gradients of the sum of -log softmax over the rows, and adds it to `total`."""
    models = weight.shape[:-2].numel()
    rows = max(1, CHUNK[hidden.device.type] // (weight.shape[-2] * models))
    w = weight.to(dtype)
    add_product = d_weight.addmm_ if weight.dim() == 2 else d_weight.baddbmm_
    for first in range(0, hidden.shape[-2], rows):
        part = slice(first, first + rows)
        x, at = hidden[..., part, :].to(dtype), targets[..., part].unsqueeze(-1)  # n d, n 1
        p = torch.log_softmax(x @ w.mT, dim=-1, dtype=total.dtype)  # n vocabulary
        total -= p.gather(-1, at).sum((-2, -1))
        # d loss / d logits = softmax - one-hot, in place; one index in a row, so no order matters
        p.exp_().scatter_add_(-1, at, p.new_full(at.shape, -1.0))
        p = p.to(dtype)
        d_hidden[..., part, :] = p @ w
        if dtype == d_weight.dtype:
            add_product(p.mT, x)
        else:
            d_weight += p.mT @ x
