"""Griffin's recurrent block with the RG-LRU (De et al. 2024, arXiv 2402.19427).

As in google-deepmind/recurrentgemma torch/modules.py RecurrentBlock and torch/layers.py RGLRU: u =
conv4(x W_u + b), no activation; alpha = exp(-8 r softplus(Lambda)) with r and i block-diagonal
gates on u; k = sqrt(1 - alpha^2), but 1 at the first token of a sequence; v = i u; GELU gate, no
norm. As wide as the model, as RecurrentGemma is (Hawk 7B in the same repository: 1.375 d). Lambda
has the sign of the code, a = sigmoid(-Lambda), and the code draws a, not a^8, from the ring 0.9 to
0.999. Every third block of Griffin is local attention; this block alone is what the paper calls
Hawk. Variant dense: gates of one block, as the paper's equations have them.

Longer than other models because of its initialisation and of a square root of its own.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Spec, State, Stream, divided

BLOCKS = 16  # num_heads of RECURRENT_GEMMA_9B_V1, recurrentgemma/common.py
POWER = 8.0  # c, section 2.4
MAX_SLOPE = 1000.0  # _MAX_SQRT_GRADIENT, torch/layers.py


def fan_in(weight: Tensor, dims: Dims) -> object:
    return nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


def last_in_block(weight: Tensor, dims: Dims) -> object:
    """final_w_init_variance_scale = 2 / num_layers (torch/griffin.py)."""
    return nn.init.normal_(weight, std=(2 / (dims.depth * weight.shape[1])) ** 0.5)


def conv(dims: Dims) -> nn.Module:
    module = maps.ShortConv(dims.d_u, 4, "none", bias=True)
    nn.init.normal_(module.weight, std=(0.01 / 4) ** 0.5)
    nn.init.zeros_(module.get_parameter("bias"))
    return module


def widen(dims: Dims) -> nn.Module:
    module = maps.Widen(dims, bias=True)
    fan_in(module.project.weight, dims)
    nn.init.zeros_(module.project.bias)
    return module


class BlockDiagonal(nn.Module):
    """u W + b. weight: blocks, in, out."""

    def __init__(self, dims: Dims, blocks: int) -> None:
        super().__init__()
        width = divided("griffin", dims.heads, blocks)
        self.weight = nn.Parameter(width**-0.5 * torch.randn(blocks, width, width))
        self.bias = nn.Parameter(torch.zeros(dims.heads))

    def forward(self, s: Stream) -> Tensor:
        u = s.u.unflatten(2, self.weight.shape[:2])  # b t blocks in
        y = torch.einsum("b t n i, n i j -> b t n j", u, self.weight).flatten(2)
        return rearrange(y + self.bias, "b t h -> b t h 1")


class GatedDecay(nn.Module):
    no_decay = ("Lambda",)

    def __init__(self, dims: Dims, blocks: int) -> None:
        super().__init__()
        self.gate = BlockDiagonal(dims, blocks)
        a = torch.empty(dims.heads).uniform_(0.9**2, 0.999**2).sqrt()
        self.Lambda = nn.Parameter(torch.log(1 / a - 1))

    def forward(self, s: Stream) -> Decay:
        r = torch.sigmoid(maps.at_least_float32(self.gate(s)))  # b t h 1
        rate = F.softplus(maps.at_least_float32(self.Lambda)).unsqueeze(-1)  # h 1
        return Decay(step=POWER * r, rate=rate)


class GatedInput(nn.Module):
    def __init__(self, dims: Dims, blocks: int) -> None:
        super().__init__()
        self.gate = BlockDiagonal(dims, blocks)

    def forward(self, s: Stream) -> Tensor:
        return torch.sigmoid(self.gate(s)) * s.u.unsqueeze(-1)  # b t h 1


class InputScale(nn.Module):
    """sqrt(1 - alpha^2), whose slope is at most 1000; the first token enters at full size."""

    def forward(self, s: Stream) -> Tensor:
        log_alpha = s.decay.log()
        assert log_alpha is not None
        y = -torch.expm1(2 * log_alpha)  # b t h 1
        slope = 0.5 * y.detach().clamp(min=0.25 / MAX_SLOPE**2).rsqrt()
        k = y.detach().sqrt() + slope * (y - y.detach())
        return torch.where(s.position[:, None, None] == 0, 1.0, k)


def gated_decay(blocks: int) -> maps.Built:
    written = "exp(-8 σ(u W_a + b_a) softplus(Λ))"
    return maps.Built(written, lambda dims: GatedDecay(dims, blocks))


def gated_input(blocks: int) -> maps.Built:
    return maps.Built("σ(u W_x + b_x) ⊙ u", lambda dims: GatedInput(dims, blocks))


SPEC = Spec(
    label="Griffin",
    paper="arXiv 2402.19427",
    family="linear RNN",
    state=lambda d: State(BLOCKS * divided("griffin", d, BLOCKS), 1, 1),
    widen=maps.Built("x W_u + b_u", widen),
    local=maps.Built("conv4(u)", conv),
    f_q=maps.ones("q"),
    f_k=maps.Built("√(1 - α^2)", lambda dims: InputScale()),
    f_v=gated_input(BLOCKS),
    f_alpha=gated_decay(BLOCKS),
    f_g=maps.from_zero(maps.linear("g", bias=True, activation="gelu_tanh", of="x", init=fan_in)),
    w_o=maps.from_zero(maps.output(bias=True, init=last_in_block)),
    channel="geglu",
    model_init="griffin",
)

VARIANTS = {
    "dense": lambda spec: replace(
        spec, state=lambda d: State(d, 1, 1), f_v=gated_input(1), f_alpha=gated_decay(1)
    ),
}
