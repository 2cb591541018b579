"""Complex decays in real numbers: q and k turned by each token's angle, the state turned back.

With Phi_t = angle * t, counted from the first token read, S~_t = exp(-j Phi_t) S_t decays by a real
factor: Re(q S) = [Re q~, -Im q~] [Re S~; Im S~] for q~ = q exp(j Phi), k~ = k exp(-j Phi). Counting
from the segment's own start makes the state handed over the true one, wherever it begins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.rotation import phases


def turned(
    q: Tensor, k: Tensor, angle: Tensor, t: int, *, read: str, reverse: bool
) -> tuple[Tensor, Tensor]:
    """q, k: (b or 1) (t or 1) h k, key channels [real | imaginary]; angle: h n, k = 2n.

    Returns: q, k with which the recurrence without an angle reads the same: (b or 1) t h k.
    """
    cos, sin = tables(angle, t, q.dtype, reverse)
    # Read before the update, token t sees the state as token t - 1 left it.
    seen = (cos, sin) if read == "after" else tables(angle, t, q.dtype, reverse, ahead=0)
    re, im = multiplied(q, *seen)
    q = torch.cat([re, -im], dim=-1)
    return q, torch.cat(multiplied(k, cos, -sin), dim=-1)


def turned_back(state: Tensor, angle: Tensor, t: int) -> Tensor:
    """state: b h k v after t tokens of the real recurrence -> the complex state they stand for."""
    cos, sin = (x[-1].unsqueeze(-1) for x in tables(angle, t, state.dtype, False))  # h n 1
    re, im = state.chunk(2, dim=2)
    return torch.cat([re * cos - im * sin, re * sin + im * cos], dim=2)


def tables(
    angle: Tensor, t: int, dtype: torch.dtype, reverse: bool, ahead: int = 1
) -> tuple[Tensor, Tensor]:
    """cos and sin of angle * (ahead, ahead + 1, ...): t h n each, time order reversed if asked."""
    cos, sin = (x.unflatten(1, angle.shape) for x in phases(angle.flatten(), t, ahead, dtype))
    return (cos.flip(0), sin.flip(0)) if reverse else (cos, sin)


def multiplied(y: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of y times (cos + j sin)."""
    re, im = y.chunk(2, dim=-1)
    return re * cos - im * sin, re * sin + im * cos
