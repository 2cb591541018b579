"""TransNormerLLM (Qin et al. 2023, arXiv 2307.14995): SiLU features, a fixed decay per head, LRPE.

As in modeling_transnormer.py of OpenNLPLab/TransNormerLLM-385M: alpha = exp(-slope_h (1 - l/(L-1) +
1e-5)) with ALiBi's slopes, l the layer's index of L; one layer counts as the first. The paper
prints exp(-(8h/H)(1 - l/L)) instead. No denominator, no scale; RMSNorm without weight over all
heads, then a gate x W_g without activation. No biases.

LRPE turns the state by learned angles, one per channel, starting at 10000^(-2i/d) with i over the
channels of all heads. The paper has it in the first layer alone ("Mix"), and so has this model; the
configuration's default, an empty list, names no layer. Turning doubles a layer's state. Variants:
lrpe turns in every layer, decay in none.

128 channels per head, eight heads at least (the smallest released model's). Longer than other files
because decay and angles depend on layer and head.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Map, Spec, State, Stream, divided, formula


def slopes(heads: int) -> list[float]:
    """ALiBi's: 2^(-8/H), 2^(-16/H), ...; the rest from twice the next lower power of two."""
    power = 2 ** int(math.log2(heads))
    own = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    return own if power == heads else own + slopes(2 * power)[::2][: heads - power]


class SlopedDecay(nn.Module):
    """A fixed rate per head, smaller in later layers, and learned angles where the state turns."""

    no_decay = ("theta",)

    def __init__(self, dims: Dims, turns: bool) -> None:
        super().__init__()
        share = 1 - dims.layer / max(dims.depth - 1, 1) + 1e-5
        rate = torch.tensor([[slope * share] for slope in slopes(dims.heads)], dtype=torch.float64)
        self.rate: Tensor
        self.register_buffer("rate", rate, persistent=False)  # h 1
        channels = dims.heads * dims.d_v
        theta = 10_000.0 ** (-2 * torch.arange(channels) / channels)
        self.theta = nn.Parameter(theta.view(dims.heads, -1)) if turns else None  # h n

    def forward(self, s: Stream) -> Decay:
        return Decay(rate=self.rate, angle=self.theta)


def sloped(written: str, turns: Callable[[int], bool]) -> maps.Built:
    """turns: layer -> whether it has LRPE."""
    power = "exp(-slope_h (1 - l/(L-1) + 1e-5))"
    return maps.Built(power + written, lambda dims: SlopedDecay(dims, turns(dims.layer)))


def turning(inner: Map) -> maps.Built:
    """A real q or k, padded with an imaginary half where the layer's state is complex."""

    def build(dims: Dims) -> nn.Module:
        return maps.real(inner)(dims) if dims.d_k > dims.d_v else inner(dims)

    return maps.Built(formula(inner), build)


def state(d: int) -> State:
    heads = max(8, d // 128)
    return State(heads, 2 * divided("transnormerllm", d, heads), d // heads)


Q, K = maps.linear("q", activation="silu"), maps.linear("k", activation="silu")

SPEC = Spec(
    label="TransNormerLLM",
    paper="arXiv 2307.14995",
    family="linear transformer",
    state=state,
    layer_state=lambda state, layer: state if layer == 0 else replace(state, d_k=state.d_v),
    f_q=turning(Q),
    f_k=turning(K),
    f_v=maps.linear("v"),
    f_alpha=sloped(" e^{jθ}, θ in layer 0", lambda layer: layer == 0),
    f_g=maps.linear("g"),
    norm=maps.rms_norm("all", eps=1e-6),
    w_o=maps.output(),
    channel="glu",
    block_norm="rms_plain",
    model_init="transnormer",
)

VARIANTS = {
    "lrpe": lambda spec: replace(
        spec, layer_state=Spec.layer_state, f_alpha=sloped(" e^{jθ}", lambda layer: True)
    ),
    "decay": lambda spec: replace(
        spec,
        state=lambda d: replace(spec.state(d), d_k=spec.state(d).d_v),
        f_q=Q,
        f_k=K,
        f_alpha=sloped("", lambda layer: False),
    ),
}
