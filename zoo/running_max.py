"""Log keys: k = exp(...) without overflow, by a running maximum that leaves every output unchanged.

With S~_t = exp(-m_t) S_t the recurrence keeps its form: key exp(log k_t - m_t), decay exp(log
alpha_t + m_{t-1} - m_t) <= 1, m_t = max(m_{t-1} + log alpha_t, log k_t). The normaliser removes the
common factor. m carries no gradient: any m gives the same function.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from zoo.directions import cleared
from zoo.spec import Decay

Read = Literal["after", "before"]

LEAST = -1e30  # log of an empty state: finite, so that no exponential ever sees -inf
FLOOR = -80.0  # exp below about -87 is subnormal in float32 and slow; exp(-80) is already 2e-35


def rescale(
    log_k: Tensor, decay: Decay, m: Tensor | None, read: Read = "after"
) -> tuple[Tensor, Decay, Tensor, Tensor]:
    """log_k: b t h 1; m: b h 1, the maximum after the previous segment (None: empty state).

    Returns: key b t h 1 (in (0, 1]), decay (step b t h 1), the m of the state that each token reads
    (b t h 1; m_{t-1} for "before"), last m (b h 1).
    """
    log_alpha = decay.log()
    assert log_alpha is not None, "log keys need a decay"
    with torch.no_grad():
        b, t, h, _ = log_k.shape
        first = torch.full((b, 1, h, 1), LEAST, device=log_k.device, dtype=torch.float64)
        first = first if m is None else m.double()[:, None]
        total = log_alpha.double().expand(b, t, h, 1).cumsum(1)  # b t h 1
        highest = torch.cummax(torch.cat([first, log_k.double() - total], dim=1), dim=1).values
        after = highest[:, 1:] + total  # m_t, b t h 1
        before = torch.cat([first, after[:, :-1]], dim=1)  # m_{t-1}
        rescaled = (log_alpha + before - after).clamp(min=-1e4, max=0.0).to(log_k.dtype)
        after, before = after.to(log_k.dtype), before.to(log_k.dtype)
    # The value is `rescaled`, the gradient log_alpha's own: clamping the sum would lose it at 0.
    log_decay = rescaled + (log_alpha - log_alpha.detach())
    seen = before if read == "before" else after
    return floored_exp(log_k - after), Decay(step=-log_decay), seen, after[:, -1]


def rescale_back(
    log_k: Tensor, decay: Decay, valid: Tensor | None, read: Read = "after"
) -> tuple[Tensor, Decay, Tensor, Tensor]:
    """rescale() for a scan from the last token to the first. valid: b t; pads weigh nothing."""
    log_k = cleared(log_k, valid, LEAST).flip(1)
    decay = replace(decay, step=None if decay.step is None else decay.step.flip(1))
    k, decay, seen, last = rescale(log_k, decay, None, read)
    assert decay.step is not None
    return k.flip(1), Decay(step=decay.step.flip(1)), seen.flip(1), last


def weights(*logs: Tensor) -> list[Tensor]:
    """exp of each log weight, b t h 1, under their common maximum."""
    highest = functools.reduce(torch.maximum, (x.detach() for x in logs))
    return [floored_exp(x - highest) for x in logs]


def floored_exp(x: Tensor) -> Tensor:
    return x.clamp(min=FLOOR).exp()
