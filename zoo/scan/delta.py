"""Rank-one erase: S_t = diag(alpha_t) S_{t-1} - write_t^T (read_t S_{t-1}) + k_t^T v_t, in chunks.

Within a chunk the removed values u_t = read_t S_{t-1} solve a unit lower triangular system (the WY
form of DeltaNet, arXiv 2406.06484, section 3; any decay). With them the erase is a second writer,
write_t with value -u_t, and read_{t+1} a second reader of S_t: the rest, and the derivative by
hand, are those of a scan without an erase. What tokens weigh comes from `pairs`: none overflows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.chunks import cut, in_order, kept_where_alive, lower, sums
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.scan.matrix import chunked
from zoo.scan.pairs import ByChannel, ByHead, Gradients, Square, Two
from zoo.spec import Decay, Erase

NAME = "delta"
ERASES = True


def refuses(case: Case) -> str:
    return "is for a rank-one erase, and there is none" if case.erase is None else ""


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None, erase: Erase | None = None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update."""
    assert erase is not None
    b, t, h, _ = v.shape
    log = decay.log()
    if log is not None:
        log = log.expand(b if log.dim() == 4 else 1, t, h, log.shape[-1])
    n, c = cut(t, 32)
    if log is not None and log.shape[-1] > 1:
        c = min(16, 2 ** max(1, (t - 1).bit_length()))  # a power of two
        n = -(-t // c)
    tokens = (q, k, v, erase.write, erase.read, log)
    tokens = (None if x is None else chunked(x, h, n, c) for x in tokens)  # b n h c k
    o, end = differentiable(KERNEL, *tokens, state)
    return o.permute(0, 1, 3, 2, 4).flatten(1, 2)[:, :t], end


def forward(*inputs: Tensor | None) -> Tensors:
    """q, k, write, read: b n h c k; v: b n h c v; log: b n h c k or 1, or None; state: b h k v."""
    w, v, read, _ = arranged(inputs)
    (seen, gone), (known, system) = w.pairs()  # n b h c c
    known, system, (q, ahead), (k, write) = down(known), down(system), w.readers, w.writers
    start = solve(system, down(w.far(ahead), read[..., :1, :]))  # n b h c k, of the state
    removed = solve(system, known @ v)  # n b h c v, so far without the state
    added, wrote = w.late(k).mT @ v, w.late(write).mT  # n b h k v, n b h k c
    S = torch.empty_like(added)  # the state before each chunk
    end = torch.zeros_like(S[0]) if inputs[6] is None else inputs[6]
    for i in range(len(S)):
        S[i] = end
        removed[i] += start[i] @ S[i]
        end = torch.addcmul(added[i], w.whole[i], S[i]).sub_(wrote[i] @ removed[i])
    o = (seen @ v).sub_(gone @ removed).add_(w.far(q) @ S)
    kept = (seen, gone, known, system, start, removed, S)
    return o.transpose(0, 1), end, *(x.transpose(0, 1) for x in kept)


def backward(
    do: Tensor | None, dend: Tensor | None, inputs: tuple[Tensor | None, ...], kept: Tensors
) -> Tensors:
    """The gradient of the removed values solves the transposed system."""
    w, v, _, log = arranged(inputs)
    seen, gone, known, system, start, removed, S = (x.transpose(0, 1) for x in kept)
    do = torch.zeros_like(v) if do is None else do.transpose(0, 1).contiguous()
    du, wrote = (gone.mT @ do).neg_(), w.late(w.writers[1])  # n b h c v, n b h c k
    from_here = w.far(w.readers[0]).mT @ do  # n b h k v
    after = torch.empty_like(from_here)  # gradient of the state after each chunk
    dS = torch.zeros_like(after[0]) if dend is None else dend
    for i in range(len(after) - 1, -1, -1):
        after[i] = dS
        du[i] -= wrote[i] @ dS
        dS = torch.addcmul(from_here[i], w.whole[i], dS).add_(start[i].mT @ du[i])
    du = solve(system.mT, du, upper=True)
    dv = (seen.mT @ do).add_(known.mT @ du).add_(w.late(w.writers[0]) @ after)
    A, passed = [[seen, gone], [up(known), up(system)]], (after * S).sum(-1, keepdim=True)
    (dq, dahead), (dk, dwrite), dlog = gradients(w, A, (do, up(du)), (v, -removed), S, after)
    dread = down(dahead, du[..., :1, :] @ S.mT)
    given = [dq, dk, dv, dwrite, dread]
    if dlog is not None and log is not None:
        passed = (passed * w.whole).mT  # n b h 1 k
        dlog += passed if log.shape[4] > 1 else passed.sum(4, keepdim=True)
        given.append(kept_where_alive(dlog, log))
    given = tuple(x.transpose(0, 1) for x in given)
    return given if inputs[6] is None else (*given, dS)


def gradients(
    w: ByHead | ByChannel, A: Square, heard: Two, values: Two, S: Tensor, after: Tensor
) -> Gradients:
    """Of readers, writers and log decays, from the gradients of what readers read (heard) and of
    the states after the chunks. Each log decay adds up the pairs it lies between: nothing cancels.
    """
    dx, dy, dlog = w.back(A, heard, values)
    far, late = ([x @ y.mT for x in xs] for xs, y in ((heard, S), (values, after)))
    far, late = [w.far(x) for x in far], [w.late(y) for y in late]
    if dlog is not None:
        here, before = (lower(dlog.shape[3], i, dlog.dtype, dlog.device) for i in (0, 1))
        for mask, x, d in ((here.T, w.readers, far), (before, w.writers, late)):
            gains = torch.addcmul(x[0] * d[0], x[1], d[1])
            dlog += sums(mask, gains if dlog.shape[4] > 1 else gains.sum(4, keepdim=True))
    for i in (0, 1):
        dx[i] += far[i]
        dy[i] += late[i]
    return dx, dy, dlog


def arranged(
    inputs: tuple[Tensor | None, ...],
) -> tuple[ByHead | ByChannel, Tensor, Tensor, Tensor | None]:
    """Weights of the readers q and the next token's read, and of the writers k and write; v, read
    and log with the chunks outermost."""
    q, k, v, write, read = (x.transpose(0, 1) for x in inputs[:5] if x is not None)
    log = None if inputs[5] is None else inputs[5].transpose(0, 1)
    readers, writers = (q, up(read)), (k, write)
    if log is None or log.shape[4] == 1:
        return ByHead(log, readers, writers), v, read, log
    return ByChannel(log, readers, writers), v, read, log


def solve(system: Tensor, x: Tensor, *, upper: bool = False) -> Tensor:
    return torch.linalg.solve_triangular(system, x, upper=upper, unitriangular=True)


def up(x: Tensor) -> Tensor:
    """Row i takes what row i+1 had, the last one zeros."""
    return torch.cat([x[..., 1:, :], torch.zeros_like(x[..., :1, :])], dim=-2)


def down(x: Tensor, first: Tensor | None = None) -> Tensor:
    """Row i+1 takes what row i had, the first one `first` or zeros."""
    first = torch.zeros_like(x[..., :1, :]) if first is None else first
    return torch.cat([first, x[..., :-1, :]], dim=-2)


KERNEL = Kernel(forward, backward, inputs=7)
