"""Cross entropy of a linear head; on a CPU in chunks that stay in cache.

A vocabulary of 8192 makes the head most of a small model's training step on a CPU. There, one pass
over chunks of rows makes logits, loss and both gradients, and never holds all logits at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits held at once: 4 MB in float32, about the size of a second-level cache.
CHUNK = 2**20


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of -log softmax(hidden weight^T)[target], nats.

    hidden: n d. weight: vocabulary d. targets: n, int64.
    """
    chunked = hidden.device.type == "cpu" and hidden.shape[0] * weight.shape[0] > CHUNK
    if chunked and hidden.dtype == weight.dtype and torch.is_grad_enabled():
        return Chunked.apply(hidden, weight, targets)[0]
    logits = F.linear(hidden, weight)  # n vocabulary
    return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), targets)


class Chunked(torch.autograd.Function):
    """The gradients are made in forward, where each chunk's logits are at hand."""

    @staticmethod
    def forward(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = max(1, CHUNK // weight.shape[0])
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        total = hidden.new_zeros(())
        for first in range(0, hidden.shape[0], rows):
            part = slice(first, first + rows)
            x, at = hidden[part], targets[part].unsqueeze(-1)  # n d, n 1
            p = torch.log_softmax(x @ weight.t(), dim=-1)  # n vocabulary
            total -= p.gather(-1, at).sum()
            # d loss / d logits = softmax - one-hot, in place
            p.exp_().scatter_add_(-1, at, p.new_full(at.shape, -1.0))
            torch.mm(p, weight, out=d_hidden[part])
            d_weight.addmm_(p.t(), x)
        n = hidden.shape[0]
        return total / n, d_hidden.div_(n), d_weight.div_(n)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # pyright: ignore
        _, d_hidden, d_weight = output
        ctx.mark_non_differentiable(d_hidden, d_weight)
        ctx.save_for_backward(d_hidden, d_weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_) -> tuple[Tensor, Tensor, None]:  # pyright: ignore
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * grad, d_weight * grad, None
