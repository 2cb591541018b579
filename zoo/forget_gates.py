"""Forget gates that never fall below gamma, a bound that rises with the layer (HGRN, HGRN2).

gamma of a layer is a sum over rows of softmax(Gamma). Gamma: layers d, a parameter of the whole
model, which every layer finds in the stream (arXiv 2311.04823, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Stream


def gamma(start: float) -> Callable[[int, int], dict[str, Tensor]]:
    """Gamma, for the `shared` of a Spec: (depth, d) -> layers d, all entries at `start`."""
    return lambda depth, d: {"gamma": nn.Parameter(torch.full((depth, d), start))}


def bounded_decay(
    *, first: Literal[0, 1], bias: bool = False, rotating: bool = False
) -> maps.Built:
    """alpha = gamma + (1 - gamma) sigmoid(u W + b), and times exp(j theta) where rotating.

    first: gamma of layer l is the sum of l rows of softmax(Gamma), from this one on.
    """
    written = f"γ + (1-γ) σ({maps.linear('alpha', bias=bias).formula})"
    return maps.Built(
        f"({written}) e^{{jθ}}" if rotating else written,
        lambda dims: BoundedDecay(dims, first, bias, rotating),
    )


class BoundedDecay(nn.Module):
    no_decay = ("theta",)

    def __init__(self, dims: Dims, first: int, bias: bool, rotating: bool) -> None:
        super().__init__()
        self.layer, self.heads, self.first = dims.layer, dims.heads, first
        self.project = nn.Linear(dims.d_u, dims.heads * dims.d_k, bias=bias)
        base = 10_000.0 ** (-2 * torch.arange(dims.heads) / dims.heads)  # h
        self.theta = nn.Parameter(base) if rotating else None

    def forward(self, s: Stream) -> Decay:
        z = maps.at_least_float32(self.project(s.u)).unflatten(2, (self.heads, -1))  # b t h k
        if self.layer == 0:
            return Decay(step=-F.logsigmoid(z), angle=self.theta)
        share = s.shared["gamma"].softmax(0)  # layers (h k)
        gamma = share[self.first : self.first + self.layer].sum(0).unflatten(0, (self.heads, -1))
        return Decay(step=-torch.log(gamma + (1 - gamma) * z.sigmoid()), angle=self.theta)
