"""Parameters that give a target map exactly (C2): upper bounds of the approximation error.

Names follow the project's notes: U1 to U5, and the loophole that needs no query. d_k = n unless
said. q_l2 and k_l2 are what a verdict looks at: a construction only counts when they stay bounded
as n grows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.theory.linear_map import linear_map


@dataclass(frozen=True)
class Construction:
    """q, k, alpha: n d_k, and which function does the work."""

    name: str
    q: Tensor
    k: Tensor
    alpha: Tensor

    def error(self, P: Tensor) -> float:
        """Largest difference of an entry."""
        return (linear_map(self.q, self.k, self.alpha) - P).abs().max().item()

    @property
    def q_l2(self) -> float:
        return self.q.norm(dim=1).max().item()

    @property
    def k_l2(self) -> float:
        return self.k.norm(dim=1).max().item()

    @property
    def alpha_least(self) -> float:
        return self.alpha.min().item()


def slots_without_decay(P: Tensor, alpha: float = 1.0) -> Construction:
    """U1 (Q,K): K = I, Q = P, alpha = 1. With alpha < 1 fixed it is what |q|, |k| <= 1 leave."""
    eye = torch.eye(len(P), dtype=P.dtype)
    return Construction("U1", P, eye, torch.full_like(P, alpha))


def slots(P: Tensor, floor: float = 0.0) -> Construction:
    """U2 (Q,Lt): token s owns channel s, k = 1 - alpha. floor: least alpha, for tau and HGRN2.

    alpha_s = 1 - (1 - a) e_s, k_s = (1 - a) e_s, q_t = P_t / (1 - a): |k| = 1 - a and |q| <= 1 / (1
    - a), whatever n. At a = 0 the same setting also overwrites a slot exactly (C1).
    """
    eye = torch.eye(len(P), dtype=P.dtype)
    return Construction("U2", P / (1 - floor), (1 - floor) * eye, 1 - (1 - floor) * eye)


def times(P: Tensor) -> Construction:
    """U3 (Q,Lt), the paper's (appendix A2): channel c serves row c, k = 1 - alpha."""
    return replace_name(shifted_times(P, 0.0), "U3")


def shifted_times(P: Tensor, c0: float) -> Construction:
    """U4 (Q,Lt): alpha_s[c] = (c0 + S_{s-1}) / (c0 + S_s), S_s = P_c1 + ... + P_cs, q = (1 + c0)
    e_c.

    The product over s telescopes. alpha >= c0 / (1 + c0), so it survives a floor. Bounded per
    channel only: |k_1|_2 grows as sqrt(n). 0 / 0 at c0 = 0 is 1: nothing is there to decay.
    """
    total = P.cumsum(1).T  # s c
    before = torch.cat([torch.zeros_like(total[:1]), total[:-1]])
    alpha = torch.where(c0 + total > 0, (c0 + before) / (c0 + total), 1.0)
    eye = torch.eye(len(P), dtype=P.dtype)
    return Construction("U4", (1 + c0) * eye, 1 - alpha, alpha)


def free_scalars(P: Tensor, alpha: Tensor, *, into: str = "q") -> Construction:
    """U5 (Q,K,Lt): any alpha whose products are bounded below, one free number for each token.

    Different alpha, same map: the redundancy of the paper's A10 to A15. alpha: n. into: which
    function takes the quotient by the product; the paper's is k (bounded per channel only), q keeps
    |k| = 1 and |q| <= 1 / least product.
    """
    eye = torch.eye(len(P), dtype=P.dtype)
    product = alpha.cumprod(0)
    quotient = torch.where(P > 0, P * product / product.unsqueeze(1), 0.0)  # P_ts / (s+1 .. t)
    decay = alpha.unsqueeze(1).expand(-1, len(P))
    if into == "q":
        return Construction("U5", quotient, eye, decay)
    return Construction("U5", eye, quotient.T.contiguous(), decay)


def signed_pairs(P: Tensor) -> Construction:
    """Loophole (K,Lt): no query, but keys of both signs and 2 n channels. Exact, |k| up to
    sqrt(2n-1).

    Channel pair c holds P_cs and -P_cs, which cancel; the negative twin dies at time c, the
    positive one at c + 1. It needs signed keys, d_k >= 2 n and keys whose norm grows with n.
    """
    n = len(P)
    eye = torch.eye(n, dtype=P.dtype)
    negative = 1 - eye
    positive = 1 - torch.cat([torch.zeros_like(eye[:1]), eye[:-1]])
    k = torch.cat([P.T, -P.T.triu(1)], dim=1)  # s 2n
    return Construction("pairs", torch.ones_like(k), k, torch.cat([positive, negative], dim=1))


def replace_name(made: Construction, name: str) -> Construction:
    return Construction(name, made.q, made.k, made.alpha)
