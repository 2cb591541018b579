"""Random feature attention (Peng et al. 2021, arXiv 2103.02143): sines and cosines for softmax.

phi(x) = 0.1 [sin(W x'), cos(W x')] with x' = x / (|x| + 1e-3), W = sigma * N(0, I), 64 rows, one
learned sigma per head and channel. As in the authors' Noahs-ARK/RFA, class CausalAttention: biases
everywhere, max(q z, 1) in the denominator. The weights are signed and the features small, so the
clamp acts on the first tokens of every sequence. Variant `gate`: RFA-Gate, Eq. 7 of the paper, g =
sigmoid(u W_g + b_g) per head, S_t = g S_{t-1} + (1 - g) phi(k)^T v; its clamp is 0.1 as in the
authors' only code with such a gate (ZhaofengWu/rfa-doc-mt, incremental_rfa), since a q z <= 0.64
never reaches 1.

W is drawn when the module is built, iid Gaussian, and kept in its state dict; the official code
draws per step from a bank of 500 matrices and takes the same ones in every layer when it evaluates.
Longer than most models, because the features are made here.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Dims, Normaliser, Spec, State, Stream, divided

INIT = maps.xavier(2**-0.5)
ROWS = 64
SCALE = 0.1


def state(d: int) -> State:
    heads = max(1, d // 64)
    return State(heads, 2 * ROWS, divided("rfa", d, heads))


def waves(x: Tensor, rows: Tensor) -> Tensor:
    """x: b t h v; rows: h k/2 v -> b t h k."""
    x = x / (x.norm(dim=-1, keepdim=True) + 1e-3)
    angle = torch.einsum("bthv,hkv->bthk", x, rows)
    return SCALE * torch.cat([angle.sin(), angle.cos()], dim=-1)


class Key(nn.Module):
    """(1 - alpha) phi(k); owns W and leaves it for the query."""

    formula = "φ(u W_k + b_k)"
    no_decay = ("sigma",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("k", bias=True, init=INIT, channels=dims.d_v)(dims)
        self.sigma = nn.Parameter(torch.ones(dims.heads, 1, dims.d_v))
        self.rows: Tensor
        self.register_buffer("rows", torch.randn(dims.heads, dims.d_k // 2, dims.d_v))

    def forward(self, s: Stream) -> Tensor:
        rows = s.notes["rows"] = self.sigma * self.rows  # h k/2 v
        phi, log_alpha = waves(self.inner(s), rows), s.decay.log()
        return phi if log_alpha is None else -torch.expm1(log_alpha) * phi


class GatedKey(Key):
    formula = "(1 - α) φ(u W_k + b_k)"


class Query(nn.Module):
    formula = "φ(u W_q + b_q)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("q", bias=True, init=INIT, channels=dims.d_v)(dims)

    def forward(self, s: Stream) -> Tensor:
        return waves(self.inner(s), s.notes["rows"])


SPEC = Spec(
    label="RFA",
    paper="arXiv 2103.02143",
    family="linear transformer",
    state=state,
    f_q=Query,
    f_k=Key,
    f_v=maps.linear("v", bias=True, init=INIT),
    f_alpha=maps.keep(),
    w_o=maps.from_zero(maps.output(bias=True, init=INIT)),
    normaliser=Normaliser("clamp", 1.0),
    channel="mlp_relu",
    block_norm="layer",
)

VARIANTS = {
    "gate": lambda spec: replace(
        spec,
        label="RFA-Gate",
        f_k=GatedKey,
        f_alpha=maps.sigmoid_decay(
            maps.from_zero(maps.linear("alpha", bias=True, init=INIT, channels=1))
        ),
        normaliser=Normaliser("clamp", 0.1),
    ),
}
