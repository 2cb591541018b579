"""S5 (Smith et al. 2022, arXiv 2208.04933): one diagonal state-space model for all channels.

As in lindermanlab/S5 s5/ssm.py and s5/layers.py: h_t = e^(ΔΛ) h_(t-1) + (e^(ΔΛ) - 1) / Λ B x_t in
ssm_size / 2 complex numbers, y_t = 2 Re(C h_t) + D x_t, then GELU (tanh form, as flax has it) and
y sigma(y W + b) (half_glu1). The state is read whole, so q = k = 1 and C is W_O. Λ starts in 8
blocks of HiPPO's, negative frequencies kept, B and C in their basis. ssm_size is 2d, as at the
official default (d = 128). The real parts of Λ are taken as at most -1e-4 (clip_eigs, which the
authors recommend for unbounded lengths and leave off by default): a state must not grow.
Bidirectional in the paper's long-range tasks; here causal. Longer than other files for the blocks.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import discretisation, maps, state_space
from zoo.spec import Decay, Dims, Spec, State, Stream, divided

BLOCKS = 8


class Diagonal(nn.Module):
    formula = "exp(ΔΛ)"
    no_decay = ("re", "im", "log_dt")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        frequencies = basis(dims.heads)[0]
        self.re = nn.Parameter(torch.full((dims.heads,), -0.5))
        frequencies = frequencies.repeat(dims.heads // len(frequencies))
        self.im = nn.Parameter(frequencies.to(self.re.dtype))
        self.log_dt = nn.Parameter(discretisation.log_steps(dims.heads))  # h

    def forward(self, s: Stream) -> Decay:
        re, im = maps.at_least_float32(self.re).clamp(max=-1e-4), maps.at_least_float32(self.im)
        Lambda, dt = torch.complex(re, im), maps.at_least_float32(self.log_dt).exp()  # h
        z = dt * Lambda
        gain = torch.expm1(z) / Lambda
        return discretisation.Discrete(rate=-z.real.unsqueeze(-1), angle=z.imag, gain=gain)


class Input(nn.Module):
    """(α - 1) / Λ B u, B being h d complex."""

    formula = "(α - 1) / Λ B u"
    no_decay = ("B",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        size = 2 * dims.heads
        V = basis(dims.heads)[1]  # (2 n) n, one block
        drawn = maps.lecun_normal(torch.empty(size, dims.d_u), fan_in=size)
        B = torch.cat([V.mH @ block.to(V.dtype) for block in drawn.split(len(V))])  # h d
        self.B = nn.Parameter(torch.view_as_real(B).to(drawn.dtype))  # h d 2

    def forward(self, s: Stream) -> Tensor:
        B = discretisation.gain(s).unsqueeze(-1) * state_space.as_complex(self.B)  # h d
        weight = rearrange(torch.view_as_real(B), "h d part -> (h part) d").to(s.u.dtype)
        return rearrange(F.linear(s.u, weight), "b t (h part) -> b t h part", part=2)


class Output(nn.Module):
    """2 Re(C h), C being d h complex."""

    formula = "2 Re(C y)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        size = 2 * dims.heads
        V = basis(dims.heads)[1]  # (2 n) n
        parts = [maps.lecun_normal(torch.empty(dims.d, size), fan_in=size) for _ in range(2)]
        drawn = torch.complex(*parts)
        C = torch.cat([block.to(V.dtype) @ V for block in drawn.split(len(V), dim=1)], dim=1)
        self.C = nn.Parameter(torch.view_as_real(C).to(drawn.real.dtype))  # d h 2

    def forward(self, y: Tensor) -> Tensor:
        re, im = self.C.unbind(-1)  # d h
        return F.linear(y, torch.stack([2 * re, -2 * im], dim=-1).flatten(1))


class HalfGLU(nn.Module):
    formula = "z σ(z W + b), z = GeLU(y + D u)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.D = nn.Parameter(torch.randn(dims.d_u))
        self.weight = nn.Parameter(maps.lecun_normal(torch.empty(dims.d, dims.d), fan_in=dims.d))
        self.bias = nn.Parameter(torch.zeros(dims.d))

    def forward(self, y: Tensor, s: Stream) -> Tensor:
        z = F.gelu(y + self.D * s.u, approximate="tanh")
        return z * F.linear(z, self.weight, self.bias).sigmoid()  # b t d


def basis(heads: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegS of one block: n negative frequencies and their eigenvectors, (2 n) n."""
    return discretisation.hippo(2 * heads // math.gcd(heads, BLOCKS))


SPEC = Spec(
    label="S5",
    paper="arXiv 2208.04933",
    family="state-space model",
    state=lambda d: State(heads=BLOCKS * divided("S5", d, BLOCKS), d_k=1, d_v=2),
    f_q=maps.ones("q"),
    f_k=maps.ones("k"),
    f_v=Input,
    f_alpha=Diagonal,
    w_o=Output,
    post=HalfGLU,
    channel="none",
    block_norm="batch",
    model_init="flax",
)

VARIANTS = {}
