"""HGRN (Qin et al. 2023, arXiv 2311.04823): forget gates with a lower bound that rises with depth.

The default is the paper's complex state, as in Doraemonzzz/hgru-pytorch hgru/hgru1d.py (biases,
norm before gate, though its README prints the other order); lower bounds gamma = sum of
softmax(Gamma) over strictly earlier layers. Variant real: fla/layers/hgrn.py, a real state, no
biases, RMSNorm, and bounds that are the cumulative sum less its first row.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Spec, State, Stream


class BoundedDecay(nn.Module):
    """lambda = gamma + (1 - gamma) sigmoid(u W + b), alpha = lambda exp(j theta)."""

    formula = "(γ + (1-γ) σ(u W_α + b_α)) e^{jθ}"
    bias, exclusive, rotating = True, True, True
    no_decay = ("theta",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.layer, h = dims.layer, dims.heads
        self.project = nn.Linear(dims.d_u, h, bias=self.bias)
        base = 10_000.0 ** (-2 * torch.arange(h) / h)
        self.theta = nn.Parameter(base) if self.rotating else None

    def forward(self, s: Stream) -> Decay:
        z = maps.at_least_float32(self.project(s.u)).unsqueeze(-1)  # b t h 1
        if self.layer == 0:
            return Decay(step=-F.logsigmoid(z), angle=self.theta)
        share = s.shared["gamma"].softmax(0)  # layers d
        first, last = (0, self.layer) if self.exclusive else (1, self.layer + 1)
        gamma = share[first:last].sum(0).unsqueeze(-1)  # h 1
        return Decay(step=-torch.log(gamma + (1 - gamma) * z.sigmoid()), angle=self.theta)


class RealBoundedDecay(BoundedDecay):
    formula = "γ + (1-γ) σ(u W_α)"
    bias, exclusive, rotating = False, False, False


def lower_bounds(depth: int, d: int) -> dict[str, Tensor]:
    return {"gamma": nn.Parameter(torch.zeros(depth, d))}


SPEC = Spec(
    label="HGRN",
    paper="arXiv 2311.04823",
    family="linear RNN",
    state=lambda d: State(d, 1, 2),
    f_q=maps.ones("q"),
    f_k=maps.one_minus_alpha(),
    f_v=maps.linear("v", bias=True, activation="silu"),
    f_alpha=BoundedDecay,
    f_g=maps.linear("g", bias=True, activation="silu"),
    norm=maps.layer_norm("all", affine=True),
    w_o=maps.output(bias=True),
    shared=lower_bounds,
    block_norm="layer",
)

VARIANTS = {
    "real": lambda spec: replace(
        spec,
        label="HGRN (real)",
        state=lambda d: State(d, 1, 1),
        f_v=maps.linear("v", activation="silu"),
        f_alpha=RealBoundedDecay,
        f_g=maps.linear("g", activation="silu"),
        norm=maps.rms_norm("all", affine=True),
        w_o=maps.output(),
        channel="swiglu",
        block_norm="rms",
        model_init="fla",
    ),
}
