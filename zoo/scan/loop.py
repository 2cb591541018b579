"""The recurrence as written, one token at a time: every other backend is tested against it."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.spec import Decay

NAME = "loop"


def refuses(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> str:
    return ""


def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan. Computes in the dtype of its inputs: float64 is the reference."""
    b, t, h, d_v = v.shape
    S = v.new_zeros(b, h, k.shape[3], d_v) if state is None else state  # b h k v
    # unbind, not x[:, t]: indexing under autograd costs a gradient of full length for every token.
    steps = [None] * t if decay.step is None else decay.step.unbind(1)
    q_t, k_t, v_t, o = q.unbind(1), k.unbind(1), v.unbind(1), [v] * t
    for i in range(t)[:: -1 if reverse else 1]:
        past = S
        log = Decay(steps[i], decay.rate).log()  # b h k
        if log is not None:
            # exp(-80) is below every rounding, and exp of less is slow.
            S = S * log.clamp(min=-80.0).exp().unsqueeze(-1)
        S = S + k_t[i].unsqueeze(-1) * v_t[i].unsqueeze(-2)
        o[i] = (q_t[i].unsqueeze(-2) @ (S if read == "after" else past)).squeeze(-2)  # b h v
    return torch.stack(o, dim=1), S
