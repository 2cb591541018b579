"""InLine attention made causal by us (Han et al. 2024, arXiv 2412.06590): weights that sum to 1.

o_t = sum over s <= t of ((q_t k_s - q_t kbar_t) / sqrt(d_v) + 1) / t v_s, kbar_t the mean key so
far, plus a local term: a depthwise kernel on v whose weights a grouped two-layer MLP makes from the
mean input so far. As a state: K = [k, 1], Q = [q, sqrt(d_v) - q kbar_t] / (t sqrt(d_v)); phi is the
identity and no denominator is needed.

The published attention is for images and sees all of them (LeapLabTHU/InLine inline_pvt.py, class
InLineAttention). This causal form is that class on every prefix, taken as an image of one row, read
at its last token: of its 3 x 3 kernel the taps of the token and of its predecessor remain. Biases,
32 channels per head and torch's initial values as there. Where a named short convolution replaces
the model's own local mixing, the kernel keeps the token's own tap alone. Longer than most models,
because that kernel is made here.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Dims, Spec, State, Stream, divided


def state(d: int) -> State:
    heads = max(1, d // 32)
    d_v = divided("inline", d, heads)
    return State(heads, d_v + 1, d_v)


def tokens(s: Stream, like: Tensor) -> Tensor:
    """The number of tokens so far, t 1 1."""
    return (s.position + 1).to(like.dtype)[:, None, None]


class Key(nn.Module):
    formula = "[u W_k + b_k, 1]"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("k", bias=True, channels=dims.d_v)(dims)

    def forward(self, s: Stream) -> Tensor:
        return F.pad(self.inner(s), (0, 1), value=1.0)  # b t h k


class Query(nn.Module):
    """Reads the keys, whose running mean it subtracts."""

    formula = "[q, √d_v - q mean(k)] / (t √d_v), q = u W_q + b_q"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("q", bias=True, channels=dims.d_v)(dims)
        self.state_floats = dims.heads * dims.d_v

    def forward(self, s: Stream) -> Tensor:
        k = maps.at_least_float32(s.k[..., :-1])  # b t h v
        q, t = self.inner(s) * k.shape[-1] ** -0.5, tokens(s, k)  # b t h v, t 1 1
        mean = s.total(self, k) / t
        return torch.cat([q, 1 - (q * mean).sum(-1, keepdim=True)], dim=-1) / t  # b t h k


class Local(nn.Module):
    """sum_j w_tj v_{t-j} with a kernel w_t = MLP(mean of u so far), one for every channel."""

    formula = "MLP(mean(u))_0 ⊙ v_t + MLP(mean(u))_1 ⊙ v_{t-1}"
    no_decay = ("inner_bias",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        h, v = dims.heads, dims.d_v
        self.taps = 2 if dims.own_local else 1
        bound = v**-0.5
        self.inner = nn.Parameter(torch.empty(h, v, v).uniform_(-bound, bound))
        self.inner_bias = nn.Parameter(torch.empty(h, v).uniform_(-bound, bound))
        self.outer = nn.Parameter(torch.empty(h, self.taps * v, v).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(h, self.taps * v).uniform_(-bound, bound))
        self.state_floats = dims.d_u + (self.taps - 1) * h * v

    def forward(self, s: Stream) -> Tensor:
        total = s.total("inline.u", maps.at_least_float32(s.u))  # b t d_u
        mean = rearrange(total, "b t (h v) -> b t h v", h=s.v.shape[2]) / tokens(s, total)
        hidden = torch.einsum("bthv,hev->bthe", mean.to(s.u.dtype), self.inner)
        hidden = F.gelu(hidden + self.inner_bias)
        kernel = torch.einsum("bthe,hfe->bthf", hidden, self.outer) + self.bias
        kernel = kernel.unflatten(-1, (self.taps, -1))  # b t h n v
        y = kernel[..., 0, :] * s.v  # b t h v
        if self.taps == 2:
            before = s.past(self, s.v.flatten(2), 1)[:, :-1].unflatten(2, s.v.shape[2:])
            y = y + kernel[..., 1, :] * before
        return y


SPEC = Spec(
    label="InLine",
    paper="arXiv 2412.06590",
    family="linear transformer",
    state=state,
    f_q=Query,
    f_k=Key,
    f_v=maps.linear("v", bias=True),
    f_alpha=maps.keep(),
    now=Local,
    w_o=maps.output(bias=True),
    channel="mlp",
    block_norm="layer",
)
