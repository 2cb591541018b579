"""Norms around the sub-layers of a block."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm over examples and tokens (S5, LRU). Takes and returns b t d.

    Causal in eval mode alone, where it uses running statistics. In training a token is scaled by
    later tokens and by other examples. Momentum as in S5's run_train.py (0.95, counted from the
    other end; S4 and HGRN have torch's 0.9); torch keeps the unbiased variance where flax keeps the
    biased one. What `valid` (b t bool) leaves out, padding, is in no statistic; such tokens must be
    finite. None: all tokens count.
    """

    def __init__(self, d: int) -> None:
        super().__init__(d, eps=1e-5, momentum=0.05)

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is None or not self.training:
            return super().forward(input.flatten(0, 1)).view_as(input)
        # Sums in the dtype of the parameters: bfloat16 cannot count to 1,000.
        weight = valid.unsqueeze(-1).to(self.weight.dtype)  # b t 1
        count = weight.sum().clamp(min=1)
        mean = (input * weight).sum((0, 1)) / count  # d
        centred = input - mean  # b t d
        variance = (centred.square() * weight).sum((0, 1)) / count  # d
        self._remember(mean, variance * (count / (count - 1).clamp(min=1)))
        scale = self.weight * (variance + self.eps).rsqrt()  # d
        return torch.addcmul(self.bias, centred, scale).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Running statistics, as torch keeps them. mean, variance (unbiased): d."""
        for kept, found in ((self.running_mean, mean), (self.running_var, variance)):
            if kept is not None and self.momentum is not None:
                kept.mul_(1 - self.momentum).add_(found.to(kept.dtype), alpha=self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": lambda d: nn.LayerNorm(d, eps=1e-5),
    "rms": lambda d: nn.RMSNorm(d, eps=1e-6),
    # SimpleRMSNorm of TransNormerLLM, HGRN2 and MetaLA.
    "rms_plain": lambda d: nn.RMSNorm(d, eps=1e-6, elementwise_affine=False),
    "batch": BatchNorm,
}


def normalise(norm: nn.Module, x: Tensor, valid: Tensor | None) -> Tensor:
    """x: b t d through any of NORMS; valid: b t bool, what is no padding (None: all)."""
    return norm(x, valid) if isinstance(norm, BatchNorm) else norm(x)
