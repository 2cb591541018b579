"""TransNormer (Qin et al. 2022, arXiv 2210.10340): linear attention with a norm for a denominator.

As in OpenNLPLab/fairseq-evo, architecture transnormer_t2 (autoregressive language model):
modules/x_attention/norm_linear_attention.py. Features 1 + ELU, no decay, no gate, no scale, biases,
8 heads; the output of all heads together is divided by its root mean square + 1e-8, no weight.
Xavier with gain 2^-1/2 for q, k and v, gain 1 and zero bias for W_O.

T2 has this mixer in its second half of layers. Variant diag is the mixer of its first half,
norm_local_attention.py: causal softmax attention within blocks of 64 tokens, no norm, Xavier with
gain 1. Models that change from one to the other between layers are not built. Variant lrpe turns q
and k by fixed angles 10000^(-2i/d_k), as the authors' LRA port does in every layer; T2 learns the
angles and reflects q and k by a random Householder matrix first, which is left out. Longer than
other files because of the three mixers.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Decay, Dims, Spec, State, Stream, divided

BLOCK = 64  # decoder_chunk_size


class SimpleRMSNorm(nn.Module):
    formula = "RMS_all"

    def __init__(self, dims: Dims) -> None:
        super().__init__()

    def forward(self, o: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(o, dim=(2, 3), keepdim=True)  # b t 1 1
        return o / (norm * o[0, 0].numel() ** -0.5 + 1e-8)


class Output(nn.Linear):
    """Xavier, and a bias that starts at 0."""

    formula = "y W_O + b_O"

    def __init__(self, dims: Dims) -> None:
        super().__init__(dims.heads * dims.d_v, dims.d)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


class DiagAttention(nn.Module):
    """Softmax over the tokens of the current block, as a Spec's mix. Keeps BLOCK - 1 tokens."""

    formula = f"softmax(q kᵀ / √d_k) v within blocks of {BLOCK}"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.sizes = [dims.d_k, dims.d_v]
        self.state_floats = (BLOCK - 1) * dims.heads * sum(self.sizes)

    def forward(self, s: Stream, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        b, t, h, _ = s.v.shape
        begun = s.start % BLOCK  # tokens of the first block that an earlier segment has read
        kept = s.past(self, torch.cat([s.k, s.v], dim=-1).flatten(2), BLOCK - 1)
        kv = kept[:, BLOCK - 1 - begun :].unflatten(2, (h, -1))  # b (begun+t) h (k+v)
        q = F.pad(s.q, (0, 0, 0, 0, begun, 0))
        ends = (0, 0, 0, 0, 0, -(begun + t) % BLOCK)
        q, k, v = (
            rearrange(F.pad(y, ends), "b (n c) h k -> (b n) h c k", c=BLOCK)
            for y in (q, *kv.split(self.sizes, dim=-1))
        )
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (b n) h c v
        o = rearrange(o, "(b n) h c v -> b (n c) h v", b=b)
        return o[:, begun : begun + t], {}

    def two_sided(self, s: Stream) -> Tensor:
        """Over all tokens of the block, as the authors' LRA port has it (norm_local_attention.py);
        padding is masked, which there it is not. A block of padding alone sees itself: kernels
        differ in what they return for no key at all."""
        b, t, _, _ = s.v.shape
        ends = (0, 0, 0, 0, 0, -t % BLOCK)
        q, k, v = (
            rearrange(F.pad(y, ends), "b (n c) h k -> (b n) h c k", c=BLOCK)
            for y in (s.q, s.k, s.v)
        )
        valid = s.x.new_ones(b, t, dtype=torch.bool) if s.valid is None else s.valid
        mask = rearrange(F.pad(valid, (0, -t % BLOCK)), "b (n c) -> (b n) 1 1 c", c=BLOCK)
        mask = mask | ~mask.any(-1, keepdim=True)
        o = F.scaled_dot_product_attention(q, k, v, mask)  # (b n) h c v
        return rearrange(o, "(b n) h c v -> b (n c) h v", b=b)[:, :t]


class Rotation(nn.Module):
    """alpha = exp(j theta_i) with RoPE's angles, fixed."""

    formula = "e^{jθ}"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        n = dims.d_k // 2
        angle = 10_000.0 ** (-torch.arange(n, dtype=torch.float64) / n)
        self.angle: Tensor
        self.register_buffer("angle", angle.repeat(dims.heads, 1), persistent=False)  # h n

    def forward(self, s: Stream) -> Decay:
        return Decay(angle=self.angle)


def linear(
    slot: maps.Slot, activation: maps.Activation = "none", gain: float = 2**-0.5
) -> maps.Built:
    return maps.linear(slot, bias=True, activation=activation, init=maps.xavier(gain))


SPEC = Spec(
    label="TransNormer",
    paper="arXiv 2210.10340",
    family="linear transformer",
    state=lambda d: State(8, divided("transnormer", d, 8), d // 8),
    f_q=linear("q", "elu1"),
    f_k=linear("k", "elu1"),
    f_v=linear("v"),
    f_alpha=maps.keep(),
    norm=SimpleRMSNorm,
    w_o=Output,
    block_norm="rms_plain",
    model_init="retnet",
)

VARIANTS = {
    "diag": lambda spec: replace(
        spec,
        f_q=linear("q", gain=1.0),
        f_k=linear("k", gain=1.0),
        f_v=linear("v", gain=1.0),
        norm=None,
        mix=DiagAttention,
    ),
    "lrpe": lambda spec: replace(
        spec, f_k=maps.feature_map("conj", maps.conjugate, spec.f_k), f_alpha=Rotation
    ),
}
