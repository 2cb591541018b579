"""d_k = 1, the vector state: a two-level scan of h_t = alpha_t h_{t-1} + k_t v_t, by hand.

All chunks run at once, token by token from an empty state; then states pass from chunk to chunk;
then every token adds its share of what came in. Axes are b t v h inside, and steps write in place.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.chunks import cut, faintest, lower, sums
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.spec import Decay

NAME = "vector"


def refuses(case: Case) -> str:
    d_k = case.q.shape[3]
    return "" if d_k == 1 else f"needs one key channel per head, not {d_k}"


def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan with k = 1."""
    b, t, h, d_v = v.shape
    log = decay.log()
    log = v.new_zeros(1, 1) if log is None else log
    log = log.squeeze(-1).expand(b if log.dim() == 4 else 1, t, h)  # b t h
    q, k = q.squeeze(-1).expand(b, t, h), k.squeeze(-1).expand(b, t, h)  # b t h
    start = v.new_zeros(b, d_v, h) if state is None else state.squeeze(2).transpose(1, 2)  # b v h
    v = v.transpose(2, 3)  # b t v h
    if reverse:
        q, k, v, log = q.flip(1), k.flip(1), v.flip(1), log.flip(1)
    o, end = differentiable(AFTER if read == "after" else BEFORE, q, k, v, log, start)
    return (o.flip(1) if reverse else o).transpose(2, 3), end.transpose(1, 2).unsqueeze(2)


def chunks(v: Tensor) -> tuple[int, int]:
    """n, c: the steps inside a chunk and those between chunks are sequential. One chunk is best for
    few tokens, and where a token has so many numbers that its own arithmetic outweighs its call."""
    b, t, d_v, h = v.shape
    return (1, t) if t <= 64 or b * d_v * h >= 4096 else cut(t, 32)


def decays(log: Tensor, n: int, c: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    """log: b t h. Returns: alpha and products of alphas over the tokens in mask, b n c 1 h each."""
    b, t, h = log.shape
    logs = log.new_empty(b, n * c, h)
    logs[:, t:] = 0.0
    torch.clamp(log, min=faintest(log.dtype, 1), out=logs[:, :t])
    shape = (b, n, c, 1, h)
    if n == 1:
        return logs.exp_().view(shape), logs.view(shape)  # the second is not needed
    summed = sums(mask, logs.view(b * n, c, h)).clamp_(min=faintest(log.dtype, 1))
    return logs.exp_().view(shape), summed.exp_().view(shape)


def forward(q: Tensor, k: Tensor, v: Tensor, log: Tensor, start: Tensor, read: int) -> Tensors:
    """q, k: b t h; v: b t v h; log: b t h; start: b v h; read: 1 after, 0 before the update."""
    b, t, d_v, h = v.shape
    n, c = chunks(v)
    alpha, since = decays(log, n, c, lower(c, 0, v.dtype, v.device))
    S = v.new_empty(b, 1 + n * c, d_v, h)  # S[:, i] is the state before token i
    S[:, 0], S[:, t + 1 :] = start, 0.0
    torch.mul(k.unsqueeze(2), v, out=S[:, 1 : t + 1])
    S[:, 1].addcmul_(alpha[:, 0, 0], start)
    blocks = S[:, 1:].unflatten(1, (n, c))  # b n c v h
    alphas, rows = alpha.unbind(2), blocks.unbind(2)  # c times b n v h
    for i in range(1, c):
        rows[i].addcmul_(alphas[i], rows[i - 1])
    if n > 1:
        came_in = rows[-1][:, :-1].clone()  # b n-1 v h, what each chunk hands to the next
        ins, totals = came_in.unbind(1), since[:, :, -1].unbind(1)
        for j in range(1, n - 1):
            ins[j].addcmul_(totals[j], ins[j - 1])
        blocks[:, 1:].addcmul_(since[:, 1:], came_in.unsqueeze(2))
    return q.unsqueeze(2) * S[:, read : t + read], S[:, t].clone(), S


def backward(
    d_o: Tensor | None, d_end: Tensor | None, inputs: Tensors, kept: Tensors, read: int
) -> Tensors:
    """The same scan over the gradient of the states, from the last token to the first."""
    (q, k, v, log, _), (S,) = inputs, kept
    b, t, d_v, h = v.shape
    n, c = chunks(v)
    alpha, until = decays(log, n, c, lower(c, 1, v.dtype, v.device).T)
    E = v.new_empty(b, 1 + n * c, d_v, h)  # E[:, i] is the gradient of S[:, i]
    E[:, :read], E[:, t + read :] = 0.0, 0.0
    if d_o is None:
        E.zero_()
    else:
        torch.mul(q.unsqueeze(2), d_o, out=E[:, read : t + read])
    if d_end is not None:
        E[:, t] += d_end
    blocks = E[:, 1:].unflatten(1, (n, c))  # b n c v h
    alphas, rows = alpha.unbind(2), blocks.unbind(2)
    for i in range(c - 2, -1, -1):
        rows[i].addcmul_(alphas[i + 1], rows[i + 1])
    if n > 1:
        came_in = (alphas[0] * rows[0])[:, 1:]  # b n-1 v h, what each chunk hands to the one before
        totals = (until[:, 1:, 0] * alphas[0][:, 1:]).unbind(1)
        ins = came_in.unbind(1)
        for j in range(n - 3, -1, -1):
            ins[j].addcmul_(totals[j], ins[j + 1])
        blocks[:, :-1].addcmul_(until[:, :-1], came_in.unsqueeze(2))
    E[:, 0].addcmul_(alpha[:, 0, 0], E[:, 1])
    e = E[:, 1 : t + 1]  # b t v h
    d_q = torch.zeros_like(q) if d_o is None else total(d_o * S[:, read : t + read])
    d_k, d_x = total(v * e), k.unsqueeze(2) * e
    d_log = total(e.mul_(S[:, :t])).mul_(alpha.flatten(1, 3)[:, :t])
    return d_q, d_k, d_x, d_log, E[:, 0].clone()


def total(x: Tensor) -> Tensor:
    """x: b t v h, summed over v."""
    return x.squeeze(2) if x.shape[2] == 1 else x.sum(2)


AFTER, BEFORE = (
    Kernel(partial(forward, read=read), partial(backward, read=read), inputs=5) for read in (1, 0)
)
