"""The vocabulary for f_q, f_k, f_v, f_alpha, f_g and neighbours; all print their formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import convolution
from zoo.spec import Decay, Dims, Map, Stream, formula

Init = Callable[[Tensor, Dims], object]
Activation = Literal[
    "none", "silu", "sigmoid", "relu", "gelu", "gelu_tanh", "elu1", "tanh", "softplus", "exp"
]
Slot = Literal["q", "k", "v", "g", "alpha", "beta"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "elu1": lambda x: F.elu(x) + 1,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "exp": torch.exp,
}
LETTERS = {"alpha": "α", "beta": "β"}
WRITTEN = {
    "silu": "SiLU",
    "sigmoid": "σ",
    "relu": "ReLU",
    "gelu": "GeLU",
    "gelu_tanh": "GeLU",
    "elu1": "1+ELU",
    "tanh": "tanh",
    "softplus": "softplus",
    "exp": "exp",
}


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


def over_root_depth(weight: Tensor, dims: Dims) -> object:
    """torch's default over sqrt(depth): Mamba's out_proj (mixer_seq_simple.py::_init_weights)."""
    torch_default(weight, dims)
    return weight.data.div_(dims.depth**0.5)


def lecun_normal(weight: Tensor, fan_in: int) -> Tensor:
    """In place, flax's: cut at two standard deviations, of standard deviation fan_in^-1/2 then."""
    std = fan_in**-0.5 / 0.87962566103423978  # what the cut leaves of 1
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def zeros(weight: Tensor, dims: Dims) -> object:
    return nn.init.zeros_(weight)


def xavier(gain: float) -> Init:
    return lambda weight, dims: nn.init.xavier_uniform_(weight, gain=gain)


def normal(std: float) -> Init:
    return lambda weight, dims: nn.init.normal_(weight, std=std)


def orthogonal(gain: float) -> Init:
    return lambda weight, dims: nn.init.orthogonal_(weight, gain=gain)


def linear(
    slot: Slot,
    *,
    bias: bool = False,
    activation: Activation = "none",
    init: Init = torch_default,
    of: Literal["u", "x"] = "u",
    shared: bool = False,
    channels: int = 0,
    scale: Callable[[Dims], float] = lambda dims: 1.0,
    scale_written: str = "",
) -> Built:
    """act(scale * (u W + b)) split into heads. slot names W and sets the width: h k or h v.

    scale_written: how the formula shows the scale, behind the product.

    of: `u`, the stream after local, or `x`, the block input. shared: one head that all heads read.
    channels: per head, where a feature map follows; 0 takes what the state says (1 for beta).
    """
    letter = LETTERS.get(slot, slot)
    written = f"{of} W_{letter}" + (f" + b_{letter}" if bias else "")
    if scale_written:
        written = f"({written}) {scale_written}" if bias else f"{written} {scale_written}"

    def build(dims: Dims) -> nn.Module:
        per_head = channels or channels_of(slot, dims)
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


def channels_of(slot: Slot, dims: Dims) -> int:
    """Channels per head that the state gives a slot."""
    return {"v": dims.d_v, "g": dims.d_v, "beta": 1}.get(slot, dims.d_k)


def from_zero(inner: Map) -> Built:
    """The same map with its bias at 0."""

    def build(dims: Dims) -> nn.Module:
        module = inner(dims)
        nn.init.zeros_(module.get_parameter("bias"))
        return module

    return Built(formula(inner), build)


