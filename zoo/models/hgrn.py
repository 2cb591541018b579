"""HGRN (Qin et al. 2023, arXiv 2311.04823): forget gates with a lower bound that rises with depth.

The default is the paper's complex state, as in Doraemonzzz/hgru-pytorch hgru/hgru1d.py (biases,
norm before gate, though its README prints the other order); lower bounds gamma = sum of
softmax(Gamma) over strictly earlier layers. Variant real: fla/layers/hgrn.py, a real state, no
biases, RMSNorm, and bounds that are the cumulative sum less its first row.
"""

from dataclasses import replace

from zoo import forget_gates, maps
from zoo.spec import Spec, State

SPEC = Spec(
    label="HGRN",
    paper="arXiv 2311.04823",
    family="linear RNN",
    state=lambda d: State(d, 1, 2),
    f_q=maps.ones("q"),
    f_k=maps.one_minus_alpha(),
    f_v=maps.linear("v", bias=True, activation="silu"),
    f_alpha=forget_gates.bounded_decay(first=0, bias=True, rotating=True),
    f_g=maps.linear("g", bias=True, activation="silu"),
    norm=maps.layer_norm("all", affine=True),
    w_o=maps.output(bias=True),
    shared=forget_gates.gamma(0.0),
    block_norm="layer",
)

VARIANTS = {
    "real": lambda spec: replace(
        spec,
        label="HGRN (real)",
        state=lambda d: State(d, 1, 1),
        f_v=maps.linear("v", activation="silu"),
        f_alpha=forget_gates.bounded_decay(first=1),
        f_g=maps.linear("g", activation="silu"),
        norm=maps.rms_norm("all", affine=True),
        w_o=maps.output(),
        channel="swiglu",
        block_norm="rms",
        model_init="fla",
    ),
}
