"""cosFormer (Qin et al. 2022, arXiv 2202.08791): ReLU features, weighted by cos(pi (t-s) / 2M).

As in OpenNLPLab/cosFormer, cosformer.py with causal=True: biases, denominator max(q z, 1e-6), no
norm and no gate; 8 heads as in the authors' LRA port (whose denominator has 1e-4). The cosine is a
state that turns by pi / 2M per token and never shrinks: alpha = exp(j pi / 2M).

As published, M is the length of the sequence at hand, so that every output changes when a token is
appended, and neither decoding nor a state handed over can follow (a segment that starts at token s
takes M = s + t). Variant fixed: M = 1024, the LRA port's max_l, whatever the length; weights turn
negative where t - s > M.
"""

import math
from dataclasses import replace

import torch
from torch import nn

from zoo import maps
from zoo.spec import Decay, Dims, Normaliser, Spec, State, Stream, divided

LONGEST = 1024
LENGTH = "M, and with it every angle, is the length of the sequence at hand"


class Cosine(nn.Module):
    """alpha = exp(j pi / 2M). length: M, or None for that of the sequence at hand."""

    formula = "e^{jπ/2M}, M = length of x"

    def __init__(self, dims: Dims, length: int | None = None) -> None:
        super().__init__()
        self.turns, self.length = (dims.heads, dims.d_k // 2), length

    def forward(self, s: Stream) -> Decay:
        if self.length or s.lengths is None:
            angle = math.pi / (2 * (self.length or s.start + s.x.shape[1]))
            angles = torch.full(self.turns, angle, dtype=torch.float64, device=s.x.device)  # h n
            return Decay(angle=angles)
        angle = math.pi / (2 * (s.start + s.lengths.double()))  # b
        return Decay(angle=angle[:, None, None].expand(-1, *self.turns))  # b h n


SPEC = Spec(
    label="cosFormer",
    paper="arXiv 2202.08791",
    family="linear transformer",
    state=lambda d: State(8, 2 * divided("cosformer", d, 8), d // 8),
    f_q=maps.real(maps.linear("q", bias=True, activation="relu")),
    f_k=maps.real(maps.linear("k", bias=True, activation="relu")),
    f_v=maps.linear("v", bias=True),
    f_alpha=Cosine,
    w_o=maps.output(bias=True),
    normaliser=Normaliser("clamp", 1e-6),
    by_design={"recurrent = chunked = parallel": LENGTH, "state hand-over": LENGTH},
    channel="mlp_relu",
    block_norm="layer",
)

VARIANTS = {
    "fixed": lambda spec: replace(
        spec,
        f_alpha=maps.Built(f"e^{{jπ/{2 * LONGEST}}}", lambda dims: Cosine(dims, LONGEST)),
        by_design={},
    ),
}
