"""The recurrence as written, one token at a time: every other backend is tested against it."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.spec import Decay, Erase

NAME = "loop"
TURNS = ERASES = True


def refuses(case: Case) -> str:
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
    erase: Erase | None = None,
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan. Computes in the dtype of its inputs: float64 is the reference."""
    b, t, h, d_v = v.shape
    S = v.new_zeros(b, h, k.shape[3], d_v) if state is None else state  # b h k v
    # unbind, not x[:, t]: indexing under autograd costs a gradient of full length for every token.
    steps = [None] * t if decay.step is None else decay.step.unbind(1)
    if decay.angle is not None:
        n = decay.angle.shape[1]
        q = torch.cat([q[..., :n], -q[..., n:]], dim=-1)  # o = Re q Re S - Im q Im S
    q_t, k_t, v_t, o = q.unbind(1), k.unbind(1), v.unbind(1), [v] * t
    write, seen = ([], []) if erase is None else (erase.write.unbind(1), erase.read.unbind(1))
    for i in range(t)[:: -1 if reverse else 1]:
        past = S
        log = Decay(steps[i], decay.rate).log()  # b h k
        if log is not None:
            # exp(-80) is below every rounding, and exp of less is slow.
            S = S * log.clamp(min=-80.0).exp().unsqueeze(-1)
        if decay.angle is not None:
            S = rotated(S, decay.angle)
        if erase is not None:
            S = S - write[i].unsqueeze(-1) * (seen[i].unsqueeze(-2) @ past)
        S = S + k_t[i].unsqueeze(-1) * v_t[i].unsqueeze(-2)
        o[i] = (q_t[i].unsqueeze(-2) @ (S if read == "after" else past)).squeeze(-2)  # b h v
    return torch.stack(o, dim=1), S


def rotated(S: Tensor, angle: Tensor) -> Tensor:
    """S: b h k v, channels [real | imaginary], times exp(j angle); angle: h n."""
    cos, sin = (f(angle.double()).to(S.dtype).unsqueeze(-1) for f in (torch.cos, torch.sin))
    re, im = S.chunk(2, dim=2)
    return torch.cat([re * cos - im * sin, re * sin + im * cos], dim=2)
