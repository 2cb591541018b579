"""HGRN2 (Qin et al. 2024, arXiv 2404.07904): HGRN with an outer product for the input and a query.

Default: the language model of Doraemonzzz/hgru2-pytorch, class Hgru2 in models/modeling_hgrn2.py:
q = SiLU, v linear, no biases, RMSNorm without weight over all heads (eps 1e-6), no gate, no scale,
and lower bounds gamma that are the cumulative softmax of Gamma over layers less its first row.
128 channels per head as in fla's HGRN2Config, where Hgrn2Config says 2; one head below that width.
Variant standalone: modules/hgru2_1d.py (biases, q = sigmoid, v = SiLU, LayerNorm). Variant fla:
fla/layers/hgrn2.py (RMSNorm with weight, eps 1e-5, scale d_k^-1/2). Matrices start as the classes
leave them, torch's default; the language models draw N(0, 0.02) over them (model_init).
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Spec, State, Stream, divided


class BoundedDecay(nn.Module):
    """alpha = gamma + (1 - gamma) sigmoid(u W): never below gamma, which rises with the layer."""

    formula = "γ + (1-γ) σ(u W_α)"
    bias = False

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.layer, self.heads = dims.layer, dims.heads
        self.project = maps.linear("alpha", bias=self.bias)(dims)

    def forward(self, s: Stream) -> Decay:
        z = maps.at_least_float32(self.project(s))  # b t h k
        if self.layer == 0:
            return Decay(step=-F.logsigmoid(z))
        share = s.shared["gamma"].softmax(0)  # layers (h k)
        gamma = share[1 : self.layer + 1].sum(0).unflatten(0, (self.heads, -1))  # h k
        return Decay(step=-torch.log(gamma + (1 - gamma) * z.sigmoid()))


class BiasedDecay(BoundedDecay):
    formula = "γ + (1-γ) σ(u W_α + b_α)"
    bias = True


def lower_bounds(depth: int, d: int) -> dict[str, Tensor]:
    return {"gamma": nn.Parameter(torch.ones(depth, d))}


def state(d: int) -> State:
    heads = max(1, d // 128)
    return State(heads, divided("hgrn2", d, heads), d // heads)


SPEC = Spec(
    label="HGRN2",
    paper="arXiv 2404.07904",
    family="linear RNN",
    state=state,
    f_q=maps.linear("q", activation="silu"),
    f_k=maps.one_minus_alpha(),
    f_v=maps.linear("v"),
    f_alpha=BoundedDecay,
    norm=maps.rms_norm("all", eps=1e-6),
    w_o=maps.output(),
    shared=lower_bounds,
    channel="glu",
    block_norm="rms_plain",
    model_init="normal",
)

VARIANTS = {
    "standalone": lambda spec: replace(
        spec,
        f_q=maps.linear("q", bias=True, activation="sigmoid"),
        f_v=maps.linear("v", bias=True, activation="silu"),
        f_alpha=BiasedDecay,
        norm=maps.layer_norm("all", affine=True),
        w_o=maps.output(bias=True),
        model_init="own",
    ),
    "fla": lambda spec: replace(
        spec,
        norm=maps.rms_norm("all", affine=True),
        scale="d_k^-1/2",
        channel="swiglu",
        block_norm="rms",
        model_init="fla",
    ),
}
