"""One decay per head, or none: chunks whose attention map is q k^T times a table of decays.

The table sums the log decays between two tokens directly, not as a difference of running sums, in
which precision would cancel. Without a decay there is no table. One head of q and k serves all.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.chunks import cut, faintest, in_order, padded, sums
from zoo.spec import Decay

NAME = "scalar"
LONGEST = 64  # tokens in a chunk


def refuses(case: Case) -> str:
    if case.decay.kind in ("channel", "ssm"):
        return f"needs one decay per head or none, and this one is of kind {case.decay.kind!r}"
    return ""


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update."""
    b, t, h, _ = v.shape
    n, c = cut(t, LONGEST)
    q, k, v = (chunked(x, n, c) for x in (q, k, v))  # b h n c k
    log, since, whole = decay.log(), None, None
    W, keys = q @ k.transpose(3, 4), k.transpose(3, 4)  # b h n c c, b h n k c
    if log is None:
        o, added = W.tril() @ v, keys @ v  # b h n c v, b h n k v
    else:
        log = log.expand(b if log.dim() == 4 else 1, t, h, 1).clamp(min=faintest(log.dtype, 2))
        since, between = products(chunked(log, n, c))
        o, added = (W * between).tril() @ v, keys @ (v * between[:, :, :, -1:].transpose(3, 4))
        whole = since[:, :, :, -1:]  # b h n 1 1
    if n > 1 or state is not None:
        before, state = states(added, whole, state)
        far = q @ before  # b h n c v
        o = o + far if since is None else torch.addcmul(o, far, since)
    else:
        state = added.squeeze(2)
    return o.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :t], state


def chunked(x: Tensor, n: int, c: int) -> Tensor:
    """b t h k -> b h n c k, padded with zeros: an empty key that does not decay changes nothing."""
    return padded(x, n * c).unflatten(1, (n, c)).permute(0, 3, 1, 2, 4).contiguous()


def products(log: Tensor) -> tuple[Tensor, Tensor]:
    """log: b h n c 1. Returns the product of alphas over tokens 0 to i (b h n c 1), and over tokens
    j+1 to i (b h n c c; entries with j > i are 1)."""
    rows, taken = masks(log.shape[3], log.dtype, log.device)
    x = sums(rows, log * taken).clamp(min=faintest(log.dtype, 2)).exp()  # b h n c 1+c
    return x[..., :1], x[..., 1:]


@functools.lru_cache(maxsize=64)
def masks(c: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """c c: rows up to i; c 1+c: in its column j+1 the tokens after j, in column 0 all of them."""
    with torch.inference_mode(False):
        ones = torch.ones(c, c + 1, dtype=dtype, device=device)
        return ones[:, 1:].tril(), ones.tril()


def states(added: Tensor, whole: Tensor | None, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """The state before each chunk, b h n k v, and after the last, b h k v."""
    S = [torch.zeros_like(added[:, :, 0]) if state is None else state]
    wholes = [None] * added.shape[2] if whole is None else whole.unbind(2)
    for new, alpha in zip(added.unbind(2), wholes, strict=True):
        S.append(S[-1] + new if alpha is None else torch.addcmul(new, alpha, S[-1]))
    return torch.stack(S[:-1], dim=2), S[-1]
