"""d_k = 1, the vector state: a two-level scan of h_t = alpha_t h_{t-1} + k_t v_t, derivative by hand.

All chunks run at once, token by token from an empty state; then the state passes from chunk to chunk;
then every token adds its share of what came in. Buffers are time-major: each step is one contiguous
operation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.scan.chunks import cut, least
from zoo.scan.derivative import Kernel, differentiable
from zoo.spec import Decay

NAME = "vector"


def refuses(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> str:
    return "" if k.shape[3] == 1 else f"needs one key channel per head, not {k.shape[3]}"


def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan with k = 1."""
    b, t, h, d_v = v.shape
    log = decay.log()
    log = v.new_zeros(1, 1, 1, 1) if log is None else log  # b t h 1 or h 1
    log = log.expand(b if decay.step is not None else 1, t, h, 1)[..., 0]  # b t h
    state = v.new_zeros(b, h, 1, d_v) if state is None else state
    q, k = q.expand(b, t, h, 1)[..., 0], k.expand(b, t, h, 1)[..., 0]  # b t h
    x = v.transpose(2, 3), state[:, :, 0].transpose(1, 2)  # b t v h, b v h
    q, k, log, v = (y.flip(1) if reverse else y for y in (q, k, log, x[0]))
    o, state = differentiable(AFTER if read == "after" else BEFORE, q, k, v, log, x[1])
    o = o.flip(1) if reverse else o
    return o.transpose(2, 3), state.transpose(1, 2).unsqueeze(2)
