"""LinFormer, the paper's word for linear transformers (Katharopoulos et al. 2020, 2006.16236).

Not Wang et al.'s Linformer. As published: fast_transformers attention/causal_linear_attention.py
with attention/attention_layer.py (biases), feature map 1 + ELU, q z + 1e-6 in the denominator, 8
heads.
"""

from dataclasses import replace

from zoo import maps
from zoo.spec import Normaliser, Spec, State, divided

SPEC = Spec(
    label="LinFormer",
    paper="arXiv 2006.16236",
    family="linear transformer",
    state=lambda d: State(8, divided("linformer", d, 8), d // 8),
    f_q=maps.linear("q", bias=True, activation="elu1"),
    f_k=maps.linear("k", bias=True, activation="elu1"),
    f_v=maps.linear("v", bias=True),
    f_alpha=maps.keep(),
    w_o=maps.output(bias=True),
    normaliser=Normaliser("add", 1e-6),
    channel="mlp_relu",
    block_norm="layer",
)

VARIANTS = {
    # Two heads of d/2: the MetaLA paper's choice for GLA and MetaLA on MQAR (A4).
    "mqar": lambda spec: replace(
        spec, state=lambda d: State(2, divided("linformer", d, 2), d // 2)
    ),
}
