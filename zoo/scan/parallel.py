"""The attention map written out: M_ts = sum_c q_t[c] (alpha_{s+1} ... alpha_t)[c] k_s[c], o = M v.

Quadratic in length and never chosen by itself: the third form that the certificate compares, and
the way to look at a model's map (MetaLA Eq. 18).
Weights come from differences of running sums, so it is for float64, or for moderate decays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.spec import Decay

NAME = "parallel"


def refuses(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> str:
    return ""


def scan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Decay,
    *,
    read: str,
    reverse: bool,
    state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan. Memory is b h t t k: for short sequences."""
    if reverse:
        q, k, v, decay = q.flip(1), k.flip(1), v.flip(1), flipped(decay)
    b, t, h, _ = v.shape
    shape = (b, t, h, k.shape[3])
    log = decay.log()
    log = torch.zeros(shape, dtype=v.dtype, device=v.device) if log is None else log.expand(shape)
    total = log.cumsum(1)  # b t h k
    read_at = total if read == "after" else total - log
    rows, columns = read_at.unsqueeze(2), total.unsqueeze(1)  # b t 1 h k, b 1 s h k
    seen = torch.ones(t, t, dtype=torch.bool, device=v.device).tril(0 if read == "after" else -1)
    exponent = (rows - columns).masked_fill(~seen[:, :, None, None], 0.0).clamp(max=0.0)
    weights = torch.einsum(
        "bthk,btshk,bshk->btsh", q.expand(shape), exponent.exp(), k.expand(shape)
    )
    weights = weights.masked_fill(~seen[:, :, None], 0.0)
    o = torch.einsum("btsh,bshv->bthv", weights, v)
    end = torch.einsum("bshk,bshv->bhkv", (total[:, -1:] - total).exp() * k, v)
    if state is not None:
        o = o + torch.einsum("bthk,bhkv->bthv", q * read_at.exp(), state)
        end = end + total[:, -1].exp().unsqueeze(-1) * state
    return (o.flip(1) if reverse else o), end


def flipped(decay: Decay) -> Decay:
    return Decay(None if decay.step is None else decay.step.flip(1), decay.rate)