def low_rank(
    slot: Slot,
    rank: int | Callable[[Dims], int],
    *,
    bias: bool = True,
    inner: Activation = "none",
    activation: Activation = "none",
    channels: int = 0,
    init: Init = torch_default,
) -> Built:
    """act(inner(u W1) W2 + b) with an inner width of `rank` (GLA's gate, section 4.4; RWKV's)."""

    def build(dims: Dims) -> nn.Module:
        per_head = channels or channels_of(slot, dims)
        width = rank if isinstance(rank, int) else rank(dims)
        module = LowRank(dims, width, per_head, bias, inner, activation)
        init(module.down, dims)
        init(module.up, dims)
        return module

    letter = LETTERS.get(slot, slot)
    first = f"u W1_{letter}" if inner == "none" else f"{applied(inner, f'u W1_{letter}')}"
    written = f"{first} W2_{letter}" + (f" + b_{letter}" if bias else "")
    return Built(applied(activation, written), build)


class LowRank(nn.Module):
    """The module behind `low_rank`. Returns b t h c."""

    def __init__(
        self,
        dims: Dims,
        rank: int,
        channels: int,
        bias: bool,
        inner: Activation,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.heads = dims.heads
        self.inner, self.activation = ACTIVATIONS[inner], ACTIVATIONS[activation]
        self.down = nn.Parameter(torch.empty(rank, dims.d_u))
        self.up = nn.Parameter(torch.empty(dims.heads * channels, rank))
        self.bias = nn.Parameter(uniform(dims.heads * channels, rank)) if bias else None

    def forward(self, s: Stream) -> Tensor:
        y = F.linear(self.inner(F.linear(s.u, self.down)), self.up, self.bias)  # b t (h c)
        return rearrange(self.activation(y), "b t (h c) -> b t h c", h=self.heads)


def part(first: Callable[[Dims], int], slot: Slot, *, shared: bool = False) -> Built:
    """Channels of u from `first` on, as they are (Mamba-2: x, B and C leave one convolution)."""
    return Built(
        f"u[{slot}]",
        lambda dims: Part(first(dims), 1 if shared else dims.heads, channels_of(slot, dims)),
    )


class Part(nn.Module):
    """u[first : first + heads * channels], b t h c."""

    def __init__(self, first: int, heads: int, channels: int) -> None:
        super().__init__()
        self.first, self.heads, self.channels = first, heads, channels

    def forward(self, s: Stream) -> Tensor:
        y = s.u[..., self.first : self.first + self.heads * self.channels]
        return rearrange(y, "b t (h c) -> b t h c", h=self.heads)


def convolved(inner: Map, kernel: int, activation: Activation = "none") -> Built:
    """act(causal depthwise convolution of the inner map's own channels), as DeltaNet has it.

    Where a named short convolution replaces the model's own local mixing, act(inner) alone.
    """

    def build(dims: Dims) -> nn.Module:
        return Convolved(inner(dims), kernel if dims.own_local else 1, activation)

    return Built(applied(activation, f"conv{kernel}({formula(inner)})"), build)


class Convolved(nn.Module):
    """weight: (h c) kernel, torch's Conv1d init, no bias; kernel 1 has no weight."""

    def __init__(self, inner: nn.Module, kernel: int, activation: Activation) -> None:
        super().__init__()
        self.inner, self.kernel, self.activation = inner, kernel, ACTIVATIONS[activation]
        self.weight = None
        if kernel > 1:
            channels = sum(p.shape[0] for n, p in inner.named_parameters() if n == "weight")
            bound = kernel**-0.5
            weight = torch.empty(channels, kernel).uniform_(-bound, bound)
            self.weight = nn.Parameter(weight)
            self.state_floats = (kernel - 1) * channels

    def forward(self, s: Stream) -> Tensor:
        y = self.inner(s)  # b t h c
        if self.weight is None:
            return self.activation(y)
        mixed = convolution.convolved(s, self, y.flatten(2), self.weight, None, self.activation)
        return mixed.unflatten(2, (y.shape[2], -1))


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


def real(inner: Map) -> Built:
    """A real q or k, of half the channels, where the state is complex: its imaginary half is 0."""

    def build(dims: Dims) -> nn.Module:
        halved = replace(dims, d_k=dims.d_k // 2)
        return Then(inner(halved), lambda y: torch.cat([y, torch.zeros_like(y)], dim=-1))

    return Built(formula(inner), build)


def conjugate(y: Tensor) -> Tensor:
    """Channels [real | imaginary] -> those of the complex conjugate."""
    re, im = y.chunk(2, dim=-1)
    return torch.cat([re, -im], dim=-1)


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
    ties = True  # the scan may form this key by itself

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
    """y_t = act(sum_j w_j u_{t-kernel+1+j} + b). weight: d kernel. Stream in, b t d out."""

    def __init__(self, d: int, kernel: int, activation: Activation, bias: bool) -> None:
        super().__init__()
        if kernel < 1:
            raise ValueError(f"a short convolution needs a kernel of at least 1, not {kernel}")
        self.kernel, self.activation = kernel, ACTIVATIONS[activation]
        bound = kernel**-0.5
        self.weight = nn.Parameter(torch.empty(d, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(d).uniform_(-bound, bound)) if bias else None

    def forward(self, s: Stream) -> Tensor:
        return convolution.convolved(s, self, s.u, self.weight, self.bias, self.activation)


class Widen(nn.Module):
    """u of another width than x (Mamba's in_proj). Returns b t d_u."""

    formula = "x W_u"

    def __init__(self, dims: Dims, *, bias: bool = False) -> None:
        super().__init__()
        self.project = nn.Linear(dims.d, dims.d_u, bias=bias)

    def forward(self, s: Stream) -> Tensor:
        return self.project(s.x)


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


Affine = bool | Literal["each"]


def layer_norm(over: Literal["head", "all"], *, affine: Affine = False, eps: float = 1e-5) -> Built:
    """LayerNorm of o over the channels of each head, or over all heads together.

    affine: True has one weight and bias for what is normalised together, so all heads share theirs;
    "each" has them for every head and channel (GroupNorm).
    """
    return Built(f"LN_{over}", lambda dims: OutputNorm(dims, over, affine, eps, centre=True))


def rms_norm(over: Literal["head", "all"], *, affine: Affine = False, eps: float = 1e-5) -> Built:
    """RMSNorm of o, likewise."""
    return Built(f"RMS_{over}", lambda dims: OutputNorm(dims, over, affine, eps, centre=False))


class OutputNorm(nn.Module):
    """Takes and returns o: b t h v. Weights have v entries over a head, h v over all or each."""

    def __init__(
        self, dims: Dims, over: Literal["head", "all"], affine: Affine, eps: float, *, centre: bool
    ) -> None:
        super().__init__()
        self.over, self.eps, self.centre, self.each = over, eps, centre, affine == "each"
        channels = dims.d_v * (dims.heads if over == "all" or self.each else 1)
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine and centre else None

    def forward(self, o: Tensor) -> Tensor:
        y = o.flatten(2) if self.over == "all" else o
        shape = y.shape[-1:]
        weight, bias = (None, None) if self.each else (self.weight, self.bias)
        if self.centre:
            y = F.layer_norm(y, shape, weight, bias, self.eps)
        else:
            y = F.rms_norm(y, shape, weight, self.eps)
        y = y.view(o.shape)
        if self.each and self.weight is not None:
            y = y * self.weight.view(o.shape[2:])
            y = y if self.bias is None else y + self.bias.view(o.shape[2:])
        return y


def output(*, bias: bool = False, init: Init = torch_default) -> Built:
    """W_O: all heads back to the model's width. Its module takes b t (h v), not a Stream."""

    def build(dims: Dims) -> nn.Module:
        module = nn.Linear(dims.heads * dims.d_v, dims.d, bias=bias)
        init(module.weight, dims)
        return module

    return Built("y W_O" + (" + b_O" if bias else ""), build)


def identity_output() -> Built:
    """W_O = I, for models whose heads together are as wide as the model."""
    return Built("y", lambda dims: nn.Identity())


def at_least_float32(x: Tensor) -> Tensor:
    """Decays are computed in float32 whatever the run's precision; float64 stays float64."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
