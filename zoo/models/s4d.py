"""S4D (Gu et al. 2022, arXiv 2206.11893): one diagonal state-space model per channel.

As in state-spaces/s4 models/s4/s4d.py, the minimal class: S4D-Lin, zero-order hold, step exp(log
dt), then GELU, a linear layer and GLU. h_t = exp(Δ A) h_(t-1) + (exp(Δ A) - 1) / A x_t in complex
numbers, y_t = 2 Re(C h_t) + D x_t. q, k and the decay are the same for all tokens. Variants: other
initial A (inv, and legs, whose B is a parameter too, as in the repository's diag-legs), real A
(d_k real numbers, the factor 2 kept, as SSMKernelDiag has it) and the bilinear rule. Published:
learning rate 1e-3 for dt and A, where the full configurations set it; here they take the run's.
Longer than other files because every variant starts from other values of A.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Spec, State, Stream


@dataclass(frozen=True, kw_only=True)
class Discrete(Decay):
    """A decay, and the key that discretisation gives with it: h n, complex where A is."""

    key: Tensor


class Diagonal(nn.Module):
    """A = -exp(log_A_real) + j A_imag for every channel and n = d_k / 2 complex states."""

    formula = "exp(ΔA), A = -e^a + jb"
    no_decay = ("log_dt", "log_A_real", "A_imag")
    sign = 1.0

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        n = torch.arange(dims.d_k // 2)
        steps = torch.empty(dims.heads).uniform_(math.log(1e-3), math.log(1e-1))
        self.log_dt = nn.Parameter(steps)  # h
        self.log_A_real = nn.Parameter(torch.full((dims.heads, len(n)), math.log(0.5)))  # h n
        self.A_imag: nn.Parameter | None = nn.Parameter(
            self.frequencies(n).repeat(dims.heads, 1)
        )  # h n

    def frequencies(self, n: Tensor) -> Tensor:
        return math.pi * n

    def forward(self, s: Stream) -> Decay:
        dt = maps.at_least_float32(self.log_dt).exp().unsqueeze(-1)  # h 1
        A = -maps.at_least_float32(self.log_A_real).exp()
        A = A if self.A_imag is None else torch.complex(A, self.sign * self.A_imag.to(A.dtype))
        return self.discrete(A, dt)

    def discrete(self, A: Tensor, dt: Tensor) -> Decay:
        z = dt * A  # h n
        rate = -torch.cat([z.real, z.real], dim=-1)  # h k
        return Discrete(rate=rate, angle=z.imag, key=torch.expm1(z) / A)


class Inverse(Diagonal):
    """Frequencies N/pi (N / (2n+1) - 1), N = d_k (S4D-Inv)."""

    def frequencies(self, n: Tensor) -> Tensor:
        N = 2 * len(n)
        return N / math.pi * (N / (2 * n + 1) - 1)


class LegS(Diagonal):
    """HiPPO-LegS, from the highest frequency down, and its conjugates, as the repository has it."""

    formula = "exp(ΔA), A = -e^a - jb"
    sign = -1.0

    def frequencies(self, n: Tensor) -> Tensor:
        return hippo(2 * len(n))[0]


class Bilinear(Diagonal):
    formula = "(1 + ΔA/2) / (1 - ΔA/2), A = -e^a - jb"
    sign = -1.0

    def discrete(self, A: Tensor, dt: Tensor) -> Decay:
        z = dt * A  # h n
        near = 1 - z / 2
        rate = -0.5 * torch.log1p(2 * z.real / (near.real**2 + near.imag**2))  # -log|alpha|
        angle = torch.angle((1 + z / 2) / near)
        return Discrete(rate=torch.cat([rate, rate], dim=-1), angle=angle, key=dt / near)


class Real(Diagonal):
    """A = -exp(log_A_real), at first -(n + 1), for d_k real states (S4D-Real)."""

    formula = "exp(ΔA), A = -e^a"

    def __init__(self, dims: Dims) -> None:
        super().__init__(dims)
        rates = torch.arange(1.0, dims.d_k + 1)
        self.log_A_real = nn.Parameter(rates.log().repeat(dims.heads, 1))  # h k
        self.A_imag = None

    def discrete(self, A: Tensor, dt: Tensor) -> Decay:
        z = dt * A  # h k
        return Discrete(rate=-z, key=torch.expm1(z) / A)


class Key(nn.Module):
    """What discretisation gives, B being 1."""

    formula = "(α - 1) / A"

    def __init__(self, dims: Dims) -> None:
        super().__init__()

    def forward(self, s: Stream) -> Tensor:
        assert isinstance(s.decay, Discrete)
        return channels(s.decay.key)


class LegSKey(Key):
    """The same times B, which starts as HiPPO-LegS's, imaginary parts clipped at 2."""

    formula = "(α - 1) / A B"
    no_decay = ("B",)

    def __init__(self, dims: Dims) -> None:
        super().__init__(dims)
        self.B = nn.Parameter(hippo(dims.d_k)[1].repeat(dims.heads, 1, 1))  # h n 2

    def forward(self, s: Stream) -> Tensor:
        assert isinstance(s.decay, Discrete)
        return channels(s.decay.key * torch.view_as_complex(maps.at_least_float32(self.B)))


