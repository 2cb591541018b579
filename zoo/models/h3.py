"""H3 (Fu, Dao et al. 2022, arXiv 2212.14052): a shift SSM on the keys, S4D on keys times values.

As in HazyResearch/H3 src/models/ssm/h3.py: k = FIR(x W_k) + D_k x W_k, the FIR's d_state taps being
the correlation of B (at first e_1) and C; S4D (Lin, bilinear, 2 Re) of every entry of k_t^T v_t per
head, plus D k_t^T v_t; contracted with q_t; W_O. As an attention map that is q_t K_(t-s) k_s. Here
the scan's value is the product k_t^T v_t, its q and k are S4D's C and B, and q_t is the gate: the
same numbers, with q and k that no token changes. Channels enter W_O value index first, as
published. A named short convolution replaces the shift SSM. Variant mqar: heads of two channels and
d_state d/4, as in zoology's experiments. Longer than other files because there are two SSMs.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from zoo import discretisation, state_space
from zoo.spec import Dims, Spec, State, Stream, divided


class Product(nn.Module):
    """k_t^T v_t: every pair of key and value channels of a head, k after the shift SSM."""

    formula = "(shift(u W_k + b_k) + D_k (u W_k + b_k))ᵀ (u W_v + b_v)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.width = dims.d // dims.heads
        self.key, self.value = nn.Linear(dims.d_u, dims.d), nn.Linear(dims.d_u, dims.d)
        self.shift = Shift(dims) if dims.own_local else None

    def forward(self, s: Stream) -> Tensor:
        k, v = self.key(s.u), self.value(s.u)  # b t d
        k = k if self.shift is None else self.shift(k, s)
        k, v = (rearrange(x, "b t (h c) -> b t h c", c=self.width) for x in (k, v))
        return (k.unsqueeze(-1) * v.unsqueeze(-2)).flatten(3)  # b t h (c c)


class Shift(nn.Module):
    """A state that shifts by one channel a token, fed through B, read by C: a FIR, plus D k."""

    no_decay = ("B",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        d, n = dims.d, dims.d_k
        self.B = nn.Parameter(torch.eye(1, n).repeat(d, 1))  # d n
        self.C = nn.Parameter(torch.empty(d, n).uniform_(-(n**-0.5), n**-0.5))  # d n
        self.D = nn.Parameter(torch.randn(d))
        self.state_floats = (n - 1) * d

    def forward(self, k: Tensor, s: Stream) -> Tensor:
        n = self.B.shape[1]
        ahead = F.pad(self.C, (0, n - 1)).unfold(1, n, 1)  # d lag n: C from `lag` on
        taps = torch.einsum("dn,dln->dl", self.B, ahead)
        past = s.past(self, k, n - 1).mT.to(taps.dtype)  # b d (n-1+t)
        filtered = F.conv1d(past, taps.flip(1).unsqueeze(1), groups=k.shape[2])
        return filtered.mT + self.D * k  # b t d


class Read(nn.Module):
    """q_t, repeated for every value channel of its head."""

    formula = "u W_q + b_q"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.heads, self.width = dims.heads, dims.d // dims.heads
        self.project = nn.Linear(dims.d_u, dims.d)

    def forward(self, s: Stream) -> Tensor:
        q = rearrange(self.project(s.u), "b t (h c) -> b t h c", h=self.heads)
        return q.repeat_interleave(self.width, dim=3)  # b t h (c c)


class Output(nn.Module):
    """The sum over key channels, then W_O, its inputs ordered by value channel, then head."""

    formula = "y W_O + b_O"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.heads, self.width = dims.heads, dims.d // dims.heads
        self.project = nn.Linear(dims.d, dims.d)

    def forward(self, y: Tensor) -> Tensor:
        pattern = "b t (h c v) -> b t v h"
        y = reduce(y, pattern, "sum", h=self.heads, c=self.width)
        return self.project(y.flatten(2))  # b t d


def ones(n: int) -> Tensor:
    """B at the start: 1 for every state, n 2."""
    return torch.tensor([1.0, 0.0]).repeat(n, 1)


SPEC = Spec(
    label="H3",
    paper="arXiv 2212.14052",
    family="state-space model",
    state=lambda d: State(heads=d, d_k=64, d_v=1),
    f_q=state_space.Query,
    f_k=state_space.learned_key("ΔB / (1 - ΔA/2)", ones),
    f_v=Product,
    f_alpha=discretisation.diagonal(discretisation.BILINEAR, discretisation.linear_frequencies),
    now=state_space.direct("D kᵀ v"),
    f_g=Read,
    w_o=Output,
    channel="mlp",
    block_norm="layer",
    model_init="h3",
)

VARIANTS = {
    "mqar": lambda spec: replace(
        spec, state=lambda d: State(divided("H3", d, 2), 2 * divided("H3", d, 8), 4)
    ),
}
