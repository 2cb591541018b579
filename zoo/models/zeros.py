"""ZeroS, zero-sum linear attention (Lu et al. 2025, arXiv 2602.05230): weights that sum to 0.

o_t = sum over i <= t of r_ti (q_t k_i) v_i, where r_ti = g1 d_ti + gh (softmax_i(s) - 1/t - d_ti),
d_ti = (s_i - mean of s so far) / t, softmax over i <= t: the softmax of logits s that depend on the
past token alone, without its zeroth-order term 1/t and with gates g1, gh = sigmoid(u W_g + b_g) on
the first and the higher orders. s_i = -(w_i m_i) / sqrt(d_v), w = u W_s + b_s, m its running mean
that starts from mu with the weight of tau tokens. As a state of 3 d_v key channels: K = [e^s k,
s k, k], Q = [a q, b q, c q] with a = gh / sum e^s, b = (g1 - gh) / t, c = -(b sum s + gh) / t.

Follows the authors' LJC-FVNR/SequenceLab layers/zeros.py on its prefix-sum path (the other path
takes d_ti from softmax values and is another function). q and k: the rotary tables repeat each
angle for two neighbours while the halves are what is paired, so this is no rotation; then unit
length. LayerNorm without weights per head. Variant `zero_order`: the first layer gets tanh(g0) / t
back. The exponentials are kept relative to the largest so far, so that nothing overflows; f_alpha's
decay is the change of that scale, not a decay of the model. (Official: relative to the largest of
the whole sequence, with 1e-12 added to their sum, so that a logit 27 above all earlier ones takes
their exponentials away. Here the sum is at least 1.) The weights of the first token sum to 0 alone,
so its output is 0 and what LayerNorm makes of it rounding. Longer than most models, because logit,
key and query share running sums.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Spec, State, Stream, divided

EMPTY = -1e30  # log of an empty sum, finite so that no exponential sees -inf


def state(d: int) -> State:
    heads = max(1, d // 64)
    d_v = divided("zeros", d, heads)
    return State(heads, 3 * d_v, d_v)


def tokens(s: Stream, like: Tensor) -> Tensor:
    """The number of tokens so far, t 1 1."""
    return (s.position + 1).to(like.dtype)[:, None, None]


def turned(x: Tensor, s: Stream, base: float = 10_000.0) -> Tensor:
    """x: b t h v -> the same of unit length, after the official rotary tables."""
    d, angle = x.shape[-1], s.position.double()[:, None]
    angle = angle * base ** (-torch.arange(0, d, 2, device=x.device).double() / d)  # t v/2
    tables = angle.cos(), angle.sin()
    cos, sin = (y.repeat_interleave(2, dim=-1)[:, None].to(x.dtype) for y in tables)  # t 1 v
    first, second = x.chunk(2, dim=-1)
    return F.normalize(x * cos + torch.cat([-second, first], dim=-1) * sin, dim=-1)


class Logit(nn.Module):
    """Leaves s, its maximum m so far and the sum of e^(s - m) for k and q; returns m's growth."""

    formula = "1"
    no_decay = ("mu", "log_tau")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("alpha", bias=True, channels=dims.d_v)(dims)
        self.mu = nn.Parameter(torch.zeros(dims.heads, dims.d_v))
        self.log_tau = nn.Parameter(torch.zeros(dims.heads, 1))
        self.state_floats = dims.heads * (dims.d_v + 2)

    def forward(self, s: Stream) -> Decay:
        w = maps.at_least_float32(self.inner(s))  # b t h v
        tau = self.log_tau.clamp(-50, 30).exp()
        mean = (tau * self.mu + s.total("zeros.w", w)) / (tau + tokens(s, w))
        logit = -(w * mean).sum(-1, keepdim=True) * w.shape[-1] ** -0.5  # b t h 1
        # A logit of 1e4 leaves float32 three digits of its exponential; the sum needs them all.
        m = s.recall("zeros.m", torch.full_like(logit[:, 0], EMPTY))[:, None]  # b 1 h 1
        past = m.double() + s.recall("zeros.sum", torch.ones_like(logit[:, 0]))[:, None].log()
        log_sum = torch.logcumsumexp(torch.cat([past, logit.double()], 1), 1)[:, 1:]
        m = torch.cat([m, logit.detach()], 1).cummax(1).values  # b t+1 h 1
        total = (log_sum - m[:, 1:]).exp().to(w.dtype)  # b t h 1
        s.keep("zeros.m", m[:, -1].clone())
        s.keep("zeros.sum", total[:, -1].clone())
        s.notes.update({"s": logit, "m": m[:, 1:], "sum": total})
        # The state of no token at all has every scale.
        step = m.diff(dim=1).where(m[:, :-1] > EMPTY / 2, 0.0)
        return Decay(step=F.pad(step.expand_as(w), (0, 2 * w.shape[-1])))  # b t h k


class Key(nn.Module):
    formula = "[e^s k, s k, k], k = turned(u W_k + b_k), s = -(u W_s + b_s) mean(u W_s + b_s)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("k", bias=True, channels=dims.d_v)(dims)

    def forward(self, s: Stream) -> Tensor:
        logit = s.notes["s"]  # b t h 1
        k = turned(self.inner(s), s)  # b t h v
        return torch.cat([(logit - s.notes["m"]).exp() * k, logit * k, k], dim=-1)  # b t h k


class Query(nn.Module):
    """[a q, b q, c q]; in the first layer of `zero_order` c has the zeroth order back."""

    formula = "[a q, b q, c q], q = turned(u W_q + b_q)"

    def __init__(self, dims: Dims, *, zero_order: bool = False) -> None:
        super().__init__()
        self.inner = maps.linear("q", bias=True, channels=dims.d_v)(dims)
        self.gate = maps.linear("g", bias=True, channels=2 + zero_order)(dims)
        self.zero_order, self.state_floats = zero_order, dims.heads

    def forward(self, s: Stream) -> Tensor:
        gate = self.gate(s)  # b t h 2
        logits = s.total(self, s.notes["s"])  # b t h 1
        t = tokens(s, logits)
        first, higher = gate[..., :2].sigmoid().split(1, dim=-1)  # b t h 1
        a = higher / s.notes["sum"]
        b = (first - higher) / t
        c = -(b * logits + higher) / t
        if self.zero_order:
            c = c + gate[..., 2:].tanh() / t
        q = turned(self.inner(s), s)  # b t h v
        return torch.cat([a * q, b * q, c * q], dim=-1)


SPEC = Spec(
    label="ZeroS",
    paper="arXiv 2602.05230",
    family="linear transformer",
    state=state,
    f_q=Query,
    f_k=Key,
    f_v=maps.linear("v", bias=True),
    f_alpha=Logit,
    norm=maps.layer_norm("head"),
    w_o=maps.output(bias=True),
    channel="mlp",
    block_norm="layer",
)

VARIANTS = {
    "zero_order": lambda spec: replace(
        spec,
        f_q=maps.Built(Query.formula, lambda dims: Query(dims, zero_order=dims.layer == 0)),
    ),
}
