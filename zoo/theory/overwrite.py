"""Dynamic memory (C1): what is left when one of d_k slots is overwritten and the others are kept.

Rows S_i = v_i and v_new are orthonormal. With decay alpha and key k the state becomes S' =
diag(alpha) S + k^T v_new; the target is S with row r replaced by v_new, and e2 = |S' - target|^2 =
a_r^2 + sum over i != r of (1 - a_i)^2 + (k_r - 1)^2 + sum over i != r of k_i^2. One row counts 1,
so doing nothing costs 1 for the old value and 1 for the missing new one. Averages are over r.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

D_K = 16  # slots in tables and figures, Mamba's state size


def overwrite_error(alpha: Tensor, k: Tensor, r: int, *, erase: Tensor | None = None) -> float:
    """e2 by carrying the update out. alpha, k: c; erase: c c, subtracted from diag(alpha)."""
    d_k = len(alpha)
    v = torch.eye(d_k + 1, dtype=torch.float64)  # v_0 .. v_{d_k-1}, v_new
    A = torch.diag(alpha.double()) - (0 if erase is None else erase.double())
    target = v[:d_k].clone()
    target[r] = v[d_k]
    return (A @ v[:d_k] + k.double().unsqueeze(1) * v[d_k] - target).square().sum().item()


def no_decay(d_k: int = D_K) -> float:
    """alpha = 1: v_r stays beside v_new."""
    return 1.0


def one_value(d_k: int = D_K) -> float:
    """Fixed decay, or one dynamic value for all channels: min over a of a^2 + (d_k - 1)(1 - a)^2.

    A fixed vector costs the same: averaged over r, every channel has this sum to itself.
    """
    return 1 - 1 / d_k


def static_key(d_k: int = D_K) -> float:
    """What a key that does not depend on the token adds: min over c of (1 - c)^2 + (d_k - 1)
    c^2."""
    return 1 - 1 / d_k


def tied_rates(rates: Tensor) -> Tensor:
    """a_c = exp(-step rate_c) with one step (S6): the least e2 for every row, minimised over
    step."""
    rates = rates.double() / rates.double().mean()
    low, high = torch.full_like(rates, -9.0), torch.full_like(rates, 5.0)  # log10 of the step
    rows = torch.eye(len(rates), dtype=torch.float64)
    for _ in range(12):  # each round looks closer at the best of 101 points
        grid = low + (high - low) * torch.linspace(0, 1, 101, dtype=torch.float64).unsqueeze(1)
        a = torch.exp(-(10**grid).unsqueeze(2) * rates)  # point row c
        e2 = (rows * a.square() + (1 - rows) * (1 - a).square()).sum(2)
        best, index = e2.min(0)
        centre, width = grid.gather(0, index.unsqueeze(0))[0], (high - low) / 50
        low, high = centre - width, centre + width
    return best.clamp(max=1.0)  # step 0 costs 1


def per_channel(
    least: float, most: float, d_k: int, key: Callable[[float], float] | None = None
) -> float:
    """A dynamic decay of its own for each channel, between two values. key: k as a function of
    alpha, or None where k is free."""
    erased, kept = least**2, (1 - most) ** 2
    if key is not None:
        erased, kept = erased + (key(least) - 1) ** 2, kept + key(most) ** 2
    return erased + (d_k - 1) * kept


def tied(alpha: float) -> float:
    """MetaLA, HGRN, T-RNN."""
    return 1 - alpha


def griffin(alpha: float) -> float:
    return math.sqrt(1 - alpha**2)


def bounded_logit(Z: float, *, tau: float = 1.0, floor: float = 0.0, d_k: int = D_K) -> float:
    """What a trained gate can do whose logit stays within +-Z: alpha = floor + (1 - floor)
    sigmoid(z)^(1/tau), k = 1 - alpha."""
    # log sigmoid(-Z) and log sigmoid(Z), exact for large Z too
    least = math.exp(-(max(Z, 0) + math.log1p(math.exp(-abs(Z)))) / tau)
    forgets = -math.expm1(-math.log1p(math.exp(-Z)) / tau)  # 1 - most
    least, forgets = floor + (1 - floor) * least, (1 - floor) * forgets
    return 2 * least**2 + 2 * (d_k - 1) * forgets**2


RWKV7_LEAST = math.exp(-math.exp(-0.5))  # alpha = exp(-e^-1/2 sigmoid(.)) stays above 0.545


def delta_rule(strength: float = 1.0) -> float:
    """alpha = 1, A = 1 - strength e_r^T e_r, k = strength e_r."""
    return 2 * (1 - strength) ** 2


def softmax(logit: float, d_k: int = D_K) -> float:
    """Softmax attention, whose memory is the list of tokens: key i has logit `logit` under query i,
    the new token, with a key twice as long, twice that under query r, and 0 elsewhere."""
    scores = torch.zeros(d_k, d_k + 1, dtype=torch.float64)  # query, token; the last is the new one
    scores[:, :d_k] = logit * torch.eye(d_k)
    scores[0, d_k] = 2 * logit
    target = torch.eye(d_k, d_k + 1, dtype=torch.float64)
    target[0] = torch.eye(d_k + 1)[d_k]
    return (scores.softmax(1) - target).square().sum().item()
