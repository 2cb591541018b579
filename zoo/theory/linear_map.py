"""The attention map that given parameters stand for (MetaLA Eq. 18), without a division.

M_ts = sum_c q_t[c] (prod_{j=s+1..t} alpha_j[c]) k_s[c] for s <= t, by the recursion W_t = [W_{t-1}
* alpha_t ; k_t], row t = W_t q_t: exact where the quotient K / A of Eq. 16 underflows. With a rank-
one erasure the product is an ordered one, and the same recursion holds.
"""

from __future__ import annotations

import torch
from torch import Tensor


def linear_map(
    q: Tensor,
    k: Tensor,
    alpha: Tensor,
    *,
    write: Tensor | None = None,
    read: Tensor | None = None,
    angle: Tensor | None = None,
    before: bool = False,
) -> Tensor:
    """M of one head, n x n, lower triangular.

    q, k, alpha: n c. write, read: n c, of A_t = diag(alpha_t) - write_t^T read_t; read sees the
    state before it decays. angle: c/2, radians per token, where channels are [real | imaginary].
    before: row t reads the state before token t, so that the diagonal is 0.
    """
    n = q.shape[0]
    W, rows = q.new_zeros(0, q.shape[1]), []
    for t in range(n):
        past = W
        W = turned(W * alpha[t], angle)
        if write is not None and read is not None:
            W = W - (past @ read[t]).unsqueeze(-1) * write[t]  # t c
        W = torch.cat([W, k[t : t + 1]])  # t+1 c
        row = (past if before else W) @ conjugate(q[t], angle)
        rows.append(torch.cat([row, q.new_zeros(n - row.shape[0])]))
    return torch.stack(rows)


def turned(W: Tensor, angle: Tensor | None) -> Tensor:
    """W times exp(j angle), channels [real | imaginary]."""
    if angle is None:
        return W
    re, im = W.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([re * cos - im * sin, re * sin + im * cos], dim=-1)


def conjugate(q: Tensor, angle: Tensor | None) -> Tensor:
    """Re(q W) = Re q Re W - Im q Im W, written as a product of real vectors."""
    if angle is None:
        return q
    re, im = q.chunk(2, dim=-1)
    return torch.cat([re, -im], dim=-1)
