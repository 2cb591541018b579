"""Attention maps to approximate: n x n, causal, no entry below 0, every row sums to 1.

Nothing else about them is used anywhere: no bound and no construction is specific to softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor

LENGTHS = (4, 8, 16, 32, 64)  # tokens: where bounds and constructions are evaluated


def targets(n: int) -> dict[str, Tensor]:
    """The target set of every verdict."""
    return {"random": softmax(n), "sink": sink(n), "pointer": pointer(n)}


def softmax(n: int, seed: int = 0) -> Tensor:
    """Causal softmax of logits that are normal with standard deviation 3."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n, generator=generator, dtype=torch.float64)
    return logits.masked_fill(~causal(n), -torch.inf).softmax(dim=1)


def sink(n: int) -> Tensor:
    """All attention goes to the first token."""
    P = torch.zeros(n, n, dtype=torch.float64)
    P[:, 0] = 1
    return P


def pointer(n: int) -> Tensor:
    """Row t attends to token 7 t mod (t + 1) alone."""
    P = torch.zeros(n, n, dtype=torch.float64)
    t = torch.arange(n)
    P[t, 7 * t % (t + 1)] = 1
    return P


def alternating(n: int) -> Tensor:
    """Even rows attend to the first token, odd rows to themselves: column 0 is 1, 0, 1, 0, ..."""
    P = torch.zeros(n, n, dtype=torch.float64)
    t = torch.arange(n)
    P[t, torch.where(t % 2 == 0, 0, t)] = 1
    return P


def causal(n: int) -> Tensor:
    """n x n, true where token s is seen by row t."""
    return torch.ones(n, n, dtype=torch.bool).tril()
