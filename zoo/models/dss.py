"""DSS (Gupta et al. 2022, arXiv 2203.14343): diagonal state spaces, eigenvalues shared by channels.

As in ag1988/dss src/models/sequence/ss/standalone/dss.py: DSS-exp (Λ = -e^a + jb, h_t = e^(ΔΛ)
h_(t-1) + (e^(ΔΛ) - 1) / Λ x_t, y_t = Re(W h_t) + D x_t without a factor 2), GELU, a linear layer;
real and imaginary parts have a step Δ each, drawn alike. Λ starts at -1/2 + j times the positive
frequencies of HiPPO's skew part. Variant softmax, the file's default: keys are divided by the sum
of the kernel over all T tokens, (e^(ΔΛ) - 1) / (Λ (e^(ΔΛT) - 1)), so they depend on the length.
There the real parts of Λ, which may become positive, are taken as at most 0: the template's states
do not grow (version clip of the same file takes them as at most 1e-4). Published: learning rate
1e-3 for Δ, Λ and W; here they take the run's. Longer than other files because the variant has a
normalisation of its own.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import discretisation, maps, state_space
from zoo.spec import Decay, Dims, Spec, State, Stream


class Diagonal(nn.Module):
    """Λ = -exp(log_neg_re) + j im for n = d_k / 2 states, the same for every channel."""

    formula = "exp(ΔΛ), Λ = -e^a + jb"
    no_decay = ("log_dt", "log_neg_re", "im")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        steps = discretisation.log_steps(dims.heads, 1)
        self.log_dt = nn.Parameter(steps.repeat(1, 2))  # h 2, for real and imaginary part
        frequencies = discretisation.hippo_frequencies(dims.d_k // 2)
        self.log_neg_re = nn.Parameter(torch.full_like(frequencies, math.log(0.5)))  # n
        self.im = nn.Parameter(frequencies)  # n

    def forward(self, s: Stream) -> Decay:
        re = -maps.at_least_float32(self.log_neg_re).exp()
        Lambda = torch.complex(re, maps.at_least_float32(self.im))  # n
        z = scaled(Lambda, self.log_dt)
        # 1 / Λ, of bounded size.
        inverse = Lambda.conj() / (Lambda.real**2 + Lambda.imag**2).clamp(min=1e-7)
        return discretisation.discrete(z, torch.expm1(z) * inverse)


class NormalisedDiagonal(nn.Module):
    """Λ as it is, and keys divided by the sum of the kernel over the T tokens of each row."""

    formula = "exp(ΔΛ)"
    no_decay = ("log_dt", "Lambda")

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        start = Diagonal(dims)
        self.log_dt = nn.Parameter(start.log_dt.detach())  # h 2
        parts = [torch.full_like(start.im, -0.5), start.im.detach()]
        self.Lambda = nn.Parameter(torch.stack(parts, dim=-1))  # n 2

    def forward(self, s: Stream) -> Decay:
        re, im = maps.at_least_float32(self.Lambda).unbind(-1)
        Lambda = torch.complex(re.clamp(max=0.0), im)
        z = scaled(Lambda, self.log_dt)
        T = s.x.shape[1] if s.lengths is None else s.lengths.to(re.dtype)[:, None, None]
        sum_of_kernel = Lambda * torch.expm1(z * T)  # h n, or b h n
        size = sum_of_kernel.real**2 + sum_of_kernel.imag**2
        return discretisation.discrete(z, torch.expm1(z) * sum_of_kernel.conj() / (size + 1e-7))


def scaled(Lambda: Tensor, log_dt: Tensor) -> Tensor:
    """ΔΛ: h n."""
    dt = maps.at_least_float32(log_dt).exp()  # h 2
    return torch.complex(dt[:, :1] * Lambda.real, dt[:, 1:] * Lambda.imag)


class Query(nn.Module):
    formula = "W"
    no_decay = ("W",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(dims.heads, dims.d_k // 2, 2))  # h n 2

    def forward(self, s: Stream) -> Tensor:
        return state_space.channels(state_space.as_complex(self.W))


SPEC = Spec(
    label="DSS",
    paper="arXiv 2203.14343",
    family="state-space model",
    state=lambda d: State(heads=d, d_k=128, d_v=1),
    f_q=Query,
    f_k=state_space.key("(α - 1) / Λ"),
    f_v=state_space.each_channel(),
    f_alpha=Diagonal,
    now=state_space.direct("D u"),
    w_o=maps.identity_output(),
    post=state_space.mixed(gated=False),
    channel="none",
    block_norm="layer",
    model_init="torch",
)

LENGTH = "keys are divided by the sum of the kernel over all tokens of the input"
VARIANTS = {
    "softmax": lambda spec: replace(
        spec,
        label="DSS (softmax)",
        f_alpha=NormalisedDiagonal,
        f_k=state_space.key("(α - 1) / (Λ (α^T - 1))"),
        by_design={"recurrent = chunked = parallel": LENGTH, "state hand-over": LENGTH},
    ),
}
