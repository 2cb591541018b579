"""MetaLA (Chou et al. 2024, arXiv 2411.10741): k = 1 - alpha, self-augmentation, convolution.

Follows BICLab/MetaLA metala/modeling_metala.py, class QVMetaLA_self_aug, where code and paper
differ: sigma of the product s v as in Eq. 22 (the parallel Eq. A38 has none: variants aug_linear,
aug_weight); d_k^-1/2 on q S but not on the augmentation; LayerNorm per head without weight; SiLU
after the convolution; a gate bias (Eq. A33 omits it); k = 1 - alpha by expm1 in float32, not in the
run's dtype. Initialised as the mixer class alone is: Xavier with gain 2^-2.5 for q and alpha,
torch's default for the rest, augmentation 0 (the published model then redraws all matrices from
N(0, 0.02)).
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Dims, Spec, State, Stream, divided

INIT = maps.xavier(2**-2.5)
TAU = 16  # sigmoid(z)^(1/16), in the paper's prose only


class SelfAugmentation(nn.Module):
    """sigma(s v) with s = sum_c q[c] w[c] k[c], one w per key channel (Eq. 22). Returns b t h v."""

    formula = "σ(q (w_aug ⊙ k)ᵀ v)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dims.heads, dims.d_k))

    def forward(self, s: Stream) -> Tensor:
        return torch.sigmoid(self.strength(s) * s.v)

    def strength(self, s: Stream) -> Tensor:
        return (s.q * self.weight * s.k).sum(-1, keepdim=True)  # b t h 1


class LinearAugmentation(SelfAugmentation):
    formula = "q (w_aug ⊙ k)ᵀ v"  # Eq. A38

    def forward(self, s: Stream) -> Tensor:
        return self.strength(s) * s.v


class WeightAugmentation(SelfAugmentation):
    formula = "σ(q (w_aug ⊙ k)ᵀ) v"  # what "augments the token's attention to itself" suggests

    def forward(self, s: Stream) -> Tensor:
        return torch.sigmoid(self.strength(s)) * s.v


SPEC = Spec(
    label="MetaLA",
    paper="arXiv 2411.10741",
    family="linear transformer",
    state=lambda d: State(8, divided("metala", d, 16), d // 8),
    local=maps.short_conv(4, "silu"),
    f_q=maps.linear("q", init=INIT),
    f_k=maps.one_minus_alpha(),
    f_v=maps.linear("v"),
    f_alpha=maps.sigmoid_decay(maps.linear("alpha", init=INIT), TAU),
    now=SelfAugmentation,
    f_g=maps.linear("g", bias=True, activation="silu"),
    norm=maps.layer_norm("head"),
    w_o=maps.output(),
    scale="d_k^-1/2",
    block_norm="rms_plain",
    model_init="normal",
)

VARIANTS = {
    # The rows of Table 8.
    "no_aug": lambda spec: replace(spec, now=None),
    "no_conv": lambda spec: replace(spec, local=None),
    "with_key": lambda spec: replace(spec, f_k=maps.linear("k", init=INIT)),
    # Appendix A4: two heads, total d_k = d_v = d; convolution kernel 2, activation left open.
    "mqar": lambda spec: replace(spec, state=lambda d: State(2, divided("metala", d, 2), d // 2)),
    "conv2": lambda spec: replace(spec, local=maps.short_conv(2)),
    "conv2_silu": lambda spec: replace(spec, local=maps.short_conv(2, "silu")),
    "aug_linear": lambda spec: replace(spec, now=LinearAugmentation),
    "aug_weight": lambda spec: replace(spec, now=WeightAugmentation),
}
