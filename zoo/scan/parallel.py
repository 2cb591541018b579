"""The attention map written out: M_ts = sum_c q_t[c] (alpha_{s+1} ... alpha_t)[c] k_s[c], o = M v.

Quadratic in length and never chosen by itself: the third form that the certificate compares, and
the way to look at a model's map (MetaLA Eq. 18). With a rank-one erase the removed values r_t =
read_t S_{t-1} solve a triangular system and enter like values of negative weight.
Weights come from differences of running sums, so it is for float64, or for moderate decays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.chunks import in_order
from zoo.spec import Decay, Erase

NAME = "parallel"
ERASES = True


def refuses(case: Case) -> str:
    return ""


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None, erase: Erase | None = None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update. Memory is b t t h k."""
    b, t, h, _ = v.shape
    shape = (b, t, h, k.shape[3])
    q, k, log = q.expand(shape), k.expand(shape), decay.log()
    log = torch.zeros_like(k) if log is None else log.expand(shape)
    total = log.cumsum(1)  # b t h k
    start = v.new_zeros(b, h, k.shape[3], v.shape[3]) if state is None else state
    if erase is not None:
        write, read = erase.write.expand(shape), erase.read.expand(shape)
        before = total - log  # up to the token before
        known = mixed(weights(read, k, before, total, 1), v) + carried(read, before, start)
        A = weights(read, write, before, total, 1).permute(0, 3, 1, 2)  # b h t s
        A = A + torch.eye(t, dtype=A.dtype, device=A.device)
        removed = torch.linalg.solve_triangular(A, known.transpose(1, 2), upper=False)  # b h t v
        removed = removed.transpose(1, 2)
        o = mixed(weights(q, k, total, total, 0), v)
        o = o - mixed(weights(q, write, total, total, 0), removed)
    else:
        write, removed = None, None
        o = mixed(weights(q, k, total, total, 0), v)
    left = (total[:, -1:] - total).exp()  # b s h k
    end = torch.einsum("bshk,bshv->bhkv", left * k, v) + total[:, -1].exp().unsqueeze(-1) * start
    if write is not None and removed is not None:
        end = end - torch.einsum("bshk,bshv->bhkv", left * write, removed)
    return o + carried(q, total, start), end


def weights(q: Tensor, k: Tensor, upto: Tensor, since: Tensor, offset: int) -> Tensor:
    """sum_c q_t exp(upto_t - since_s) k_s for s <= t - offset, 0 elsewhere: b t s h."""
    t = q.shape[1]
    seen = torch.ones(t, t, dtype=torch.bool, device=q.device).tril(-offset)[:, :, None, None]
    exponent = upto.unsqueeze(2) - since.unsqueeze(1)  # b t s h k
    factor = exponent.masked_fill(~seen, 0.0).clamp(max=0.0).exp().masked_fill(~seen, 0.0)
    return torch.einsum("bthk,btshk,bshk->btsh", q, factor, k)


def mixed(weight: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("btsh,bshv->bthv", weight, v)


def carried(q: Tensor, upto: Tensor, start: Tensor) -> Tensor:
    """What q reads of the state before the first token: b t h v."""
    return torch.einsum("bthk,bhkv->bthv", q * upto.exp(), start)
