"""RWKV-6 (Peng et al. 2024, arXiv 2404.05892): data-dependent token shift and decay, a bonus.

As in BlinkDL/RWKV-LM RWKV-v5/src/model.py, class RWKV_Tmix_x060, with cuda/wkv6_cuda.cu: five token
shifts whose mixing is itself shifted and low-rank, alpha = exp(-exp(w)) for every key channel, the
current token through a bonus u instead of the state (read="before"), no scale, GroupNorm, SiLU
gate. 64 channels per head; one head below that width. Initialised as generate_init_weight leaves
it: W_O zero, W_k and W_g orthogonal with gain 0.1, W_r and W_v with gain 1, norm weights
((layer + 1) / depth)^0.7. With a named short convolution the shifts step aside. fla's layer of the
same name is another model (d_k = d/2). Not reproduced: the learning rate of w (x2).

Longer than other models because its shifts, low-rank and shifted themselves, belong to it alone.
"""

import copy

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import maps, rwkv
from zoo.spec import Decay, Dims, Map, Spec, Stream, formula, square

STREAMS = "wkvrg"  # the order of time_maa_w2
MIX_RANK, DECAY_RANK = 32, 64  # D_MIX_LORA, D_DECAY_LORA


class Shift(nn.Module):
    """b t d -> b t (5 d): u + (u' - u)(mu_i + tanh(x W1_i) W2_i), x = u + (u' - u) mu_x."""

    formula = "(u_w, u_k, u_v, u_r, u_g), u_i = u + (u' - u) ⊙ (μ_i + tanh(u_x W1_i) W2_i)"
    no_decay = ("mu_x", "mu", "down", "up")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        slow, fast = 1 - rwkv.rising(dims, 1.0), 1 - rwkv.rising(dims, 0.5)  # d
        value = slow - 0.3 * rwkv.depth_ratio(dims)
        self.mu_x = nn.Parameter(slow.clone())
        self.mu = nn.Parameter(torch.stack([slow, slow, value, fast, fast]))  # 5 d
        self.down = nn.Parameter(torch.zeros(5 * MIX_RANK, dims.d_u))
        self.up = nn.Parameter(torch.empty(5, MIX_RANK, dims.d_u).uniform_(-0.01, 0.01))
        self.state_floats = dims.d_u

    def forward(self, s: Stream) -> Tensor:
        change = s.previous() - s.u  # b t d
        z = torch.tanh(F.linear(s.u + change * self.mu_x, self.down))  # b t (5 r)
        z = rearrange(z, "b t (i r) -> b t i r", i=5)
        mu = self.mu + torch.einsum("b t i r, i r d -> b t i d", z, self.up)
        return torch.addcmul(s.u.unsqueeze(2), change.unsqueeze(2), mu).flatten(2)


def shifted(stream: str, inner: Map) -> maps.Built:
    """inner applied to one of the five shifted streams, or to u where there is no shift."""
    i = STREAMS.index(stream)

    def build(dims: Dims) -> nn.Module:
        return Shifted(inner(dims), i, dims.d_u) if dims.own_local else inner(dims)

    return maps.Built(formula(inner).replace("u ", f"u_{stream} "), build)


class Shifted(nn.Module):
    def __init__(self, inner: nn.Module, i: int, d_u: int) -> None:
        super().__init__()
        self.inner, self.channels = inner, slice(i * d_u, (i + 1) * d_u)

    def forward(self, s: Stream) -> Tensor | Decay:
        part = copy.copy(s)
        part.u = s.u[..., self.channels]  # b t d
        return self.inner(part)


class LowRankDecay(nn.Module):
    """alpha = exp(-exp(w + tanh(u W1) W2))."""

    formula = "exp(-e^(w + tanh(u W1_α) W2_α))"
    no_decay = ("w", "down", "up")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        channels = dims.heads * dims.d_k
        self.w = nn.Parameter(rwkv.speeds(dims, -6, 5))  # (h k)
        self.down = nn.Parameter(torch.zeros(DECAY_RANK, dims.d_u))
        self.up = nn.Parameter(torch.empty(channels, DECAY_RANK).uniform_(-0.01, 0.01))
        self.heads = dims.heads

    def forward(self, s: Stream) -> Decay:
        z = F.linear(torch.tanh(F.linear(s.u, self.down)), self.up, self.w)  # b t (h k)
        z = rearrange(z, "b t (h k) -> b t h k", h=self.heads)
        return Decay(step=maps.at_least_float32(z).exp())


class Bonus(nn.Module):
    """r (u * k)^T v: what the current token adds to its own output. u: h k."""

    formula = "q (u ⊙ k)ᵀ v"
    no_decay = ("u",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        n = dims.heads * dims.d_k
        u = rwkv.depth_ratio(dims) * (1 - rwkv.ramp(n)) + 0.1 * rwkv.zigzag(n)
        self.u = nn.Parameter(rearrange(u, "(h k) -> h k", h=dims.heads))

    def forward(self, s: Stream) -> Tensor:
        return (s.q * self.u * s.k).sum(-1, keepdim=True) * s.v  # b t h v


SPEC = Spec(
    label="RWKV-6",
    paper="arXiv 2404.05892",
    family="linear RNN",
    state=square("rwkv6", 64),
    local=Shift,
    f_q=shifted("r", maps.linear("q", init=maps.orthogonal(1.0))),
    f_k=shifted("k", maps.linear("k", init=maps.orthogonal(0.1))),
    f_v=shifted("v", maps.linear("v", init=maps.orthogonal(1.0))),
    f_alpha=shifted("w", LowRankDecay),
    f_g=shifted("g", maps.linear("g", activation="silu", init=maps.orthogonal(0.1))),
    now=Bonus,
    norm=rwkv.group_norm(0.7),
    w_o=maps.output(init=maps.zeros),
    read="before",
    channel="relu2_receptance_3.5",
    block_norm="layer",
    model_init="rwkv",
)
