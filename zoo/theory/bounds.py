"""Lower bounds of the approximation error max_ts |M_ts - P_ts| (C2), in closed form.

Each holds for every choice of parameters that its docstring allows, with as many channels as one
likes unless said. C = Cq Ck bounds |q_t|_2 |k_s|_2. Bounds per channel are not enough: d_k channels
would allow d_k times as much and hide the failure.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.theory.targets import causal


def fixed_decay(P: Tensor, ceiling: float, C: float = 1.0) -> float:
    """L1: any fixed decay, alpha <= ceiling < 1. |M_ts| <= C ceiling^(t-s) by Cauchy-Schwarz."""
    t = torch.arange(len(P), dtype=P.dtype)
    reach = C * ceiling ** (t.unsqueeze(1) - t)
    return (P - reach)[causal(len(P))].max().clamp(min=0).item()


def fixed_decay_of_sink(n: int, ceiling: float) -> float:
    """L1 of the sink, at any length without the map: no target of n tokens costs more."""
    return 1 - ceiling ** (n - 1)


def required_norm_log10(ceiling: float, t: int) -> float:
    """log10 of |q| |k| that a uniform row at time t (counted from 1) needs for its first token.

    Below 0 no bound of 1 is broken: the verdict on a fixed decay hangs on ceiling^t.
    """
    return -math.log10(t) - t * math.log10(ceiling)


def no_query(P: Tensor) -> float:
    """L2: no query, k >= 0, read after the update, no denominator: columns of M cannot rise."""
    least = P.masked_fill(~causal(len(P)), torch.inf).cummin(0).values  # min over s <= t' <= t
    rise = P[1:] - least[:-1]
    return max(rise.max().item(), 0.0) / 2


def one_channel(P: Tensor, *, before: bool = False) -> float:
    """L3: no query and one channel a head, with a denominator or without.

    Rows are proportional where both are supported. before: row t reads the state before token t, so
    only s, r < t compare (RWKV-4 with its bonus). Keys of either sign.
    """
    worst = 0.0
    for t in range(len(P) - 1):
        m = t if before else t + 1
        if m < 2:
            continue
        a, b = P[t, :m], P[t + 1 :, :m]  # s, u s
        products = a.unsqueeze(1) * b.unsqueeze(1)  # u s r: P_ts P_ur
        total = (a + b).unsqueeze(2) + (a + b).unsqueeze(1)
        gap = (products - products.transpose(1, 2)).abs() / total.clamp(min=1e-300)
        worst = max(worst, gap.max().item())
    return worst


def only_query(P: Tensor) -> float:
    """L4, exact: only a query. Rows of M are constant."""
    seen = causal(len(P))
    highest = P.masked_fill(~seen, -torch.inf).amax(1)
    return ((highest - P.masked_fill(~seen, torch.inf).amin(1)) / 2).max().item()


def only_key(P: Tensor) -> float:
    """L5, exact: only a key. Columns of M are constant."""
    seen = causal(len(P))
    highest = P.masked_fill(~seen, -torch.inf).amax(0)
    return ((highest - P.masked_fill(~seen, torch.inf).amin(0)) / 2).max().item()


def toeplitz(P: Tensor) -> float:
    """L6: nothing depends on the token (only L, or a time-invariant SSM). Diagonals are
    constant."""
    ranges = [d.max() - d.min() for d in (P.diagonal(-lag) for lag in range(len(P)))]
    return max(ranges).item() / 2


def scaled_toeplitz(P: Tensor) -> float:
    """M_ts = g_t T_(t-s) k_s: a time-invariant map between a gate and a value that read the token.

    T_(l+1) T_(l-1) / T_l^2 is the same wherever lag l is, so two products of four entries of M are
    equal, one from each place in either. With entries p on one side and r on the other, E below all
    p would need prod (p - E) <= prod (r + E).
    """
    n, worst = len(P), 0.0
    for lag in range(1, n - 1):
        on, off = P.diagonal(-lag), P.diagonal(-lag - 1)
        near = P.diagonal(1 - lag)[1 : n - lag]
        apart = torch.stack([off, near[: n - lag - 1]])  # 2 place: M_(t+1,s), M_(t,s+1)
        along = torch.stack([on[:-1], on[1:]])  # 2 place: M_(t,s), M_(t+1,s+1)
        p = torch.cat([pairs(apart, 0), pairs(along, 1)])  # 4 place place
        r = torch.cat([pairs(along, 0), pairs(apart, 1)])
        low, high = torch.zeros_like(p[0]), p.amin(0)
        for _ in range(30):
            E = (low + high) / 2
            impossible = (p - E).clamp(min=0).prod(0) > (r + E).prod(0)
            low, high = torch.where(impossible, E, low), torch.where(impossible, high, E)
        worst = max(worst, low.max().item())
    return worst


def pairs(entries: Tensor, axis: int) -> Tensor:
    """2 place -> 2 place place, the entries of the first place (axis 0) or of the second."""
    n = entries.shape[1]
    return entries.unsqueeze(2 - axis).expand(2, n, n)


def signed_keys(n: int, d_k: int, Ck: float = 1.0) -> float:
    """No query, signed keys with |k_s|_2 <= Ck, on a column 1, 0, 1, 0, ...

    Total variation of a column is at most |k_s|_1 <= sqrt(d_k) Ck, of the target's n - 1.
    """
    return max((n - 1) - math.sqrt(d_k) * Ck, 0.0) / (2 * (n - 1))


def few_channels(P: Tensor, d_k: int) -> float:
    """Any diagonal recurrence with d_k channels: a block with s <= m < t has rank d_k at most.

    E sqrt(rows columns) >= |P - M|_2 >= the (d_k + 1)-th singular value of the block.
    """
    n, worst = len(P), 0.0
    for m in range(1, n):
        block = P[m:, : m + 1]
        values = torch.linalg.svdvals(block)
        if d_k < len(values):
            worst = max(worst, values[d_k].item() / math.sqrt(block.numel()))
    return worst
