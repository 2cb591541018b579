"""Based's linear attention with a Taylor feature map (Arora et al. 2024, arXiv 2402.18668).

phi(x) = [1, x / f^1/4, vec(x x^T) / sqrt(2 f)], so that phi(q) phi(k) = 1 + s + s^2/2 with s = q k
/ sqrt(f), the second-order Taylor series of exp(s). As in zoology/mixers/based.py and
feature_maps/taylor.py: f = 16, no biases, denominator + 1e-12. The Based architecture adds gated
short convolutions and sliding-window attention; those are layers of their own and not part of this
mixer.
"""

from dataclasses import replace

import torch
from torch import Tensor

from zoo import maps
from zoo.spec import Normaliser, Spec, State, divided

FEATURES = 16


def taylor(x: Tensor) -> Tensor:
    """x: b t h f -> 1, x and all products of two channels: b t h 1+f+f^2."""
    f = x.shape[-1]
    squares = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)  # b t h f*f
    return torch.cat([torch.ones_like(x[..., :1]), x * f**-0.25, squares * (2 * f) ** -0.5], dim=-1)


def expanded(f: int) -> int:
    return 1 + f + f**2


def state(d: int) -> State:
    heads = max(1, d // 64)
    return State(heads, expanded(FEATURES), divided("based", d, heads))


def with_features(spec: Spec, f: int) -> Spec:
    """The same with f features a head before the expansion."""
    return replace(
        spec,
        state=lambda d: replace(spec.state(d), d_k=expanded(f)),
        f_q=maps.feature_map("Taylor", taylor, maps.linear("q", channels=f)),
        f_k=maps.feature_map("Taylor", taylor, maps.linear("k", channels=f)),
    )


SPEC = Spec(
    label="Based",
    paper="arXiv 2402.18668",
    family="linear transformer",
    state=state,
    f_q=maps.feature_map("Taylor", taylor, maps.linear("q", channels=FEATURES)),
    f_k=maps.feature_map("Taylor", taylor, maps.linear("k", channels=FEATURES)),
    f_v=maps.linear("v"),
    f_alpha=maps.keep(),
    w_o=maps.output(),
    normaliser=Normaliser("add", 1e-12),
    model_init="gpt2",
)

VARIANTS = {
    "one_head": lambda spec: replace(spec, state=lambda d: State(1, spec.state(d).d_k, d)),
    "features8": lambda spec: with_features(spec, 8),
    "features24": lambda spec: with_features(spec, 24),
}
