"""A numerical sanity check of C2: Adam on bounded parameters must land between the bounds.

Cases of one size are optimised together. An absent query is the constant 1 (of length 1 where the
group is bounded by length); an absent key is 1 - alpha or, without a dynamic decay, one learned
vector for all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.theory.groups import Group
from zoo.theory.targets import causal

RATE = 0.05  # of Adam, decayed to 0


@dataclass(frozen=True)
class Case:
    """One group with d_k channels. C: bound of |q|_2; ceiling: of a fixed decay."""

    group: Group
    d_k: int
    C: float = 1.0
    ceiling: float = 0.99


def approximate(
    P: Tensor, cases: Sequence[Case], *, steps: int = 1000, restarts: int = 2, seed: int = 0
) -> list[float]:
    """The least max_ts |M_ts - P_ts| that was found for each case. P: n x n."""
    n, widest = len(P), max(case.d_k for case in cases)
    made = [parameters(case, n, widest, restarts, seed) for case in cases]
    raw = [torch.stack(part).flatten(0, 1) for part in zip(*made)]  # (case restart) n c
    raw = [y.requires_grad_() for y in raw]
    optimiser = torch.optim.Adam(raw, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    seen, best = causal(n), torch.full((len(raw[0]),), torch.inf, dtype=torch.float64)
    switches = settings(cases, widest, restarts)
    for step in range(steps):
        error = (maps(raw[0], raw[1], raw[2], switches) - P).abs()[:, seen]
        largest = error.amax(1)
        best = torch.minimum(best, largest.detach())
        p = 4 * 8 ** min(1.0, step / (0.7 * steps))  # 4 to 32, then the maximum itself
        scale = largest.detach().unsqueeze(1)
        smooth = (error / scale).pow(p).mean(1).pow(1 / p) * scale[:, 0]
        loss = (smooth if step < 0.8 * steps else largest).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return best.view(len(cases), restarts).amin(1).tolist()


def parameters(case: Case, n: int, widest: int, restarts: int, seed: int) -> list[Tensor]:
    """Raw q, k, alpha of one case, restart n c each, drawn from the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(restarts, 3, n, widest, generator=generator, dtype=torch.float64)
    return list((0.5 * draw).unbind(1))


class Switches(NamedTuple):
    """What tells the cases apart: (case restart) 1 1 each, mask (case restart) 1 c."""

    query: Tensor
    key: Tensor
    fixed: Tensor
    dynamic: Tensor
    C: Tensor
    ceiling: Tensor
    d_k: Tensor
    mask: Tensor


def settings(cases: Sequence[Case], widest: int, restarts: int) -> Switches:
    columns = zip(*(describe(case) for case in cases))
    made = [torch.tensor(y).repeat_interleave(restarts).view(-1, 1, 1) for y in columns]
    return Switches._make([*made, torch.arange(widest) < made[-1]])


def describe(case: Case) -> tuple[bool | float, ...]:
    g = case.group
    kinds = (g.query, g.key, g.decay == "fixed", g.decay == "dynamic")
    return (*kinds, case.C, case.ceiling, float(case.d_k))


def maps(raw_q: Tensor, raw_k: Tensor, raw_a: Tensor, switches: Switches) -> Tensor:
    """M of every case, from differences of running sums of log alpha: exponents are never above
    0."""
    query, key, fixed, dynamic, C, ceiling, d_k, mask = switches
    q, k = within(raw_q * mask, C), within(raw_k * mask, torch.ones_like(C))
    # Without a query L2 asks for k >= 0; a dynamic decay without a key comes with k = 1 - alpha.
    k = torch.where(query | ~dynamic, k, torch.sigmoid(raw_k))
    static = k[:, :1].expand_as(k)
    constant = torch.where(dynamic, torch.ones_like(d_k), d_k**-0.5)
    log = torch.nn.functional.logsigmoid(raw_a + 2)
    log_fixed = torch.log(ceiling) + log[:, :1].expand_as(log)
    log = torch.where(dynamic, log, torch.where(fixed, log_fixed, torch.zeros_like(log)))
    k = torch.where(key, k, torch.where(dynamic, -torch.expm1(log), static))
    q = torch.where(query, q, constant)
    total = log.cumsum(1)
    weight = (total.unsqueeze(2) - total.unsqueeze(1)).clamp(max=0.0).exp()  # case t s c
    return torch.einsum("btc,btsc,bsc->bts", q * mask, weight, k * mask)


def within(y: Tensor, C: Tensor) -> Tensor:
    """Rows no longer than C."""
    return y * (C / y.norm(dim=2, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
