"""What the chunked backends share: cutting time, smallest factors, and the other ways to read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.spec import Decay, Erase

Scan = Callable[..., tuple[Tensor, Tensor]]


def least(dtype: torch.dtype) -> float:
    """A log decay is taken as at least this where exponentials of either sign are formed from it.

    exp(-20) = 2e-9 and exp(-40) = 4e-18 are below the rounding of float32 and of float64: nothing
    is lost.
    """
    return -40.0 if dtype == torch.float64 else -20.0


def faintest(dtype: torch.dtype, factors: int) -> float:
    """A sum of log decays is taken as at least this where so many such `factors` meet in a product.

    One: exp(-50) = 2e-22, which not even the gradient to a rate of 1e6 sees. Two: exp(-26) = 5e-12.
    Both leave products far from float32's subnormal numbers (below exp(-87)), which are slow.
    """
    return (2.5 if factors == 1 else 1.3) * least(dtype)


def cut(t: int, longest: int, multiple: int = 1) -> tuple[int, int]:
    """Chunks n and chunk length c <= longest that cover t tokens with the least padding."""
    n = -(-t // longest)
    return n, -(-t // (n * multiple)) * multiple


def padded(x: Tensor, t: int) -> Tensor:
    """x: b t ..., with zeros appended up to t tokens."""
    return x if x.shape[1] == t else F.pad(x, (0, 0) * (x.dim() - 2) + (0, t - x.shape[1]))


def in_order(run: Scan) -> Callable[..., tuple[Tensor, Tensor]]:
    """Turns a scan that runs forwards and reads after the update into all four.

    run takes (q, k, v, decay, state), and `erase` where one is given.
    """

    @functools.wraps(run)
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
        if reverse:
            if erase is not None:
                erase = Erase(erase.write.flip(1), erase.read.flip(1))
            step = None if decay.step is None else decay.step.flip(1)
            decay = replace(decay, step=step)
            q, k, v = q.flip(1), k.flip(1), v.flip(1)
        options = {} if erase is None else {"erase": erase}
        if read == "before":
            # q_t S_{t-1} is what q_t reads one token earlier; the first reads the given state.
            first = torch.zeros_like(v[:, :1]) if state is None else read_state(q[:, :1], state)
            o, state = run(F.pad(q[:, 1:], (0, 0, 0, 0, 0, 1)), k, v, decay, state, **options)
            o = torch.cat([first, o[:, :-1]], dim=1)  # b t h v
        else:
            o, state = run(q, k, v, decay, state, **options)
        return (o.flip(1) if reverse else o), state

    return scan


def read_state(q: Tensor, state: Tensor) -> Tensor:
    """q: b 1 h k; state: b h k v. Returns: b 1 h v."""
    return (q.transpose(1, 2) @ state).transpose(1, 2)


@functools.lru_cache(maxsize=64)
def lower(c: int, offset: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """c c: 1 where the column is at least `offset` before the row, else 0."""
    with torch.inference_mode(False):
        return torch.ones(c, c, dtype=dtype, device=device).tril(-offset)


def sums(mask: Tensor, log: Tensor) -> Tensor:
    """mask @ log, each row of mask choosing what to add up. log: ... c k.

    In double precision on a GPU, where float32 matmuls may be allowed to round to TF32.
    """
    if log.is_cuda and log.dtype == torch.float32:
        return torch.matmul(mask.double(), log.double()).float()
    return torch.matmul(mask, log)


def kept_where_alive(gradient: Tensor, log: Tensor) -> Tensor:
    """The gradient of a log decay, or 0 where least() replaced it."""
    return torch.ops.aten.threshold_backward(gradient, log, least(log.dtype))
