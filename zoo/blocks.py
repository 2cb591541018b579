"""Around a mixer in a block: channel mixers, and zoology's BaseConv."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """Where a channel mixer stands: width, layer and number of layers (some inits need them).

    inner: width between its matrices; 0 for the mixer's own rule.
    """

    d: int
    layer: int = 0
    depth: int = 1
    inner: int = 0


class GLU(nn.Module):
    """W_down(act(x W_gate) * x W_up), inner width 8d/3 rounded up to a multiple of 8 (Llama).

    HGRN's for the Long Range Arena (OpenNLPLab/lra glu.py) is the one with SiLU, and has biases in
    all three matrices and dropout on act(x W_gate), which this one has not.
    """

    def __init__(self, place: Place, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner = place.inner or -(-8 * place.d // 3 // 8) * 8
        self.activation = activation
        self.up = nn.Linear(place.d, 2 * inner, bias=False)
        self.down = nn.Linear(inner, place.d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, y = self.up(x).chunk(2, dim=-1)  # b t inner
        return self.down(self.activation(gate) * y)


class GeGLU(nn.Module):
    """Griffin's GLU: GELU in its tanh form, inner width 3d, biases (recurrentgemma, MLPBlock).

    Starts with N(0, 1 / fan_in), the last matrix with 2 / depth of that variance; biases at 0.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.inner = inner = place.inner or 3 * place.d
        self.up, self.down = nn.Linear(place.d, 2 * inner), nn.Linear(inner, place.d)
        nn.init.normal_(self.up.weight, std=place.d**-0.5)
        nn.init.normal_(self.down.weight, std=(2 / (place.depth * inner)) ** 0.5)
        nn.init.zeros_(self.up.bias)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, y = self.up(x).chunk(2, dim=-1)  # b t inner
        return self.down(F.gelu(gate, approximate="tanh") * y)


class MLP(nn.Module):
    """Two layers, inner width 4d, biases (zoology/mixers/mlp.py and H3 with GELU in its tanh form;
    fast_transformers/transformers.py with ReLU)."""

    def __init__(self, place: Place, activation: Literal["gelu_tanh", "relu"]) -> None:
        super().__init__()
        self.activation = activation
        self.inner = inner = place.inner or 4 * place.d
        self.fc1, self.fc2 = nn.Linear(place.d, inner), nn.Linear(inner, place.d)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc1(x)  # b t inner
        y = F.relu(y) if self.activation == "relu" else F.gelu(y, approximate="tanh")
        return self.fc2(y)


class ChannelMix(nn.Module):
    """RWKV's channel mixer: ReLU(k W_key)^2 W_value, in RWKV-4 and 6 times sigmoid(r W_receptance).

    k and r are mu x_t + (1 - mu) x_{t-1} with their own mu: it remembers one token. Its mu starts
    as (c/d)^((1 - layer/depth)^power), W_key orthogonal, the other matrices 0, as RWKV-LM's
    generate_init_weight leaves them. RWKV-6 and 7 write 1 - mu, as what is taken from x_{t-1}.
    """

    no_decay = ("mu_k", "mu_r")

    def __init__(
        self, place: Place, inner: int, *, power: int, gain: float, receptance: bool
    ) -> None:
        super().__init__()
        d, self.state_floats, self.inner = place.d, place.d, inner
        mu = (torch.arange(d) / d) ** ((1 - place.layer / place.depth) ** power)  # d
        self.key, self.value = nn.Linear(d, inner, bias=False), nn.Linear(inner, d, bias=False)
        self.receptance = nn.Linear(d, d, bias=False) if receptance else None
        self.mu_k = nn.Parameter(mu)
        self.mu_r = nn.Parameter(mu.clone()) if receptance else None
        nn.init.orthogonal_(self.key.weight, gain=gain)
        nn.init.zeros_(self.value.weight)
        if self.receptance is not None:
            nn.init.zeros_(self.receptance.weight)

    def forward(self, x: Tensor, last: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: b t d; last: b 1 d, the token before it. Returns: b t d and x's own last token."""
        last = torch.zeros_like(x[:, :1]) if last is None else last.to(x.dtype)
        full = torch.cat([last, x], dim=1)  # b 1+t d
        previous = full[:, :-1]  # b t d
        y = self.value(F.relu(self.key(torch.lerp(previous, x, self.mu_k))).square())
        if self.receptance is not None and self.mu_r is not None:
            y = y * torch.sigmoid(self.receptance(torch.lerp(previous, x, self.mu_r)))
        return y, full[:, -1:].clone()


def rwkv6_inner(d: int) -> int:
    """3.5 d, down to a multiple of 32 (RWKV-v5/train.py), and at least 32."""
    return max(32, int(3.5 * d) // 32 * 32)


# "identity" is not an absent sub-layer: the block still adds LN(r) to r (zoology's Figure 2).
CHANNEL_MIXERS: dict[str, Callable[[Place], nn.Module]] = {
    "identity": lambda place: nn.Identity(),
    "swiglu": lambda place: GLU(place, F.silu),
    "mlp": lambda place: MLP(place, "gelu_tanh"),
    "mlp_relu": lambda place: MLP(place, "relu"),
    # TransNormerLLM and HGRN2: no activation, the same class in both.
    "glu": lambda place: GLU(place, lambda gate: gate),
    "geglu": GeGLU,
    # RWKV-7, RWKV-4 (v4neo, whose gain is the square root of inner / d), RWKV-6.
    "relu2": lambda place: ChannelMix(place, 4 * place.d, power=4, gain=1.0, receptance=False),
    "relu2_receptance": lambda place: ChannelMix(
        place, 4 * place.d, power=1, gain=2.0, receptance=True
    ),
    "relu2_receptance_3.5": lambda place: ChannelMix(
        place, rwkv6_inner(place.d), power=3, gain=1.0, receptance=True
    ),
}
# Those whose inner width can be chosen.
WITH_INNER = ("swiglu", "glu", "geglu", "mlp", "mlp_relu")


def channel_layer(name: str, place: Place) -> nn.Module | None:
    """The channel mixer of that name; None for "none". Refuses an inner width it cannot have."""
    if place.inner and name not in WITH_INNER:
        why = "and channel_mixer is none" if name == "none" else f"which channel_mixer {name} fixes"
        raise ValueError(
            f"d_channel {place.inner} is the inner width of a channel mixer, {why}; type d_channel"
            f" 0, or a channel_mixer of {', '.join(WITH_INNER)}"
        )
    return None if name == "none" else CHANNEL_MIXERS[name](place)


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
