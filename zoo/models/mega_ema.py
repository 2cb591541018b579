"""Mega's EMA (Ma et al. 2022, arXiv 2209.10655): damped averages, 16 for every channel.

As in facebookresearch/mega fairseq/modules/exponential_moving_average.py, in one direction:
h_t = (1 - p a) h_(t-1) + p β x_t with p = sigmoid(delta) and a = sigmoid(alpha), y_t = SiLU(γ h_t /
sqrt(16) + ω x_t). Nothing depends on the token and channels do not mix: in Mega it stands in front
of gated attention, which is not part of this model.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import discretisation, maps, state_space
from zoo.spec import Decay, Dims, Spec, State, Stream


class Damping(nn.Module):
    formula = "1 - σ(δ) σ(a)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.delta = nn.Parameter(0.2 * torch.randn(dims.heads, dims.d_k))
        self.alpha = nn.Parameter(0.2 * torch.randn(dims.heads, dims.d_k))

    def forward(self, s: Stream) -> Decay:
        p = maps.at_least_float32(self.delta).sigmoid()  # h k
        rate = -torch.log1p(-p * maps.at_least_float32(self.alpha).sigmoid())  # h k
        return discretisation.Discrete(rate=rate, gain=p)


class Key(nn.Module):
    """p β; β starts around 1, -1, 1, ..."""

    formula = "σ(δ) β"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        signs = 1.0 - 2.0 * (torch.arange(dims.d_k) % 2)
        self.beta = nn.Parameter(signs + 0.02 * torch.randn(dims.heads, dims.d_k))

    def forward(self, s: Stream) -> Tensor:
        return (discretisation.gain(s) * self.beta)[None, None]  # 1 1 h k


class Query(nn.Module):
    formula = "γ d_k^-1/2"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(dims.heads, dims.d_k))

    def forward(self, s: Stream) -> Tensor:
        return (self.gamma * self.gamma.shape[1] ** -0.5)[None, None]  # 1 1 h k


class Activation(nn.Module):
    formula = "SiLU(y)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()

    def forward(self, y: Tensor, s: Stream) -> Tensor:
        return F.silu(y)


SPEC = Spec(
    label="Mega-EMA",
    paper="arXiv 2209.10655",
    family="state-space model",
    state=lambda d: State(heads=d, d_k=16, d_v=1),
    f_q=Query,
    f_k=Key,
    f_v=state_space.each_channel(),
    f_alpha=Damping,
    now=state_space.direct("ω u"),
    w_o=maps.identity_output(),
    post=Activation,
)

VARIANTS = {}
