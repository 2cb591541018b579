"""Mamba (Gu & Dao 2023, arXiv 2312.00752), the whole block: in_proj, convolution, S6, skip, gate.

As in state-spaces/mamba modules/mamba_simple.py and selective_scan_ref. Published: alpha = exp(step
A), k = step B (Euler, not zero-order hold), v = u. Here the step goes to v instead of k, which is
the same product and never builds a tensor over time, channels and state; the formulas print the
published form. MetaLA's Table A2 keeps the S6 core only (g = 1, W_O = I); this is the block that is
benchmarked.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from zoo import discretisation, maps, state_space
from zoo.spec import Decay, Dims, Spec, State, Stream


class SelectiveDecay(nn.Module):
    """step = softplus(u W1 W2 + b) per channel; rate = exp(A_log) per channel and state."""

    formula = "exp(-Δ e^{A}), Δ = softplus(u W1_Δ W2_Δ + b_Δ)"
    no_decay = ("A_log",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        rank = math.ceil(dims.d / 16)
        self.down = nn.Parameter(torch.empty(rank, dims.d_u))
        self.up = nn.Parameter(torch.empty(dims.d_u, rank).uniform_(-(rank**-0.5), rank**-0.5))
        maps.torch_default(self.down, dims)
        self.bias = nn.Parameter(discretisation.step_bias(dims.d_u))
        self.A_log = nn.Parameter(
            torch.arange(1.0, dims.d_k + 1).log().repeat(dims.heads, 1)
        )  # h k

    def forward(self, s: Stream) -> Decay:
        z = F.linear(F.linear(s.u, self.down), self.up, self.bias)  # b t h
        step = F.softplus(maps.at_least_float32(z)).unsqueeze(-1)  # b t h 1
        return Decay(step=step, rate=maps.at_least_float32(self.A_log).exp())


SPEC = Spec(
    label="Mamba",
    paper="arXiv 2312.00752",
    family="state-space model",
    d_u=lambda d: 2 * d,
    state=lambda d: State(heads=2 * d, d_k=16, d_v=1),
    widen=maps.Widen,
    local=maps.short_conv(4, "silu", bias=True),
    f_q=maps.linear("q", shared=True),
    f_k=maps.Built("Δ (u W_k)", maps.linear("k", shared=True)),
    f_v=state_space.stepped(state_space.each_channel()),
    f_alpha=SelectiveDecay,
    now=maps.skip(),
    f_g=maps.linear("g", activation="silu", of="x"),
    w_o=maps.output(init=maps.over_root_depth),
    channel="none",
)

VARIANTS = {
    # State sizes of zoology's sweeps; 16 is the paper's.
    "state8": lambda spec: replace(spec, state=lambda d: State(2 * d, 8, 1)),
    "state24": lambda spec: replace(spec, state=lambda d: State(2 * d, 24, 1)),
}
