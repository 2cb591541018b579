"""GLA, gated linear attention (Yang et al. 2023, arXiv 2312.06635).

As in flash-linear-attention, fla/layers/gla.py with ops/gla/naive.py: no biases but the decay's,
RMSNorm per head with weight, one scale d_k^-1/2, 4 heads, total d_k = d/2. Initialised as the
layer's class is in the original code (Xavier with gain 2^-2.5 for q, k and the decay's two
matrices). Variant original: berlino/gated_linear_attention gla.py, where the norm is a LayerNorm
without weight, the gate has a bias, and k is scaled by (d/heads)^-1/2 on top of the kernel's scale.
"""

from dataclasses import replace

from zoo import maps
from zoo.spec import Spec, State, divided

INIT = maps.xavier(2**-2.5)
TAU = 16  # section 4.4

SPEC = Spec(
    label="GLA",
    paper="arXiv 2312.06635",
    family="linear transformer",
    state=lambda d: State(4, divided("gla", d, 8), d // 4),
    f_q=maps.linear("q", init=INIT),
    f_k=maps.linear("k", init=INIT),
    f_v=maps.linear("v"),
    f_alpha=maps.sigmoid_decay(maps.low_rank("alpha", 16, init=INIT), TAU),
    f_g=maps.linear("g", activation="silu"),
    norm=maps.rms_norm("head", affine=True),
    w_o=maps.output(),
    scale="d_k^-1/2",
    model_init="fla",
)

VARIANTS = {
    "original": lambda spec: replace(
        spec,
        f_k=maps.linear(
            "k",
            init=INIT,
            scale=lambda dims: (dims.d / dims.heads) ** -0.5,
            scale_written="/ √(d/H)",
        ),
        f_g=maps.linear("g", bias=True, activation="silu"),
        norm=maps.layer_norm("head"),
        model_init="gla",
    ),
    # MetaLA paper, appendix A4: two heads, total d_k = d_v = d.
    "mqar": lambda spec: replace(spec, state=lambda d: State(2, divided("gla", d, 2), d // 2)),
}
