"""Mamba-2 (Dao & Gu 2024, arXiv 2405.21060): one decay per head, queries and keys shared by all.

As in state-spaces/mamba modules/mamba2.py with ngroups=1: one projection of the block input to x, B
and C, which the convolution mixes, and to z and the step, which it does not. alpha = exp(-step
e^A_log), k = B, q = C, v = step x; D x is added, and the RMSNorm over all heads follows the SiLU
gate. d_state is 128 there; 64 in mamba2_simple.py (variant state64). 64 channels per head.
Initialised as in mixer_seq_simple.py, which divides out_proj by sqrt(depth).
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import discretisation, maps, state_space
from zoo.spec import Decay, Dims, Spec, State, Stream

# u has the channels of x of all heads, then B, then C.
VALUE = maps.part(lambda dims: 0, "v")


class SelectiveDecay(nn.Module):
    """step = softplus(x W + b) and rate = exp(A_log), one value per head."""

    formula = "exp(-Δ e^{A}), Δ = softplus(x W_Δ + b_Δ)"
    no_decay = ("A_log",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dims.heads, dims.d))
        maps.torch_default(self.weight, dims)
        self.bias = nn.Parameter(discretisation.step_bias(dims.heads))
        self.A_log = nn.Parameter(torch.empty(dims.heads).uniform_(1, 16).log())

    def forward(self, s: Stream) -> Decay:
        z = F.linear(s.x, self.weight, self.bias).unsqueeze(-1)  # b t h 1
        rate = maps.at_least_float32(self.A_log).exp().unsqueeze(-1)  # h 1
        return Decay(step=F.softplus(maps.at_least_float32(z)), rate=rate)


class Skip(nn.Module):
    """D x, one D per head; x without the step."""

    formula = "D u[v]"
    no_decay = ("weight",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.x = VALUE(dims)
        self.weight = nn.Parameter(torch.ones(dims.heads))

    def forward(self, s: Stream) -> Tensor:
        return self.x(s) * rearrange(self.weight, "h -> h 1")


def with_states(spec: Spec, n: int) -> Spec:
    """n states: B is n channels of u after the 2d of x, C the n channels after B."""
    return replace(
        spec,
        d_u=lambda d: 2 * d + 2 * n,
        state=lambda d: State(max(1, d // 32), n, 2 * d // max(1, d // 32)),
    )


SPEC = with_states(
    Spec(
        label="Mamba-2",
        paper="arXiv 2405.21060",
        family="state-space model",
        state=lambda d: State(1, 1, d),
        widen=maps.Widen,
        local=maps.short_conv(4, "silu", bias=True),
        f_q=maps.part(lambda dims: dims.d_u - dims.d_k, "q", shared=True),
        f_k=maps.Built("Δ u[k]", maps.part(lambda dims: dims.d_u - 2 * dims.d_k, "k", shared=True)),
        f_v=state_space.stepped(VALUE),
        f_alpha=SelectiveDecay,
        now=Skip,
        f_g=maps.linear("g", activation="silu", of="x"),
        norm=maps.rms_norm("all", affine=True),
        order="gate_norm",
        w_o=maps.output(init=maps.over_root_depth),
        channel="none",
        block_norm="rms",
    ),
    128,
)

VARIANTS = {"state64": lambda spec: with_states(spec, 64)}
