"""Gated DeltaNet (Yang et al. 2024, arXiv 2412.06464): DeltaNet with one decay per head and a gate.

As in flash-linear-attention, fla/layers/gated_deltanet.py with ops/gated_delta_rule/naive.py: as
DeltaNet, and alpha = exp(-e^A softplus(x W + b)), so that S_t = (I - beta k^T k) alpha S_{t-1} +
beta k^T v: the decay comes before the erase. SiLU gate after the norm. 6 heads, total d_k = 3/4 d,
d_v = 3/2 d: at width 2048 the published heads of 256 and 512. Initialised as torch does, b as
Mamba's, e^A uniform in 0 to 16. Variants: negative has beta in (0, 2); biased is the authors' first
code (NVlabs/GatedDeltaNet, lit_gpt/gated_delta_net.py), where beta has a bias.
"""

from dataclasses import replace

from zoo import delta_rule, maps
from zoo.spec import Spec, State, divided

Q, K = (delta_rule.unit(maps.convolved(maps.linear(slot), 4, "silu")) for slot in ("q", "k"))
BETA = maps.linear("beta", activation="sigmoid")
TWICE = maps.feature_map("2 ", lambda beta: 2 * beta, BETA)

SPEC = Spec(
    label="Gated DeltaNet",
    paper="arXiv 2412.06464",
    family="delta rule",
    state=lambda d: State(6, divided("gated_delta_net", d, 8), d // 4),
    f_q=Q,
    f_k=delta_rule.key(K, BETA),
    f_v=maps.convolved(maps.linear("v"), 4, "silu"),
    f_alpha=delta_rule.softplus_decay(maps.linear("alpha", channels=1), 0.0, 16.0),
    erase=delta_rule.erase(decays=True),
    f_g=maps.linear("g", activation="silu"),
    norm=maps.rms_norm("head", affine=True),
    w_o=maps.output(),
    scale="d_k^-1/2",
    model_init="fla",
)

VARIANTS = {
    "negative": lambda spec: replace(spec, f_k=delta_rule.key(K, TWICE)),
    "biased": lambda spec: replace(
        spec, f_k=delta_rule.key(K, maps.linear("beta", bias=True, activation="sigmoid"))
    ),
}
