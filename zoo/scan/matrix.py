"""Per-channel decay, d_k x d_v state: chunks of two levels, matmuls only, derivative by hand.

With G the running sum of log alpha, token j weighs sum_k q_i k_j exp(G_i - G_j) in token i. A chunk
has blocks of 4 tokens; F_r is G at the first token of block r. A query takes exp(G_i - F_r) <= 1, a
key exp(F_s - G_j) <= exp(60), and each pair of blocks shares exp(F_r - F_s) <= 1. So no factor
overflows at any decay, and each comes from the log decays between two tokens: nothing cancels.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.chunks import cut, faintest, in_order, kept_where_alive, least, lower, padded, sums
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.spec import Decay

NAME = "matrix"
BLOCK = 4  # tokens: 3 log decays of -20 each, 60 in all, stay well inside float32's 87


def refuses(case: Case) -> str:
    if case.decay.kind in ("keep", "head"):
        return f"needs a decay per key channel, and this one is of kind {case.decay.kind!r}"
    if case.decay.kind == "ssm" and case.v.shape[3] == 1:
        return "would build step x rate for every token, which is larger than everything else"
    return ""


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update."""
    b, t, h, d_v = v.shape
    log = decay.log()
    assert log is not None
    log = log.expand(b if log.dim() == 4 else 1, t, h, k.shape[3])  # b t h k
    # Longer chunks cost more inside and pass on fewer states, which pays where states are wide.
    n, c = cut(t, 16 if d_v < 128 else 32, BLOCK)
    o, state = differentiable(KERNEL, *(chunked(x, h, n, c) for x in (q, k, v, log)), state)
    return o.permute(0, 1, 3, 2, 4).flatten(1, 2)[:, :t], state


def chunked(x: Tensor, h: int, n: int, c: int) -> Tensor:
    """b t h k -> b n h c k, n outermost in memory. Padded with zeros: an empty key that does not
    decay changes nothing."""
    x = padded(x, n * c).unflatten(1, (n, c)).expand(-1, -1, -1, h, -1)  # b n c h k
    return x.permute(1, 0, 3, 2, 4).contiguous().transpose(0, 1)


