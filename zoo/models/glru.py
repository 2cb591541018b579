"""GLRU, the gated linear recurrent unit (Qin et al. 2023, arXiv 2311.04823; MetaLA, Eq. 9-10).

HGRN's basic unit with an input gate of its own and a real state: S_t = alpha_t S_{t-1} + k_t v_t
channel by channel, alpha and k independent sigmoids. No official module has the untied gate, so
this is built from the equations: no norm, torch's default initialisation and biases everywhere, as
in Doraemonzzz/hgru-pytorch. Variant tied: HgruRealV6 of its hgru/hgrureal1d.py without a lower
bound, where k = 1 - alpha and a LayerNorm stands before the gate.
"""

from dataclasses import replace

from zoo import maps
from zoo.spec import Spec, State

SPEC = Spec(
    label="GLRU",
    paper="arXiv 2311.04823",
    family="linear RNN",
    state=lambda d: State(d, 1, 1),
    f_q=maps.ones("q"),
    f_k=maps.linear("k", bias=True, activation="sigmoid"),
    f_v=maps.linear("v", bias=True, activation="silu"),
    f_alpha=maps.sigmoid_decay(maps.linear("alpha", bias=True)),
    f_g=maps.linear("g", bias=True, activation="silu"),
    w_o=maps.output(bias=True),
)

VARIANTS = {
    "tied": lambda spec: replace(
        spec,
        label="GLRU (tied)",
        f_k=maps.one_minus_alpha(),
        norm=maps.layer_norm("all", affine=True),
    ),
}
