"""Softmax attention, the baseline outside the template (Vaswani et al. 2017, arXiv 1706.03762).

Llama's form: no biases, 64 channels per head, RoPE only where a run asks for positions="rope". Its
state is the cache of keys and values and grows with length, so C0 fails by construction.
Variants: one_head and biased together are zoology's (mixers/attention.py).
"""

from dataclasses import replace

from zoo import maps
from zoo.spec import Spec, State, square

SPEC = Spec(
    label="Attention",
    paper="arXiv 1706.03762",
    family="softmax",
    mix="softmax",
    state=square("attention", 64),
    f_q=maps.linear("q"),
    f_k=maps.linear("k"),
    f_v=maps.linear("v"),
    f_alpha=maps.keep(),
    w_o=maps.output(),
    scale="d_k^-1/2",
    model_init="normal",
)

VARIANTS = {
    "one_head": lambda spec: replace(spec, state=lambda d: State(1, d, d)),
    "biased": lambda spec: replace(
        spec,
        f_q=maps.linear("q", bias=True),
        f_k=maps.linear("k", bias=True),
        f_v=maps.linear("v", bias=True),
        w_o=maps.output(bias=True),
    ),
}
