"""KDA, Kimi delta attention (Kimi Team 2025, arXiv 2510.26692): a decay per key channel.

As in flash-linear-attention, fla/layers/kda.py with ops/kda/naive.py and gate.py: Gated DeltaNet,
but alpha = exp(-e^A softplus(x W1 W2 + b)) has a value per key channel (A per head), and the gate
is a sigmoid of two matrices of rank d_v and a bias. S_t = (I - beta k^T k) diag(alpha) S_{t-1} +
beta k^T v. Heads of 128, total d_k = d_v = d. Initialised as torch does, b as Mamba's, e^A uniform
in 1 to 16. Variants: negative has beta in (0, 2); bounded has log alpha = -5 sigmoid(e^A (x W1 W2 +
b)) with e^A = 1 at the start (safe_gate with lower_bound -5).
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import delta_rule, discretisation, maps
from zoo.spec import Decay, Dims, Spec, Stream, square

LOWER_BOUND = -5.0  # the layer's docstring

Q, K = (delta_rule.unit(maps.convolved(maps.linear(slot), 4, "silu")) for slot in ("q", "k"))
BETA = maps.linear("beta", activation="sigmoid")
TWICE = maps.feature_map("2 ", lambda beta: 2 * beta, BETA)
LOW_RANK = maps.low_rank("alpha", lambda dims: dims.d_v, bias=False)


class BoundedDecay(nn.Module):
    formula = "exp(-5 σ(e^A (u W1_α W2_α + b_α)))"
    no_decay = ("A_log",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = LOW_RANK(dims)
        self.A_log = nn.Parameter(torch.zeros(dims.heads))
        self.bias = nn.Parameter(discretisation.step_bias(dims.heads, dims.d_k))  # h k

    def forward(self, s: Stream) -> Decay:
        z: Tensor = maps.at_least_float32(self.inner(s) + self.bias)  # b t h k
        sharpness = maps.at_least_float32(self.A_log).exp().unsqueeze(-1)  # h 1
        return Decay(step=-LOWER_BOUND * torch.sigmoid(sharpness * z))


SPEC = Spec(
    label="KDA",
    paper="arXiv 2510.26692",
    family="delta rule",
    state=square("kda", 128),
    f_q=Q,
    f_k=delta_rule.key(K, BETA),
    f_v=maps.convolved(maps.linear("v"), 4, "silu"),
    f_alpha=delta_rule.softplus_decay(LOW_RANK, 1.0, 16.0),
    erase=delta_rule.erase(decays=True),
    f_g=maps.low_rank("g", lambda dims: dims.d_v, activation="sigmoid"),
    norm=maps.rms_norm("head", affine=True),
    w_o=maps.output(),
    scale="d_k^-1/2",
    model_init="fla",
)

VARIANTS = {
    "negative": lambda spec: replace(spec, f_k=delta_rule.key(K, TWICE)),
    "bounded": lambda spec: replace(spec, f_alpha=BoundedDecay),
}
