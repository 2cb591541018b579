"""Around a mixer in a block: norms, channel mixers, zoology's BaseConv and its init scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.spec import Spec

if TYPE_CHECKING:
    from zoo.model import Model

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": lambda d: nn.LayerNorm(d, eps=1e-5),
    "rms": lambda d: nn.RMSNorm(d, eps=1e-6),
}


class SwiGLU(nn.Module):
    """W_down(SiLU(x W_gate) * x W_up), inner width 8d/3 rounded up to a multiple of 8 (Llama)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        inner = -(-8 * d // 3 // 8) * 8
        self.up = nn.Linear(d, 2 * inner, bias=False)
        self.down = nn.Linear(inner, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, y = self.up(x).chunk(2, dim=-1)  # b t inner
        return self.down(F.silu(gate) * y)


class MLP(nn.Module):
    """Two layers, inner width 4d, GELU (zoology/mixers/mlp.py)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


# "identity" is not an absent sub-layer: the block still adds LN(r) to r (zoology's Figure 2).
CHANNEL_MIXERS: dict[str, Callable[[int], nn.Module]] = {
    "identity": lambda d: nn.Identity(),
    "swiglu": SwiGLU,
    "mlp": MLP,
}


class BaseConv(nn.Module):
    """y = (conv(x) + b_c) * (x W + b) + x: gated short convolution (zoology/mixers/base_conv.py).

    Stands in for the first mixer where a preset says so; it is not a model of the zoo.
    """

    def __init__(self, d: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.projection = nn.Linear(d, d)
        bound = kernel**-0.5
        self.conv = nn.Parameter(torch.empty(d, kernel).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(d).uniform_(-bound, bound))

    def forward(
        self,
        x: Tensor,
        state: Mapping[str, Tensor] | None = None,
        *,
        start: int = 0,
        shared: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        b, t, d = x.shape
        tail = x.new_zeros(b, self.kernel - 1, d) if not state else state["tail"]
        full = torch.cat([tail.to(x.dtype), x], dim=1)  # b (kernel-1+t) d
        y = self.conv_bias.expand(b, t, d)
        for j in range(self.kernel):
            y = torch.addcmul(y, full[:, j : j + t], self.conv[:, j])
        return y * self.projection(x) + x, {"tail": full[:, t:].clone()}


# Their output projections are not called out_proj where zoology has or takes them from.
NOT_RESCALED = ("Based", "GLA", "RWKV-4")


def zoology_initialisation(model: Model, spec: Spec) -> None:
    """N(0, 0.02) for every matrix of a projection and embedding, zero biases; rescale by name.

    zoology/model.py::_init_weights: parameters called out_proj and fc2 get 0.02 / sqrt(2 depth).
    State-space models keep their own initialisation there, with the output projection divided by
    sqrt(depth), and so they do here.
    """
    depth = len(model.blocks)
    keeps_own = spec.family == "state-space model"
    renamed = spec.label in NOT_RESCALED
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[2]
        in_mixer = ".mixer." in name
        if in_mixer and keeps_own:
            continue
        if last.endswith("bias") and "conv" not in name:
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2 and last in ("weight", "down", "up") and ".local." not in name:
            rescaled = (".w_o." in name and not renamed) or ".fc2." in name
            nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5 if rescaled else 0.02)
