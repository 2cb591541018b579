"""What the RWKV models share: token shifts, GroupNorm, and initial tables, which know the layer.

As in BlinkDL/RWKV-LM: RWKV-v4neo/src/model.py, RWKV-v5/src/model.py and
RWKV-v7/train_temp/src/model.py. c counts channels from 0.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Dims, Map, Stream, formula

Side = Literal["current", "previous"]


def token_shift(inner: Map, mix: Callable[[Dims], Tensor], *, of: Side = "current") -> maps.Built:
    """inner applied to mu * u_t + (1 - mu) * u_{t-1}; mu is the share `of` the other one in RWKV-7.

    mix: Dims -> initial mu, d_u. Where a named short convolution replaces the model's own local
    mixing, inner is applied to u.
    """

    def build(dims: Dims) -> nn.Module:
        return TokenShift(inner(dims), mix(dims), of) if dims.own_local else inner(dims)

    return maps.Built(formula(inner).replace("u ", "shift(u) "), build)


class TokenShift(nn.Module):
    no_decay = ("mu",)

    def __init__(self, inner: nn.Module, mu: Tensor, of: Side) -> None:
        super().__init__()
        self.inner, self.of = inner, of
        self.mu = nn.Parameter(mu)

    def forward(self, s: Stream) -> Tensor:
        shifted, ends = copy.copy(s), (s.previous(), s.u)
        start, end = ends if self.of == "current" else ends[::-1]
        shifted.u = torch.lerp(start, end, self.mu)  # b t d
        return self.inner(shifted)


def depth_ratio(dims: Dims) -> float:
    """0 in the first layer, 1 in the last; 0 where there is one layer only."""
    return dims.layer / max(dims.depth - 1, 1)


def rising(dims: Dims, power: float) -> Tensor:
    """(c/d)^(power (1 - layer/depth)), d_u: mu of a token shift, or what is missing to 1."""
    return (torch.arange(dims.d_u) / dims.d_u) ** (power * (1 - dims.layer / dims.depth))


def ramp(n: int) -> Tensor:
    """c / (n - 1), from 0 to 1 over n channels."""
    return torch.arange(n) / max(n - 1, 1)


def speeds(dims: Dims, slowest: float, rise: float) -> Tensor:
    """Initial w of alpha = exp(-exp(w)), (h k): from `slowest` up by `rise` (RWKV-4 and 6)."""
    return slowest + rise * ramp(dims.heads * dims.d_k) ** (0.7 + 1.3 * depth_ratio(dims))


def zigzag(n: int) -> Tensor:
    """0, 1, -1, 0, ... for n channels: the pattern in the initial bonus of RWKV-4 and 6."""
    return torch.arange(1, n + 1) % 3 - 1


def group_norm(power: float) -> maps.Built:
    """GroupNorm over heads, eps 1e-5 head_size_divisor^2; its weights start at ((layer + 1) /
    depth)^power (RWKV-6 and 7)."""
    norm = maps.layer_norm("head", affine="each", eps=64e-5)

    def build(dims: Dims) -> nn.Module:
        module = norm(dims)
        module.get_parameter("weight").data.fill_(((dims.layer + 1) / dims.depth) ** power)
        return module

    return maps.Built(norm.formula, build)
