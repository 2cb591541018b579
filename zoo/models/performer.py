"""Performer's FAVOR+ attention (Choromanski et al. 2021, arXiv 2009.14794): positive features.

phi(x) = m^-1/2 (exp(w_j x' - |x'|^2 / 2 - c) + 1e-4) with x' = x / d_v^1/4 and m = d_v ln d_v
random rows w_j, orthogonal in blocks of d_v, of the lengths that Gaussian vectors have. As in
lucidrains/performer-pytorch, class SelfAttention(causal=True), the path without CUDA: no biases on
q, k, v, q (z + 1e-6) in the denominator, 64 channels per head.

c keeps the exponential in range and would cancel but for the 1e-4, and no gradient goes through it.
For a query c is the largest exponent of its features. For keys, as published, it is the largest of
the whole sequence, future tokens included, so that this causal model looks ahead and decoding token
by token is another function. Variant `constant`: c = 0 for keys, as the paper's features have it,
and the query's c is differentiated; that one is causal.

The rows are drawn when the module is built and kept in its state dict. Not reproduced: drawing them
anew every 1000 steps. Longer than most models, because the features are made here.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Dims, Normaliser, Spec, State, Stream, divided

FLOOR = 1e-4
DETACHED = "the 1e-4 leaves the features dependent on c, through which no gradient goes"
LOOKS_AHEAD = "c is the largest exponent of the whole sequence"


def state(d: int) -> State:
    heads = max(1, d // 64)
    d_v = divided("performer", d, heads)
    return State(heads, max(1, int(d_v * math.log(d_v))), d_v)


def orthogonal_rows(m: int, d: int) -> Tensor:
    """m d: blocks of d orthogonal rows, each row as long as a Gaussian vector of d numbers."""
    blocks = [torch.linalg.qr(torch.randn(d, d))[0].T for _ in range(-(-m // d))]
    return torch.cat(blocks)[:m] * torch.randn(m, d).norm(dim=1, keepdim=True)


def exponents(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """x: b t h v; rows: m v -> w_j x' (b t h m) and |x'|^2 / 2 (b t h 1)."""
    x = x * x.shape[-1] ** -0.25
    return x @ rows.T, x.square().sum(-1, keepdim=True) / 2


def positive(exponent: Tensor) -> Tensor:
    return (exponent.exp() + FLOOR) * exponent.shape[-1] ** -0.5


class Key(nn.Module):
    """phi of a key; owns the random rows and leaves them for the query."""

    formula = "φ(u W_k)"

    def __init__(self, dims: Dims, *, stabilised: bool = True) -> None:
        super().__init__()
        self.inner = maps.linear("k", channels=dims.d_v)(dims)
        self.rows: Tensor
        self.register_buffer("rows", orthogonal_rows(dims.d_k, dims.d_v))
        self.stabilised = stabilised

    def forward(self, s: Stream) -> Tensor:
        s.notes["rows"] = self.rows
        projected, half_square = exponents(self.inner(s), self.rows)
        exponent = projected - half_square  # b t h m
        if self.stabilised:
            seen = projected.detach()
            if s.valid is not None:
                seen = seen.masked_fill(~s.valid[:, :, None, None], -torch.inf)
            exponent = exponent - seen.amax((1, 3), keepdim=True)
        return positive(exponent)


class Query(nn.Module):
    """phi of a query, with the key's random rows."""

    formula = "φ(u W_q)"

    def __init__(self, dims: Dims, *, detached: bool = True) -> None:
        super().__init__()
        self.inner = maps.linear("q", channels=dims.d_v)(dims)
        self.detached = detached

    def forward(self, s: Stream) -> Tensor:
        projected, half_square = exponents(self.inner(s), s.notes["rows"])
        highest = (projected.detach() if self.detached else projected).amax(-1, keepdim=True)
        return positive(projected - half_square - highest)  # b t h m


SPEC = Spec(
    label="Performer",
    paper="arXiv 2009.14794",
    family="linear transformer",
    state=state,
    f_q=Query,
    f_k=Key,
    f_v=maps.linear("v"),
    f_alpha=maps.keep(),
    w_o=maps.output(bias=True),
    normaliser=Normaliser("add_key", 1e-6),
    by_design={
        "causal": LOOKS_AHEAD,
        "recurrent = chunked = parallel": LOOKS_AHEAD,
        "state hand-over": LOOKS_AHEAD,
        "gradients": DETACHED,
    },
    channel="mlp",
    block_norm="layer",
    model_init="torch",
)

VARIANTS = {
    "constant": lambda spec: replace(
        spec,
        f_k=maps.Built(Key.formula, lambda dims: Key(dims, stabilised=False)),
        f_q=maps.Built(Query.formula, lambda dims: Query(dims, detached=False)),
        by_design={},
    ),
}
