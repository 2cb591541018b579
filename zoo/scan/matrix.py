"""Per-channel decay, d_k x d_v state: chunks of two levels, matmuls only, derivative by hand.

With G the running sum of log alpha, the weight of token j in token i is sum_k q_i k_j exp(G_i - G_j).
A chunk has blocks of 4 tokens. Token i of block r takes exp(G_i - R_r), R_r = G at the block's first
token; key j of block s takes exp(E_s - G_j), E_s = G at that block's last token; what lies between,
exp(R_r - E_s), is one factor for a pair of blocks. Every exponent is a sum of at most 3 log decays of a
block or is <= 0 as a whole, except R_r - E_r >= -60, which undoes the key's own factor within the
block. So nothing overflows at any decay, no large sums cancel, and the masked weights stay finite.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from zoo.scan.chunks import cut, in_order, kept_where_alive, least, lower, padded
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.spec import Decay

NAME = "matrix"
BLOCK = 4  # tokens: 3 log decays of -20 each, 60 in all, stay well inside float32's 87


def refuses(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> str:
    if decay.kind in ("keep", "head"):
        return f"needs a decay per key channel, and this one is of kind {decay.kind!r}"
    if decay.kind == "ssm" and v.shape[3] == 1:
        return "would build step x rate for every token, which is larger than everything else"
    return ""


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update."""
    b, t, h, d_v = v.shape
    d_k = k.shape[3]
    log = decay.log()
    assert log is not None
    log = log.expand(b if log.dim() == 4 else 1, t, h, d_k)  # b t h k
    n, c = cut(t, LONGEST, BLOCK)
    q, k, v, log = (chunked(x, h, n, c) for x in (q, k, v, log))
    o, state = differentiable(KERNEL, q, k, v, log, state)
    return o.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :t], state


LONGEST = 16


def chunked(x: Tensor, h: int, n: int, c: int) -> Tensor:
    """b t h k -> b h n c k, padded with zeros: an empty key that does not decay changes nothing."""
    x = padded(x, n * c).unflatten(1, (n, c)).expand(-1, -1, -1, h, -1)
    return x.permute(0, 3, 1, 2, 4).contiguous()


@functools.lru_cache(maxsize=64)
def exponents(c: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix that turns the log decays of a chunk into every exponent: rows c.

    Rows: c queries (G_i - R_r), c keys (E_s - G_j), r r pairs of blocks (R_r - E_s), r queries from the
    chunk's start (R_r), r keys to its end (G_c - E_s), 1 whole chunk (G_c).
    """
    with torch.inference_mode(False):
        G = torch.ones(c, c, dtype=dtype, device=device).tril()  # row i sums tokens 0..i
        R, E, end = G[::BLOCK], G[BLOCK - 1 :: BLOCK], G[-1:]
        pairs = (R.unsqueeze(1) - E).tril_blocks() if False else R.unsqueeze(1) - E  # r r c
        pairs = pairs * torch.ones(len(R), len(R), 1, dtype=dtype, device=device).tril(0)
        return torch.cat([])
