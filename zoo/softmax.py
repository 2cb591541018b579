"""The baseline outside the template: softmax attention, whose state is a growing list."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from zoo.rotation import rope as rotary


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: Mapping[str, Tensor],
    *,
    start: int,
    rope: bool,
    dropout: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """o_t = sum over s <= t of softmax(q_t k_s / sqrt(d_k)) v_s, through SDPA.

    q, k: b t h k; v: b t h v; state: {} or the cache {"k": b h n k, "v": b h n v} of the n tokens
    before. Returns: o (b t h v) and the longer cache.
    """
    if rope:
        q, k = rotary(q, start), rotary(k, start)
    q, k, v = (rearrange(y, "b t h c -> b h t c") for y in (q, k, v))
    if "k" in state:
        k, v = torch.cat([state["k"], k], dim=2), torch.cat([state["v"], v], dim=2)
    t, n = q.shape[2], k.shape[2]
    mask = (
        None
        if t == n or t == 1
        else torch.ones(t, n, dtype=torch.bool, device=q.device).tril(n - t)
    )
    o = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout, is_causal=t == n and t > 1)
    return rearrange(o, "b h t v -> b t h v"), {"k": k, "v": v}


def attend_to_all(
    q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None, *, rope: bool, dropout: float
) -> Tensor:
    """o_t = sum over all valid s of softmax(q_t k_s / sqrt(d_k)) v_s. valid: b t; None: all."""
    if rope:
        q, k = rotary(q, 0), rotary(k, 0)
    q, k, v = (rearrange(y, "b t h c -> b h t c") for y in (q, k, v))
    mask = None if valid is None else rearrange(valid, "b t -> b 1 1 t")
    o = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)
    return rearrange(o, "b h t v -> b t h v")
