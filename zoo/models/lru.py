"""LRU, the linear recurrent unit (Orvieto et al. 2023, arXiv 2303.06349).

As in NicolasZucchet/minimal-LRU lru/model.py, LRU with what SequenceLayer puts after it: complex
fixed alpha = exp(-exp(nu) + j exp(theta)), x B^T times exp(gamma), Re(C h) without a factor 2, plus
D x, then GELU and GLU. The paper folds exp(gamma) into B; here it belongs to v, so that k = 1. As
many complex states as channels; run_train.py has half as many (variant half). |alpha|^2 uniform in
(0, 1), phase in (0, 6.28), gamma = log sqrt(1 - |alpha|^2). Batch norm before it and the skip
connection are the block's. Not reproduced: half the learning rate for nu, theta, gamma and B.

Longer than other models: a complex input and output matrix, and what follows the state.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import discretisation, maps
from zoo.spec import Decay, Dims, Spec, State, Stream, divided

MAX_PHASE = 6.28


class RingDecay(nn.Module):
    """gamma starts where the decay does, so it is drawn here; the values use it."""

    formula = "exp(-e^ν + j e^θ)"
    no_decay = ("nu_log", "theta_log", "gamma_log")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        # Open at both ends: a draw of exactly 0 or 1 has no logarithm.
        square, turn = torch.rand(2, dims.heads).clamp(1e-7, 1 - 1e-7)
        self.nu_log = nn.Parameter(torch.log(-0.5 * torch.log(square)))
        self.theta_log = nn.Parameter(torch.log(MAX_PHASE * turn))
        self.gamma_log = nn.Parameter(0.5 * torch.log1p(-square))

    def forward(self, s: Stream) -> Decay:
        nu, theta, gamma = map(maps.at_least_float32, (self.nu_log, self.theta_log, self.gamma_log))
        return discretisation.Discrete(
            rate=nu.exp().unsqueeze(-1), angle=theta.exp(), gain=gamma.exp().unsqueeze(-1)
        )  # h 1, h, h 1


class ComplexInput(nn.Module):
    """weight: (h 2) d, real and imaginary row of B for every state."""

    formula = "e^γ u B"
    no_decay = ("weight",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        bound = (2 * dims.d_u) ** -0.5
        self.weight = nn.Parameter(bound * torch.randn(2 * dims.heads, dims.d_u))

    def forward(self, s: Stream) -> Tensor:
        v = rearrange(F.linear(s.u, self.weight), "b t (h c) -> b t h c", c=2)
        return discretisation.gain(s).to(v.dtype) * v


class RealPart(nn.Module):
    """Re(C h). re, im: d h."""

    formula = "y C, real part"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.re, self.im = (
            nn.Parameter(dims.heads**-0.5 * torch.randn(dims.d, dims.heads)) for _ in range(2)
        )

    def forward(self, o: Tensor) -> Tensor:
        re, im = rearrange(o, "b t (h c) -> c b t h", c=2)
        return F.linear(re, self.re) - F.linear(im, self.im)  # b t d


class Head(nn.Module):
    """y + D u, GELU, then W1 y * sigmoid(W2 y)."""

    formula = "(z W_1 + b_1) ⊙ σ(z W_2 + b_2), z = GeLU(y + D u)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.D = nn.Parameter(torch.randn(dims.d))
        self.out1, self.out2 = nn.Linear(dims.d, dims.d), nn.Linear(dims.d, dims.d)
        for layer in (self.out1, self.out2):
            maps.lecun_normal(layer.weight, fan_in=dims.d)
            nn.init.zeros_(layer.bias)

    def forward(self, y: Tensor, s: Stream) -> Tensor:
        z = F.gelu(y + self.D * s.u, approximate="tanh")  # b t d
        return self.out1(z) * torch.sigmoid(self.out2(z))


SPEC = Spec(
    label="LRU",
    paper="arXiv 2303.06349",
    family="linear RNN",
    state=lambda d: State(d, 1, 2),
    f_q=maps.ones("q"),
    f_k=maps.ones("k"),
    f_v=ComplexInput,
    f_alpha=RingDecay,
    w_o=RealPart,
    post=Head,
    channel="none",
    block_norm="batch",
    model_init="flax",
)

VARIANTS = {
    "half": lambda spec: replace(spec, state=lambda d: State(divided("lru", d, 2), 1, 2)),
}
