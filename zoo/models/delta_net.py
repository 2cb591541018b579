"""DeltaNet (Yang et al. 2024, arXiv 2406.06484): a key is erased before its value is written.

As in flash-linear-attention, fla/layers/delta_net.py with ops/delta_rule/naive.py: q, k and v go
through a causal depthwise convolution of 4 tokens and SiLU each, q and k then have length 1, beta =
sigmoid(x W) per head, scale d_k^-1/2, RMSNorm per head with weight, no gate, no biases, heads of
128. S_t = (I - beta k^T k) S_{t-1} + beta k^T v. Initialised as torch does. The rule is Schlag et
al. 2021 (arXiv 2102.11174), who had another feature map and a norm of sums. Variants: negative has
beta in (0, 2) (arXiv 2411.12537), gated a SiLU gate after the norm (use_gate); two_heads is
zoology's size for MQAR.
"""

from dataclasses import replace

from zoo import delta_rule, maps
from zoo.spec import Spec, State, divided, square

Q, K = (delta_rule.unit(maps.convolved(maps.linear(slot), 4, "silu")) for slot in ("q", "k"))
BETA = maps.linear("beta", activation="sigmoid")

SPEC = Spec(
    label="DeltaNet",
    paper="arXiv 2406.06484",
    family="delta rule",
    state=square("delta_net", 128),
    f_q=Q,
    f_k=delta_rule.key(K, BETA),
    f_v=maps.convolved(maps.linear("v"), 4, "silu"),
    f_alpha=maps.keep(),
    erase=delta_rule.erase(decays=False),
    norm=maps.rms_norm("head", affine=True),
    w_o=maps.output(),
    scale="d_k^-1/2",
    model_init="fla",
)

VARIANTS = {
    "negative": lambda spec: replace(
        spec, f_k=delta_rule.key(K, maps.feature_map("2 ", lambda beta: 2 * beta, BETA))
    ),
    "gated": lambda spec: replace(spec, f_g=maps.linear("g", activation="silu")),
    "two_heads": lambda spec: replace(
        spec, state=lambda d: State(2, divided("delta_net", d, 2), d // 2)
    ),
}