class Query(nn.Module):
    """2 C: the states that are not computed are conjugates of these."""

    formula = "2 C"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.C = nn.Parameter(0.5**0.5 * torch.randn(dims.heads, dims.d_k // 2, 2))  # h n 2

    def forward(self, s: Stream) -> Tensor:
        return channels(2 * torch.view_as_complex(maps.at_least_float32(self.C)))


class RealQuery(nn.Module):
    formula = "2 C"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.C = nn.Parameter(0.5**0.5 * torch.randn(dims.heads, dims.d_k))  # h k

    def forward(self, s: Stream) -> Tensor:
        return channels(2 * maps.at_least_float32(self.C))


class Direct(nn.Module):
    """D u, D drawn from N(0, 1)."""

    formula = "D u"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dims.heads))

    def forward(self, s: Stream) -> Tensor:
        return (s.u * self.weight).unsqueeze(-1)  # b t h 1


class GatedLinear(nn.Module):
    formula = "GLU(GeLU(y) W + b)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.project = nn.Linear(dims.d, 2 * dims.d)

    def forward(self, y: Tensor, s: Stream) -> Tensor:
        return F.glu(self.project(F.gelu(y)))  # b t d


def channels(x: Tensor) -> Tensor:
    """h n complex -> 1 1 h k, [real parts | imaginary parts]; real numbers as they are."""
    return (torch.cat([x.real, x.imag], dim=-1) if x.is_complex() else x)[None, None]


def hippo(N: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegS: N/2 frequencies from the highest down, and clipped B for their negatives, n 2."""
    P = (2 * torch.arange(N, dtype=torch.float64) + 1).sqrt()
    skew = (P * P[:, None] / 2).triu(1) - (P * P[:, None] / 2).tril(-1)
    frequencies, V = torch.linalg.eigh(-1j * skew)  # ascending: the first half are negative
    B = V[:, : N // 2].mH @ P.to(V.dtype)
    clipped = torch.stack([B.real, B.imag.clamp(-2, 2)], dim=-1)
    dtype = torch.get_default_dtype()
    return -frequencies[: N // 2].to(dtype), clipped.to(dtype)


SPEC = Spec(
    label="S4D",
    paper="arXiv 2206.11893",
    family="state-space model",
    state=lambda d: State(heads=d, d_k=64, d_v=1),
    f_q=Query,
    f_k=Key,
    f_v=maps.Built("u", lambda dims: maps.Part(0, dims.heads, 1)),
    f_alpha=Diagonal,
    now=Direct,
    w_o=maps.identity_output(),
    post=GatedLinear,
    channel="none",
    block_norm="layer",
    model_init="torch",
)

VARIANTS = {
    "inv": lambda spec: replace(spec, label="S4D-Inv", f_alpha=Inverse),
    "legs": lambda spec: replace(spec, label="S4D-LegS", f_alpha=LegS, f_k=LegSKey),
    "real": lambda spec: replace(spec, label="S4D-Real", f_alpha=Real, f_q=RealQuery),
    "bilinear": lambda spec: replace(spec, label="S4D (bilinear)", f_alpha=Bilinear),
}
