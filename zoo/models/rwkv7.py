"""RWKV-7 (Peng et al. 2025, arXiv 2503.14456): a delta rule whose erase has its own direction.

As in BlinkDL/RWKV-LM RWKV-v7/rwkv_v7_demo.py, class RWKV_Tmix_x070. S_t = (diag(alpha) -
(a kappa)^T kappa) S_{t-1} + k^T v: the erase reads the undecayed state, and kappa is not k. Six
token shifts; v mixes with layer 0's value (zeros in a later layer that is used alone); GroupNorm,
then the bonus (q r_k k) v, then a gate. 64 channels per head; one head below that width. Starts as
training does (train_temp/src/model.py, class and generate_init_weight). Variant simplified: heads
of 16, ranks of 8, the class's own uniform weights (train_temp/rwkv7_train_simplified.py). With a
named short convolution the shifts step aside. Not reproduced: the learning rate of w0 (x2).

Longer than other models because each function has a shift, a rank and a table of initial values.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import maps, rwkv
from zoo.spec import Decay, Dims, Erase, Map, Spec, Stream, formula, square

FASTEST = math.exp(-0.5)  # log alpha is above minus this


def zigzag(dims: Dims) -> Tensor:
    """-1 to 1 over the channels of each head, its square with its sign."""
    x = 2 * (torch.arange(dims.d_u) % dims.d_k) / max(dims.d_k - 1, 1) - 1
    return x * x.abs()


def slowness(dims: Dims) -> Tensor:
    """Initial w0."""
    rise = rwkv.ramp(dims.d_u) ** (1 + rwkv.depth_ratio(dims) ** 0.3)  # d
    return -5.5 + 6 * rise + 2.5 * zigzag(dims)


def shift(inner: Map, power: float) -> maps.Built:
    """inner of u_t + mu (u_{t-1} - u_t); mu starts at 1 - (c/d)^(power (1 - layer/depth))."""
    return rwkv.token_shift(inner, lambda dims: 1 - rwkv.rising(dims, power), of="previous")


def low_rank(
    letter: str,
    rank: Callable[[int], int],
    start: Callable[[Dims], Tensor] | None = None,
    *,
    inner: maps.Activation = "none",
    activation: maps.Activation = "none",
) -> maps.Built:
    """act(inner(u W1) W2 + b) that starts at its bias: W1 is 0, W2 orthogonal with gain 0.1 (times
    sqrt(rank/d) where that is above 1)."""

    def build(dims: Dims) -> nn.Module:
        module = LowRank(dims, rank(dims.d), dims.d_k, start is not None, inner, activation)
        nn.init.zeros_(module.down)
        gain = 0.1 * max(1.0, rank(dims.d) / module.up.shape[0]) ** 0.5
        nn.init.orthogonal_(module.up, gain=gain)
        if start is not None and module.bias is not None:
            module.bias.data.copy_(start(dims))
        return module

    z = f"{maps.applied(inner, f'u W1_{letter}')} W2_{letter}"
    return maps.Built(maps.applied(activation, z + f" + b_{letter}" * (start is not None)), build)


class LowRank(maps.LowRank):
    no_decay = ("down", "up")


def decay(inner: Map) -> maps.Built:
    """alpha = exp(-e^-0.5 sigmoid(inner)), between 0.545 and 1."""
    return maps.Built(f"exp(-e^-0.5 σ({formula(inner)}))", lambda dims: BoundedDecay(inner(dims)))


class BoundedDecay(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, s: Stream) -> Decay:
        z: Tensor = maps.at_least_float32(self.inner(s))
        return Decay(step=FASTEST * torch.sigmoid(z))  # b t h k


def key(raw: Map, strength: Map) -> maps.Built:
    written = (
        f"k (1 + (a - 1) ⊙ k_a), k = {formula(raw)}, κ = unit(k ⊙ k_k), a = {formula(strength)}"
    )
    return maps.Built(written, lambda dims: Key(dims, raw(dims), strength(dims)))


class Key(nn.Module):
    """Leaves a and kappa = k k_k / |k k_k| for the erase."""

    no_decay = ("k_k", "k_a")

    def __init__(self, dims: Dims, raw: nn.Module, strength: nn.Module) -> None:
        super().__init__()
        self.raw, self.strength = raw, strength
        self.k_k = nn.Parameter((0.76 - 0.1 * rwkv.ramp(dims.d_u)).view(dims.heads, dims.d_k))
        self.k_a = nn.Parameter(torch.full((dims.heads, dims.d_k), 1.02))

    def forward(self, s: Stream) -> Tensor:
        k, a = self.raw(s), self.strength(s)  # b t h k
        s.notes["a"], s.notes["kappa"] = a, F.normalize(k * self.k_k, dim=-1)
        return k * (1 + (a - 1) * self.k_a)


class Removal(nn.Module):
    formula = "(a_t ⊙ κ_t)ᵀ κ_t"

    def __init__(self, dims: Dims) -> None:
        super().__init__()

    def forward(self, s: Stream) -> Erase:
        return Erase(write=s.notes["a"] * s.notes["kappa"], read=s.notes["kappa"])


def value(own: Map, share: Map) -> maps.Built:
    written = f"v + (v_0 - v) ⊙ {formula(share)}, v = {formula(own)}"
    return maps.Built(
        written, lambda dims: Value(own(dims), share(dims) if dims.layer > 0 else None)
    )


class Value(nn.Module):
    """Layer 0 leaves its v for all later ones."""

    def __init__(self, own: nn.Module, share: nn.Module | None) -> None:
        super().__init__()
        self.own, self.share = own, share

    def forward(self, s: Stream) -> Tensor:
        v = self.own(s)  # b t h v
        if self.share is None:
            s.shared["v_first"] = v
            return v
        share = self.share(s).to(v.dtype)  # autocast does not see to it under vmap
        return torch.lerp(v, s.shared.get("v_first", torch.zeros_like(v)), share)


class Bonus(nn.Module):
    """(q r_k k^T) v, the current token once more."""

    formula = "(q ⊙ r_k) kᵀ v"
    no_decay = ("r_k",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.r_k = nn.Parameter(torch.full((dims.heads, dims.d_k), -0.04))

    def forward(self, s: Stream) -> Tensor:
        return (s.q * s.k * self.r_k).sum(-1, keepdim=True) * s.v  # b t h v


def suggested(factor: float) -> Callable[[int], int]:
    """Rank for a width, as train_temp/src/model.py suggests it."""
    return lambda d: max(32, round(factor * d**0.5 / 32) * 32)


def functions(
    rank: Callable[[float], Callable[[int], int]], init: Callable[[float], maps.Init], power: float
) -> dict[str, Any]:
    """Maps with a rank for each factor, an initialisation for each gain, and group_norm's power."""
    strength = low_rank(
        "a",
        rank(2.5),
        lambda dims: 0.3 * zigzag(dims) + 0.4 * rwkv.ramp(dims.d_u) - 0.39,
        activation="sigmoid",
    )
    share = low_rank(
        "v", rank(1.7), lambda dims: 0.93 - 0.4 * rwkv.ramp(dims.d_u), activation="sigmoid"
    )
    return {
        "f_q": shift(maps.linear("q", init=init(1.0)), 0.2),
        "f_k": key(shift(maps.linear("k", init=init(0.1)), 0.7), shift(strength, 0.9)),
        "f_v": shift(value(maps.linear("v", init=init(1.0)), share), 0.7),
        "f_alpha": decay(shift(low_rank("α", rank(2.5), slowness, inner="tanh"), 0.9)),
        "f_g": shift(low_rank("g", rank(5.0), inner="sigmoid"), 0.2),
        "norm": rwkv.group_norm(power),
    }


def uniform(gain: float) -> maps.Init:
    """Within gain / (2 sqrt(d))."""

    def init(weight: Tensor, dims: Dims) -> object:
        bound = 0.5 * gain * dims.d**-0.5
        return nn.init.uniform_(weight, -bound, bound)

    return init


SPEC = Spec(
    label="RWKV-7",
    paper="arXiv 2503.14456",
    family="delta rule",
    state=square("rwkv7", 64),
    **functions(suggested, maps.orthogonal, 0.7),
    erase=Removal,
    now=Bonus,
    now_at="after_norm",
    w_o=maps.output(init=maps.zeros),
    channel="relu2",
    block_norm="layer",
    model_init="rwkv",
)

VARIANTS = {
    "simplified": lambda spec: replace(
        spec, state=square("rwkv7", 16), **functions(lambda factor: lambda d: 8, uniform, 0.0)
    ),
}