@functools.lru_cache(maxsize=64)
def exponents(c: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix that turns the log decays of a chunk into all exponents: rows c.

    Rows: c queries G_i - F_r, c keys F_s - G_j, r queries from the chunk's start F_r, 1 whole chunk
    G_c, r keys to its end G_c - F_s, r r pairs of blocks F_r - F_s (0 where s > r).
    """
    with torch.inference_mode(False):
        G = torch.ones(c, c, dtype=dtype, device=device).tril()  # row i sums tokens 0 to i
        F = G[::BLOCK]
        inside = G - F.repeat_interleave(BLOCK, 0)
        past = torch.ones_like(F[:, : len(F)]).tril().unsqueeze(2)  # r r 1
        pairs = ((F.unsqueeze(1) - F) * past).flatten(0, 1)
        return torch.cat([inside, -inside, F, G[-1:], G[-1] - F, pairs])


class Factors:
    """exp of all `exponents`, cut up. log: n b h c k, b may be 1."""

    def __init__(self, log: Tensor) -> None:
        c, smallest = log.shape[3], least(log.dtype)
        r = c // BLOCK
        x = sums(exponents(c, log.dtype, log.device), log.clamp(min=smallest))
        # A query may bring exp(-60).
        x[:, :, :, 2 * c : 2 * c + r + 1].clamp_(min=faintest(log.dtype, 2))
        # A key may bring exp(60), so what it is multiplied with must go that much deeper.
        x[:, :, :, 2 * c + r + 1 :].clamp_(min=4 * smallest)
        parts = x.exp_().split((c, c, r, 1, r, r * r), dim=3)
        self.query, self.key = parts[:2]  # n b h c k
        self.start, self.end = parts[2].unsqueeze(4), parts[4].unsqueeze(4)  # n b h r 1 k
        self.whole = parts[3].transpose(3, 4)  # n b h k 1
        self.pairs = parts[5].unflatten(3, (r, r, 1))  # n b h r r 1 k


def forward(q: Tensor, k: Tensor, v: Tensor, log: Tensor, state: Tensor | None) -> Tensors:
    """q, k, log: b n h c k; v: b n h c v; state: b h k v."""
    q, k, v, log = (x.transpose(0, 1) for x in (q, k, v, log))  # n b h c k
    (n, b, h, c, d_k), d_v, f = q.shape, v.shape[4], Factors(log)
    near, key = q * f.query, blocks(k * f.key)  # n b h c k, n b h r 4 k
    pairs = flat(key.unsqueeze(3) * f.pairs, c)
    A = torch.bmm(flat(near, BLOCK), pairs.transpose(1, 2)).view(-1, c, c).tril_()
    added = torch.bmm(flat(key * f.end, c).transpose(1, 2), flat(v, c)).view(n, b, h, d_k, d_v)
    S = torch.empty_like(added)  # the state before each chunk
    S[0] = 0.0 if state is None else state
    for i in range(n - 1):
        torch.addcmul(added[i], f.whole[i], S[i], out=S[i + 1])
    end = torch.addcmul(added[-1], f.whole[-1], S[-1])
    o = torch.bmm(A, flat(v, c)).baddbmm_(flat(blocks(near) * f.start, c), flat(S, d_k)).view_as(v)
    return o.transpose(0, 1), end, A.view(n, b, -1).transpose(0, 1), S.transpose(0, 1)


def backward(
    do: Tensor | None, dend: Tensor | None, inputs: tuple[Tensor | None, ...], kept: Tensors
) -> Tensors:
    """Decay gradients come as dG_i = q_i dq_i - k_i dk_i: no exponential is differentiated.

    A token's own weight is left out of it (no decay touches it), and so are sums that would cancel:
    what stays for log alpha_t are pairs j < t <= i and states passed from one side to the other.
    """
    q, k, v, log = (x.transpose(0, 1) for x in inputs[:4] if x is not None)  # n b h c k
    c, d_k, f = q.shape[3], q.shape[4], Factors(log)
    A, S = flat(kept[0].transpose(0, 1).unflatten(2, (-1, c)), c), kept[1].transpose(0, 1)
    do = torch.zeros_like(v) if do is None else do.transpose(0, 1).contiguous()
    near, key = q * f.query, blocks(k * f.key)
    dA = torch.bmm(flat(do, c), flat(v, c).transpose(1, 2))
    own = dA.diagonal(0, 1, 2).reshape(*q.shape[:4], 1).clone()
    dq, dk = within(dA.tril_(-1), near, key, f)
    # The states: what reads them, then what later chunks pass back.
    far = blocks(near) * f.start  # n b h r 4 k
    dfar = torch.bmm(flat(do, c), flat(S, d_k).transpose(1, 2)).view_as(far)
    dq = blocks(dq).addcmul_(dfar, f.start).view_as(q).mul_(f.query)
    dS = torch.bmm(flat(far, c).transpose(1, 2), flat(do, c)).view_as(S)
    after = torch.empty_like(dS)  # gradient of the state after each chunk
    after[-1] = 0.0 if dend is None else dend
    for i in range(len(S) - 1, 0, -1):
        torch.addcmul(dS[i], f.whole[i], after[i], out=after[i - 1])
    late = torch.bmm(flat(v, c), flat(after, d_k).transpose(1, 2)).view_as(key)
    late = late.mul_(f.end).view_as(k).mul_(f.key)
    dv = torch.bmm(A.transpose(1, 2), flat(do, c)).baddbmm_(flat(key * f.end, c), flat(after, d_k))
    from_here, before = (lower(c, offset, v.dtype, v.device) for offset in (0, 1))
    dlog = sums(from_here.T, (q * dq).addcmul_(k, dk, value=-1))
    dlog += sums(before, k * late)
    dlog += ((after * S).sum(-1, keepdim=True) * f.whole).transpose(3, 4)  # n b h 1 k
    dq.addcmul_(own, k)
    dk.add_(late).addcmul_(own, q)
    gradients = (dq, dk, dv.view_as(v), kept_where_alive(dlog, log))
    gradients = tuple(x.transpose(0, 1) for x in gradients)
    return gradients if inputs[4] is None else (*gradients, dS[0].addcmul(f.whole[0], after[0]))


def within(dA: Tensor, near: Tensor, key: Tensor, f: Factors) -> tuple[Tensor, Tensor]:
    """Gradients from the attention inside chunks: of near (n b h c k) and of k (n b h c k)."""
    dA = dA.view(-1, BLOCK, dA.shape[2])
    pairs = key.unsqueeze(3) * f.pairs  # n b h r r 4 k
    dnear = torch.bmm(dA, flat(pairs, dA.shape[2])).view_as(near)
    dpairs = torch.bmm(dA.transpose(1, 2), flat(near, BLOCK)).view_as(pairs)
    return dnear, dpairs.mul_(f.pairs).sum(3).view_as(near).mul_(f.key)


def blocks(x: Tensor) -> Tensor:
    return x.unflatten(3, (-1, BLOCK))  # n b h c k -> n b h r 4 k


def flat(x: Tensor, rows: int) -> Tensor:
    """Matrices of `rows` rows: everything before the last two axes merged."""
    return x.reshape(-1, rows, x.shape[-1])


KERNEL = Kernel(forward, backward, inputs=5)
