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
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import discretisation, maps, state_space
from zoo.spec import Decay, Dims, Spec, State, Stream


def inverse(n: int) -> Tensor:
    """N/pi (N / (2n+1) - 1), N = d_k (S4D-Inv)."""
    N = 2 * n
    return N / math.pi * (N / (2 * torch.arange(n) + 1) - 1)


def legs_input(n: int) -> Tensor:
    """B of HiPPO-LegS for the negative frequencies, imaginary parts clipped at 2: n 2."""
    V = discretisation.hippo(2 * n)[1]
    B = V.mH @ (2 * torch.arange(2 * n, dtype=torch.float64) + 1).sqrt().to(V.dtype)
    return torch.stack([B.real, B.imag.clamp(-2, 2)], dim=-1).to(torch.get_default_dtype())


class RealDiagonal(nn.Module):
    """A = -exp(log_A_real), at first -(n + 1), for d_k real states (S4D-Real)."""

    formula = "exp(ΔA), A = -e^a"
    no_decay = ("log_dt", "log_A_real")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.log_dt = nn.Parameter(discretisation.log_steps(dims.heads))  # h
        rates = torch.arange(1.0, dims.d_k + 1)
        self.log_A_real = nn.Parameter(rates.log().repeat(dims.heads, 1))  # h k

    def forward(self, s: Stream) -> Decay:
        dt = maps.at_least_float32(self.log_dt).exp().unsqueeze(-1)  # h 1
        return discretisation.zero_order_hold(-maps.at_least_float32(self.log_A_real).exp(), dt)


class RealQuery(nn.Module):
    formula = "2 C"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.C = nn.Parameter(0.5**0.5 * torch.randn(dims.heads, dims.d_k))  # h k

    def forward(self, s: Stream) -> Tensor:
        return state_space.channels(2 * maps.at_least_float32(self.C))


HOLD, KEY = discretisation.ZERO_ORDER_HOLD, "(α - 1) / A"
SPEC = Spec(
    label="S4D",
    paper="arXiv 2206.11893",
    family="state-space model",
    state=lambda d: State(heads=d, d_k=64, d_v=1),
    f_q=state_space.Query,
    f_k=state_space.key(KEY),
    f_v=state_space.each_channel(),
    f_alpha=discretisation.diagonal(HOLD, discretisation.linear_frequencies),
    now=state_space.direct("D u"),
    w_o=maps.identity_output(),
    post=state_space.mixed(gated=True),
    channel="none",
    block_norm="layer",
    model_init="torch",
)

VARIANTS = {
    "inv": lambda spec: replace(
        spec, label="S4D-Inv", f_alpha=discretisation.diagonal(HOLD, inverse)
    ),
    "legs": lambda spec: replace(
        spec,
        label="S4D-LegS",
        f_alpha=discretisation.diagonal(HOLD, discretisation.hippo_frequencies, sign="-"),
        f_k=state_space.learned_key(f"{KEY} B", legs_input),
    ),
    "real": lambda spec: replace(spec, label="S4D-Real", f_alpha=RealDiagonal, f_q=RealQuery),
    "bilinear": lambda spec: replace(
        spec,
        label="S4D (bilinear)",
        f_alpha=discretisation.diagonal(
            discretisation.BILINEAR, discretisation.linear_frequencies, sign="-"
        ),
    ),
}
