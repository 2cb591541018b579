"""RetNet, retention (Sun et al. 2023, arXiv 2307.08621): a fixed complex decay, one rate per head.

As in microsoft/torchscale, component/multiscale_retention.py with RetNetRelPos of
architecture/retnet.py: no biases, RMSNorm per head without weight, then the SiLU gate. gamma_h = 1
- 2^(-5-h); the angles of a head's d_k/2 pairs run from 1 to exactly 1e-4. The key is conjugated.
Query and key channels are laid out as real parts, then imaginary parts; the code interleaves them.

A query is divided by the root of the decay's mass so far (the paper's score normalisation), so that
the norm's eps of 1e-6 sees what it sees in the code's recurrent form: without, outputs differ by
4.5 % at initialisation (width 512, 2,048 normal inputs). The parallel form divides by max(sum of
|scores|, 1) as well, which depends on all keys and which only this eps can tell; it is left out.

One head for 256 channels, two at least (the smallest preset's). d_v = 2d as in the paper and the
first release; since September 2023 the presets have 1.67d to 1.69d. Variant narrow: d_v = d, as in
MetaLA's Table A1.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Spec, State, Stream, divided

INIT = maps.xavier(2**-2.5)


class Retention(nn.Module):
    """alpha = gamma_h exp(j theta_i), fixed."""

    formula = "γ_h e^{jθ}, γ_h = 1 - 2^{-5-h}"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        h, n = torch.arange(dims.heads, dtype=torch.float64), dims.d_k // 2
        rate = -torch.log1p(-(2.0 ** (-5 - h))).unsqueeze(-1)  # h 1
        angle = 10_000.0 ** -torch.linspace(0, 1, n, dtype=torch.float64)
        self.rate: Tensor
        self.angle: Tensor
        self.register_buffer("rate", rate, persistent=False)
        self.register_buffer("angle", angle.repeat(dims.heads, 1), persistent=False)  # h n

    def forward(self, s: Stream) -> Decay:
        return Decay(rate=self.rate, angle=self.angle)


class Query(nn.Module):
    """u W_q over the root of sum_{i<=t} gamma^i."""

    formula = "u W_q / √(Σ_{i≤t} γ^i)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("q", init=INIT)(dims)

    def forward(self, s: Stream) -> Tensor:
        q, rate = self.inner(s), s.decay.rate  # b t h k, h 1
        assert rate is not None
        mass = torch.expm1(-rate * (s.position + 1)) / torch.expm1(-rate)  # h t
        return q * mass.rsqrt().to(q.dtype).mT.unsqueeze(-1)


def state(d: int) -> State:
    heads = max(2, d // 256)
    return State(heads, 2 * divided("retnet", d, 2 * heads), 2 * d // heads)


SPEC = Spec(
    label="RetNet",
    paper="arXiv 2307.08621",
    family="linear transformer",
    state=state,
    f_q=Query,
    f_k=maps.feature_map("conj", maps.conjugate, maps.linear("k", init=INIT)),
    f_v=maps.linear("v", init=INIT),
    f_alpha=Retention,
    f_g=maps.linear("g", activation="silu", init=INIT),
    norm=maps.rms_norm("head", eps=1e-6),
    w_o=maps.output(init=maps.xavier(0.5)),
    scale="d_k^-1/2",
    model_init="retnet",
)

VARIANTS = {
    "narrow": lambda spec: replace(
        spec, state=lambda d: replace(spec.state(d), d_v=d // spec.state(d).heads)
    ),
}
