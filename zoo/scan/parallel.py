"""The attention map written out: M_ts = sum_c q_t[c] (alpha_{s+1} ... alpha_t)[c] k_s[c], o = M v.

Quadratic in length and never chosen by itself: the third form that the certificate compares, and
the way to look at a model's map (MetaLA Eq. 18).
Weights come from differences of running sums, so it is for float64, or for moderate decays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.scan.chunks import in_order
from zoo.spec import Decay

NAME = "parallel"


def refuses(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> str:
    return ""


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update. Memory is b t t h k."""
    b, t, h, _ = v.shape
    shape = (b, t, h, k.shape[3])
    q, k, log = q.expand(shape), k.expand(shape), decay.log()
    log = torch.zeros_like(k) if log is None else log.expand(shape)
    total = log.cumsum(1)  # b t h k
    seen = torch.ones(t, t, dtype=torch.bool, device=v.device).tril()[:, :, None, None]
    exponent = total.unsqueeze(2) - total.unsqueeze(1)  # b t s h k
    weights = exponent.masked_fill(~seen, 0.0).clamp(max=0.0).exp().masked_fill(~seen, 0.0)
    o = torch.einsum("bthk,btshk,bshk,bshv->bthv", q, weights, k, v)
    end = torch.einsum("bshk,bshk,bshv->bhkv", (total[:, -1:] - total).exp(), k, v)
    if state is not None:
        o = o + torch.einsum("bthk,bhkv->bthv", q * total.exp(), state)
        end = end + total[:, -1].exp().unsqueeze(-1) * state
    return o, end
