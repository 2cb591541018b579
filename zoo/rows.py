"""Keys and angles that differ from row to row but not from token to token, as a length makes them.

A scan knows numbers that belong to a head, and numbers that belong to a token. So rows become heads
of one long row here: b t h ... -> 1 t (b h) ...
"""

from __future__ import annotations

from dataclasses import replace

from einops import rearrange, repeat
from torch import Tensor

from zoo.spec import Decay, Erase


def differ(q: Tensor, k: Tensor, v: Tensor, decay: Decay) -> bool:
    """Whether q or k are b 1 h k, or the angle is b h n."""
    b, t = v.shape[:2]
    each = any(x.shape[:2] == (b, 1) for x in (q, k)) and b > 1 and t > 1
    return each or (decay.angle is not None and decay.angle.dim() == 3)


def as_heads(y: Tensor, b: int, h: int) -> Tensor:
    """y: b or 1, t or 1, h or 1, k. Returns: 1 t (b h) k, copied for every row and head."""
    return rearrange(y.expand(b, -1, h, -1), "b t h k -> 1 t (b h) k")


def as_rows(y: Tensor, b: int) -> Tensor:
    """y: 1 t (b h) v. Returns: b t h v."""
    return rearrange(y, "1 t (b h) v -> b t h v", b=b)


def decay_as_heads(decay: Decay, b: int, h: int) -> Decay:
    step = None if decay.step is None else as_heads(decay.step, b, h)
    rate = None if decay.rate is None else repeat(decay.rate, "h k -> (b h) k", b=b)
    angle = decay.angle
    if angle is not None:
        angle = angle.expand(b, *angle.shape[-2:]).flatten(0, 1)  # (b h) n
    return Decay(step, rate, angle)


def erase_as_heads(erase: Erase | None, b: int, h: int) -> Erase | None:
    if erase is None:
        return None
    return replace(erase, write=as_heads(erase.write, b, h), read=as_heads(erase.read, b, h))
