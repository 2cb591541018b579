"""HGRN2 (Qin et al. 2024, arXiv 2404.07904): HGRN with an outer product for the input and a query.

Default: the language model of Doraemonzzz/hgru2-pytorch, class Hgru2 in models/modeling_hgrn2.py:
q = SiLU, v linear, no biases, RMSNorm without weight over all heads (eps 1e-6), no gate, no scale,
and lower bounds gamma that are the cumulative softmax of Gamma over layers less its first row.
128 channels per head as in fla's HGRN2Config, where Hgrn2Config says 2; one head below that width.
Variant standalone: modules/hgru2_1d.py (biases, q = sigmoid, v = SiLU, LayerNorm). Variant fla:
fla/layers/hgrn2.py (RMSNorm with weight, eps 1e-5, scale d_k^-1/2). Matrices start as the classes
leave them, torch's default; the language models draw N(0, 0.02) over them (model_init).
"""

from dataclasses import replace

from zoo import forget_gates, maps
from zoo.spec import Spec, square

SPEC = Spec(
    label="HGRN2",
    paper="arXiv 2404.07904",
    family="linear RNN",
    state=square("hgrn2", 128),
    f_q=maps.linear("q", activation="silu"),
    f_k=maps.one_minus_alpha(),
    f_v=maps.linear("v"),
    f_alpha=forget_gates.bounded_decay(first=1),
    norm=maps.rms_norm("all", eps=1e-6),
    w_o=maps.output(),
    shared=forget_gates.gamma(1.0),
    channel="glu",
    block_norm="rms_plain",
    model_init="normal",
)

VARIANTS = {
    "standalone": lambda spec: replace(
        spec,
        f_q=maps.linear("q", bias=True, activation="sigmoid"),
        f_v=maps.linear("v", bias=True, activation="silu"),
        f_alpha=forget_gates.bounded_decay(first=1, bias=True),
        norm=maps.layer_norm("all", affine=True),
        w_o=maps.output(bias=True),
        model_init="own",
    ),
    "fla": lambda spec: replace(
        spec,
        norm=maps.rms_norm("all", affine=True),
        scale="d_k^-1/2",
        channel="swiglu",
        block_norm="rms",
        model_init="fla",
    ),
}
