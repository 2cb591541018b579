"""Maps of the delta rule: unit keys, a write strength, and the erase of what a key finds.

S_t = (I - beta k^T k) alpha_t S_{t-1} + beta k^T v for DeltaNet, Gated DeltaNet and KDA, as in
flash-linear-attention; RWKV-7 has maps of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.discretisation import step_bias
from zoo.maps import Built, at_least_float32, feature_map
from zoo.spec import Decay, Dims, Erase, Map, Stream, formula


def unit(inner: Map) -> Built:
    """inner over its length in each head, sqrt(sum of squares + 1e-6) (fla, modules/l2norm.py)."""

    def phi(x: Tensor) -> Tensor:
        y = at_least_float32(x)
        return (y * torch.rsqrt(y.square().sum(-1, keepdim=True) + 1e-6)).to(x.dtype)

    return feature_map("unit", phi, inner)


def key(of: Map, beta: Map) -> Built:
    """beta * kappa, what the delta rule writes with; kappa, made by `of`, is left for erase."""
    written = f"β κ, β = {formula(beta)}, κ = {formula(of)}"
    return Built(written, lambda dims: Key(of(dims), beta(dims)))


class Key(nn.Module):
    def __init__(self, key: nn.Module, beta: nn.Module) -> None:
        super().__init__()
        self.key, self.beta = key, beta

    def forward(self, s: Stream) -> Tensor:
        s.notes["key"] = self.key(s)  # b t h k
        return self.beta(s) * s.notes["key"]


def erase(*, decays: bool) -> Built:
    """k_t^T (alpha_t key_t): what the key finds in the state, once that has decayed, goes."""
    return Built("k_tᵀ (α_t ⊙ κ_t)" if decays else "k_tᵀ κ_t", lambda dims: KeyErase())


class KeyErase(nn.Module):
    def forward(self, s: Stream) -> Erase:
        read, log_alpha = s.notes["key"], s.decay.log()
        if log_alpha is not None:
            read = read * log_alpha.clamp(min=-80.0).exp()  # exp of less is slow
        return Erase(write=s.k, read=read)  # b t h k


def softplus_decay(inner: Map, least: float, most: float) -> Built:
    """alpha = exp(-e^A softplus(inner + b)), A per head, e^A uniform between `least` and `most` at
    the start; b as many per head as inner has channels, and as in `step_bias`."""
    written = f"exp(-e^A softplus({formula(inner)} + b_α))"

    def build(dims: Dims) -> nn.Module:
        return SoftplusDecay(inner(dims), dims.heads, least, most)

    return Built(written, build)


class SoftplusDecay(nn.Module):
    no_decay = ("A_log",)

    def __init__(self, inner: nn.Module, heads: int, least: float, most: float) -> None:
        super().__init__()
        self.inner = inner
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(least, most).log())
        width = [p for n, p in inner.named_parameters() if n in ("weight", "up")][-1].shape[0]
        self.bias = nn.Parameter(step_bias(heads, width // heads))  # h 1 or h k

    def forward(self, s: Stream) -> Decay:
        step = F.softplus(at_least_float32(self.inner(s) + self.bias))  # b t h 1 or b t h k
        return Decay(step=step, rate=at_least_float32(self.A_log).exp().unsqueeze(-1))
