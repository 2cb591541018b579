"""The vocabulary for f_q, f_k, f_v, f_alpha, f_g and neighbours; all print their formulas."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo.spec import Decay, Dims, Map, Stream, formula

Init = Callable[[Tensor, Dims], object]
Activation = Literal["none", "silu", "sigmoid", "relu", "gelu", "elu1"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "gelu": F.gelu,
    "elu1": lambda x: F.elu(x) + 1,
}
LETTERS = {"alpha": "α"}
WRITTEN = {"silu": "SiLU", "sigmoid": "σ", "relu": "ReLU", "gelu": "GeLU", "elu1": "1+ELU"}


@dataclass(frozen=True)
class Built:
    """A map made by one of the functions below: a formula and how to build its module."""

    formula: str
    build: Callable[[Dims], nn.Module]

    def __call__(self, dims: Dims, /) -> nn.Module:
        return self.build(dims)


def torch_default(weight: Tensor, dims: Dims) -> object:
    """nn.Linear's own: uniform within 1/sqrt(fan_in)."""
    return nn.init.uniform_(weight, -(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)


def uniform(size: int, fan_in: int) -> Tensor:
    """A bias as nn.Linear draws it, uniform within 1/sqrt(fan_in)."""
    return torch.empty(size).uniform_(-(fan_in**-0.5), fan_in**-0.5)


def zeros(weight: Tensor, dims: Dims) -> object:
    return nn.init.zeros_(weight)


def xavier(gain: float) -> Init:
    return lambda weight, dims: nn.init.xavier_uniform_(weight, gain=gain)


def orthogonal(gain: float) -> Init:
    return lambda weight, dims: nn.init.orthogonal_(weight, gain=gain)


def linear(
    slot: Literal["q", "k", "v", "g", "alpha"],
    *,
    bias: bool = False,
    activation: Activation = "none",
    init: Init = torch_default,
    of: Literal["u", "x"] = "u",
    shared: bool = False,
    channels: int = 0,
    scale: Callable[[Dims], float] = lambda dims: 1.0,
) -> Built:
    """act(scale * (u W + b)) split into heads. slot names W and sets the width: h k or h v.

    of: `u`, the stream after local, or `x`, the block input. shared: one head that all heads read.
    channels: per head, where a feature map follows; 0 takes what the state says.
    """
    letter = LETTERS.get(slot, slot)
    written = f"{of} W_{letter}" + (f" + b_{letter}" if bias else "")

    def build(dims: Dims) -> nn.Module:
        per_head = channels or (dims.d_v if slot in ("v", "g") else dims.d_k)
        heads = 1 if shared else dims.heads
        fan_in = dims.d_u if of == "u" else dims.d
        module = Projection(fan_in, heads, per_head, bias, activation, of, scale(dims))
        init(module.weight, dims)
        return module

    return Built(applied(activation, written), build)


def applied(activation: str, written: str) -> str:
    return written if activation == "none" else f"{WRITTEN[activation]}({written})"


class Projection(nn.Module):
    """The module behind `linear`. Returns b t h c."""

    def __init__(
        self,
        fan_in: int,
        heads: int,
        channels: int,
        bias: bool,
        activation: Activation,
        of: Literal["u", "x"],
        scale: float,
    ) -> None:
        super().__init__()
        self.heads, self.of, self.scale = heads, of, scale
        self.activation = ACTIVATIONS[activation]
        self.weight = nn.Parameter(torch.empty(heads * channels, fan_in))
        self.bias = nn.Parameter(uniform(heads * channels, fan_in)) if bias else None

    def forward(self, s: Stream) -> Tensor:
        y = F.linear(s.u if self.of == "u" else s.x, self.weight, self.bias)  # b t (h c)
        y = self.activation(y if self.scale == 1.0 else y * self.scale)
        return rearrange(y, "b t (h c) -> b t h c", h=self.heads)


def low_rank(slot: Literal["alpha"], rank: int, *, init: Init = torch_default) -> Built:
    """u W1 W2 + b with an inner width of `rank`, the gate projection of GLA (section 4.4)."""

    def build(dims: Dims) -> nn.Module:
        module = LowRank(dims, rank)
        init(module.down, dims)
        init(module.up, dims)
        return module

    letter = LETTERS.get(slot, slot)
    return Built(f"u W1_{letter} W2_{letter} + b_{letter}", build)


class LowRank(nn.Module):
    """The module behind `low_rank`. Returns b t h k."""

    def __init__(self, dims: Dims, rank: int) -> None:
        super().__init__()
        self.heads = dims.heads
        self.down = nn.Parameter(torch.empty(rank, dims.d_u))
        self.up = nn.Parameter(torch.empty(dims.heads * dims.d_k, rank))
        self.bias = nn.Parameter(uniform(dims.heads * dims.d_k, rank))

    def forward(self, s: Stream) -> Tensor:
        y = F.linear(F.linear(s.u, self.down), self.up, self.bias)  # b t (h k)
        return rearrange(y, "b t (h k) -> b t h k", h=self.heads)


def ones(slot: Literal["q", "k"]) -> Built:
    """The constant 1: a model without this function."""
    return Built("1", lambda dims: Ones(dims.heads, dims.d_k))


class Ones(nn.Module):
    def __init__(self, heads: int, d_k: int) -> None:
        super().__init__()
        self.heads, self.d_k = heads, d_k

    def forward(self, s: Stream) -> Tensor:
        b, t, _ = s.u.shape
        return s.u.new_ones(1, 1, 1, 1).expand(b, t, self.heads, self.d_k)  # b t h k


def feature_map(written: str, phi: Callable[[Tensor], Tensor], inner: Map) -> Built:
    """phi(inner), phi acting on the channels of each head and free to change their number."""

    def build(dims: Dims) -> nn.Module:
        return Then(inner(dims), phi)

    return Built(f"{written}({formula(inner)})", build)


class Then(nn.Module):
    """phi after an inner map."""

    def __init__(self, inner: nn.Module, phi: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.phi = inner, phi

    def forward(self, s: Stream) -> Tensor:
        return self.phi(self.inner(s))


def keep() -> Built:
    """alpha = 1: the state forgets nothing."""
    return Built("1", lambda dims: Keep())


class Keep(nn.Module):
    def forward(self, s: Stream) -> Decay:
        return Decay()


def sigmoid_decay(inner: Map, tau: float = 1.0) -> Built:
    """alpha = sigmoid(inner)^(1/tau), one value per key channel, from log sigmoid in float32."""
    power = "" if tau == 1.0 else f"^(1/{tau:g})"
    return Built(f"σ({formula(inner)}){power}", lambda dims: SigmoidDecay(inner(dims), tau))


class SigmoidDecay(nn.Module):
    def __init__(self, inner: nn.Module, tau: float) -> None:
        super().__init__()
        self.inner, self.tau = inner, tau

    def forward(self, s: Stream) -> Decay:
        return Decay(step=-F.logsigmoid(at_least_float32(self.inner(s))) / self.tau)  # b t h k


def one_minus_alpha() -> Built:
    """k = 1 - alpha, as -expm1(log alpha) in float32: no parameters, and exact near alpha = 1."""
    return Built("1 - α", lambda dims: OneMinusAlpha())


class OneMinusAlpha(nn.Module):
    def forward(self, s: Stream) -> Tensor:
        log_alpha = s.decay.log()
        assert log_alpha is not None, "k = 1 - alpha needs a decay"
        return -torch.expm1(log_alpha)  # b t h k


def short_conv(kernel: int, activation: Activation = "none", *, bias: bool = False) -> Built:
    """Causal depthwise convolution over the last `kernel` tokens of u, torch's Conv1d init."""
    written = (
        f"conv{kernel}(u)" if activation == "none" else f"{WRITTEN[activation]}(conv{kernel}(u))"
    )
    return Built(written, lambda dims: ShortConv(dims.d_u, kernel, activation, bias))


class ShortConv(nn.Module):
    """y_t = act(sum_j w_j * u_{t-kernel+1+j} + b). weight: d kernel. Takes a Stream, returns b t d.

    A sum of shifted products: for kernels of 2 to 4 taps that needs no transposed copy of u.
    """

    def __init__(self, d: int, kernel: int, activation: Activation, bias: bool) -> None:
        super().__init__()
        if kernel < 1:
            raise ValueError(f"a short convolution needs a kernel of at least 1, not {kernel}")
        self.kernel, self.activation = kernel, ACTIVATIONS[activation]
        bound = kernel**-0.5
        self.weight = nn.Parameter(torch.empty(d, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(d).uniform_(-bound, bound)) if bias else None

    def forward(self, s: Stream) -> Tensor:
        t = s.u.shape[1]
        full = s.past(self, s.u, self.kernel - 1) if self.kernel > 1 else s.u
        y = full[:, :t] * self.weight[:, 0]  # b t d
        for j in range(1, self.kernel):
            y = torch.addcmul(y, full[:, j : j + t], self.weight[:, j])
        return self.activation(y if self.bias is None else y + self.bias)


def token_shift(inner: Map, mix: Callable[[Dims], Tensor]) -> Built:
    """inner applied to mu * u_t + (1 - mu) * u_{t-1} (RWKV). mix: Dims -> initial mu, d_u.

    Where a named short convolution replaces the model's own local mixing, inner is applied to u.
    """

    def build(dims: Dims) -> nn.Module:
        return TokenShift(inner(dims), mix(dims)) if dims.own_local else inner(dims)

    return Built(formula(inner).replace("u ", "shift(u) "), build)


class TokenShift(nn.Module):
    no_decay = ("mu",)

    def __init__(self, inner: nn.Module, mu: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.mu = nn.Parameter(mu)

    def forward(self, s: Stream) -> Tensor:
        shifted = copy.copy(s)
        shifted.u = torch.lerp(s.previous(), s.u, self.mu)  # b t d
        return self.inner(shifted)


def skip() -> Built:
    """now_t = D * u_t, the direct term of state-space models; D starts at 1."""
    return Built("D u", Skip)


class Skip(nn.Module):
    no_decay = ("weight",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.heads = dims.heads
        self.weight = nn.Parameter(torch.ones(dims.heads * dims.d_v))

    def forward(self, s: Stream) -> Tensor:
        return rearrange(s.u * self.weight, "b t (h v) -> b t h v", h=self.heads)


def layer_norm(over: Literal["head", "all"], *, affine: bool = False, eps: float = 1e-5) -> Built:
    """LayerNorm of o over the channels of each head, or over all heads together."""
    return Built(f"LN_{over}", lambda dims: OutputNorm(dims, over, affine, eps, centre=True))


def rms_norm(over: Literal["head", "all"], *, affine: bool = False, eps: float = 1e-5) -> Built:
    """RMSNorm of o, likewise."""
    return Built(f"RMS_{over}", lambda dims: OutputNorm(dims, over, affine, eps, centre=False))


class OutputNorm(nn.Module):
    """Takes and returns o: b t h v. Weights have v entries over a head, h v over all."""

    def __init__(
        self, dims: Dims, over: Literal["head", "all"], affine: bool, eps: float, *, centre: bool
    ) -> None:
        super().__init__()
        self.over, self.eps, self.centre = over, eps, centre
        channels = dims.d_v * (dims.heads if over == "all" else 1)
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine and centre else None

    def forward(self, o: Tensor) -> Tensor:
        y = o.flatten(2) if self.over == "all" else o
        shape = y.shape[-1:]
        if self.centre:
            y = F.layer_norm(y, shape, self.weight, self.bias, self.eps)
        else:
            y = F.rms_norm(y, shape, self.weight, self.eps)
        return y.view(o.shape)


def output(*, bias: bool = False, init: Init = torch_default) -> Built:
    """W_O: all heads back to the model's width. Its module takes b t (h v), not a Stream."""

    def build(dims: Dims) -> nn.Module:
        module = nn.Linear(dims.heads * dims.d_v, dims.d, bias=bias)
        init(module.weight, dims)
        return module

    return Built("y W_O" + (" + b_O" if bias else ""), build)


def at_least_float32(x: Tensor) -> Tensor:
    """Decays are computed in float32 whatever the run's precision; float64 stays float64."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
