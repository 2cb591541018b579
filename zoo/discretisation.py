"""Decays of models that start from a continuous-time system h' = A h + B u with a diagonal A.

S4D, DSS, H3 and S5; LRU and Mega-EMA have a gain of the same kind. n counts complex states, of
which a head keeps k = 2n real numbers, [n real parts | n imaginary parts]. Only one of each
conjugate pair is computed, so that reading out takes twice the real part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Stream


@dataclass(frozen=True, kw_only=True)
class Discrete(Decay):
    """A decay, and the gain that the same numbers give to what enters its state.

    gain: h n or h, complex where A is: by discretisation, (alpha - 1) / A. h 1 or h k, real: LRU's
    e^gamma, Mega's p.
    """

    gain: Tensor


def gain(s: Stream) -> Tensor:
    """The gain of the layer's decay."""
    assert isinstance(s.decay, Discrete), "this map needs a decay with a gain"
    return s.decay.gain


def discrete(z: Tensor, gain: Tensor) -> Discrete:
    """alpha = exp(z). z: h n complex, or h k real, real part <= 0."""
    if not z.is_complex():
        return Discrete(rate=-z, gain=gain)
    return Discrete(rate=-torch.cat([z.real, z.real], dim=-1), angle=z.imag, gain=gain)


def log_steps(*size: int) -> Tensor:
    """log of steps that are log-uniform in 1e-3 to 1e-1, as those of S4 and Mamba."""
    return torch.empty(size).uniform_(math.log(1e-3), math.log(1e-1))


def step_bias(*size: int) -> Tensor:
    """b whose softplus(b) is such a step."""
    step = log_steps(*size).exp()
    return step + torch.log(-torch.expm1(-step))  # inverse softplus


@dataclass(frozen=True)
class Rule:
    """How A and a step (h n, h 1) become a decay and a gain; `written` is alpha's formula."""

    written: str
    apply: Callable[[Tensor, Tensor], Discrete]


def zero_order_hold(A: Tensor, dt: Tensor) -> Discrete:
    z = dt * A  # h n
    return discrete(z, torch.expm1(z) / A)


def bilinear(A: Tensor, dt: Tensor) -> Discrete:
    z = dt * A  # h n
    near = 1 - z / 2
    rate = -0.5 * torch.log1p(2 * z.real / (near.real**2 + near.imag**2))  # -log|alpha|
    angle = torch.angle((1 + z / 2) / near)
    return Discrete(rate=torch.cat([rate, rate], dim=-1), angle=angle, gain=dt / near)


ZERO_ORDER_HOLD = Rule("exp(ΔA)", zero_order_hold)
BILINEAR = Rule("(1 + ΔA/2) / (1 - ΔA/2)", bilinear)


def diagonal(rule: Rule, frequencies: Callable[[int], Tensor], *, sign: str = "+") -> maps.Built:
    """A = -exp(log_A_real) + j A_imag, or - j, for every head and n states (S4D, s4d.py).

    frequencies: n -> initial A_imag, n. The real parts start at -1/2.
    """
    written = f"{rule.written}, A = -e^a {sign} jb"
    return maps.Built(written, lambda dims: Diagonal(dims, rule, frequencies, sign))


class Diagonal(nn.Module):
    no_decay = ("log_dt", "log_A_real", "A_imag")

    def __init__(
        self, dims: Dims, rule: Rule, frequencies: Callable[[int], Tensor], sign: str
    ) -> None:
        super().__init__()
        self.rule, self.sign, n = rule, float(f"{sign}1"), dims.d_k // 2
        self.log_dt = nn.Parameter(log_steps(dims.heads))  # h
        self.log_A_real = nn.Parameter(torch.full((dims.heads, n), math.log(0.5)))  # h n
        self.A_imag = nn.Parameter(frequencies(n).repeat(dims.heads, 1))  # h n

    def forward(self, s: Stream) -> Decay:
        dt = maps.at_least_float32(self.log_dt).exp().unsqueeze(-1)  # h 1
        A_real = -maps.at_least_float32(self.log_A_real).exp()  # h n
        A = torch.complex(A_real, self.sign * self.A_imag.to(A_real.dtype))
        return self.rule.apply(A, dt)


def linear_frequencies(n: int) -> Tensor:
    """pi times 0, 1, 2, ... (S4D-Lin)."""
    return math.pi * torch.arange(n)


def hippo(N: int) -> tuple[Tensor, Tensor]:
    """The skew part of HiPPO-LegS: N/2 negative frequencies, the lowest of them first, and their
    eigenvectors, N N/2; both double (Gu et al. 2022, arXiv 2206.11893, section 2)."""
    P = (2 * torch.arange(N, dtype=torch.float64) + 1).sqrt()
    skew = (P * P[:, None] / 2).triu(1) - (P * P[:, None] / 2).tril(-1)
    frequencies, V = torch.linalg.eigh(-1j * skew)  # ascending: the first half are negative
    return frequencies[: N // 2], V[:, : N // 2]


def hippo_frequencies(n: int) -> Tensor:
    """The n positive frequencies of HiPPO-LegS for n complex states, the highest first."""
    return -hippo(2 * n)[0].to(torch.get_default_dtype())
