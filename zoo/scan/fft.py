"""Fixed q, k and decay: the recurrence is a convolution with Re(sum_n q_n k_n lambda_n^t), by FFT.

lambda_n = exp(-rate_n + j angle_n). Its powers are never laid out over all tokens: token a c + i
takes lambda^(a c), the start of a chunk, times lambda^i, a place in it, and the sum over n of the
product is a matmul. What tokens leave in the last state, and what the first one says to them, is
computed the same way. Axes are h r t inside, r being rows: batch and value channels together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.rotation import phases
from zoo.scan.case import Case
from zoo.scan.chunks import faintest
from zoo.spec import Decay

NAME = "fft"
TURNS = STATIC = True


def refuses(case: Case) -> str:
    if case.k is None or case.q.shape[:2] != (1, 1) or case.k.shape[:2] != (1, 1):
        return "needs q and k that are the same for all tokens, of shape 1 1 h k"
    if case.decay.step is not None:
        return "needs a decay that is the same for all tokens"
    if case.q.shape[3] == 1:
        return "leaves one key channel to the faster `vector`"
    return ""


def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, q and k being 1 1 h k or 1 1 1 k.

    With an angle, the rates of real parts are taken for imaginary parts too.
    """
    b, t, h, d_v = v.shape
    powers = Powers.of(decay, t, h, q.shape[3], v)
    q, k = (x[0, 0].expand(h, -1).unsqueeze(1) for x in (q, k))  # h 1 k
    v = (v.flip(1) if reverse else v).permute(2, 0, 3, 1).reshape(h, b * d_v, t)
    o = convolved(powers.spread(powers.times(q, k)), v)  # h r t
    end = powers.times(k, powers.gathered(v))  # h r k
    first = torch.zeros_like(o[..., :1])
    if state is not None:
        state = state.permute(1, 0, 3, 2).reshape(h, b * d_v, -1)  # h r k
        seen = powers.times(q, state)
        first = powers.real(seen).sum(-1, keepdim=True)
        o = o + powers.spread(powers.times(powers.of_token(1), seen))
        end = end + powers.times(powers.of_token(t), state)
    if read == "before":
        # A fixed q reads before the update what it has read after the last one.
        o = torch.cat([first, o[..., :-1]], dim=2)
    o = (o.flip(2) if reverse else o).unflatten(1, (b, d_v))  # h b v t
    return o.permute(1, 3, 0, 2), end.unflatten(1, (b, d_v)).permute(1, 0, 3, 2)


def convolved(kernel: Tensor, v: Tensor) -> Tensor:
    """o_t = sum over s <= t of kernel_(t-s) v_s. kernel: h 1 t; v: h r t."""
    t = v.shape[2]
    n = transform_length(2 * t - 1)  # long enough that nothing wraps around
    return torch.fft.irfft(torch.fft.rfft(v, n) * torch.fft.rfft(kernel, n), n)[..., :t]


def transform_length(least: int) -> int:
    """The smallest 4, 5, 6 or 7 times a power of two that is at least `least`."""
    power = 2 ** max(0, math.ceil(math.log2(least / 7)))
    return next(i * power for i in (4, 5, 6, 7) if i * power >= least)


@dataclass(frozen=True)
class Powers:
    """lambda to the power of t tokens, in two levels; complex numbers are [real | imaginary].

    starts: h m k, lambda^(a c) for chunks a. places: h c+1 k, lambda^i for i up to c.
    """

    t: int
    starts: Tensor
    places: Tensor
    turning: bool

    @staticmethod
    def of(decay: Decay, t: int, h: int, d_k: int, like: Tensor) -> Powers:
        c = math.isqrt(t - 1) + 1
        starts, places = (
            table(decay, h, d_k, n, stride, like) for n, stride in ((-(-t // c), c), (c + 1, 1))
        )
        return Powers(t, starts, places, decay.angle is not None)

    def of_token(self, i: int) -> Tensor:
        """lambda^i: h 1 k, for 0 <= i <= t."""
        a = min(i // (self.places.shape[1] - 1), self.starts.shape[1] - 1)
        place = i - a * (self.places.shape[1] - 1)
        return self.times(self.starts[:, a : a + 1], self.places[:, place : place + 1])

    def times(self, x: Tensor, y: Tensor) -> Tensor:
        """x y, complex where lambda is."""
        if not self.turning:
            return x * y
        (a, b), (c, d) = x.chunk(2, dim=-1), y.chunk(2, dim=-1)
        return torch.cat([a * c - b * d, a * d + b * c], dim=-1)

    def real(self, x: Tensor) -> Tensor:
        return x.chunk(2, dim=-1)[0] if self.turning else x

    def spread(self, x: Tensor) -> Tensor:
        """Re(sum over channels of x lambda^i) for all tokens i. x: h r k. Returns: h r t."""
        y = self.times(x.unsqueeze(2), self.starts.unsqueeze(1))  # h r m k
        if self.turning:
            re, im = y.chunk(2, dim=-1)
            y = torch.cat([re, -im], dim=-1)
        y = torch.bmm(y.flatten(1, 2), self.places[:, :-1].transpose(1, 2))  # h (r m) c
        return y.reshape(*x.shape[:2], -1)[..., : self.t]

    def gathered(self, v: Tensor) -> Tensor:
        """sum over tokens i of lambda^(t-1-i) v_i. v: h r t. Returns: h r k."""
        m, c = self.starts.shape[1], self.places.shape[1] - 1
        v = F.pad(v, (m * c - self.t, 0)).unflatten(2, (m, c))
        y = torch.bmm(v.flatten(1, 2), self.places[:, :-1].flip(1)).unflatten(1, (-1, m))
        return self.times(y, self.starts.flip(1).unsqueeze(1)).sum(2)  # h r k


def table(decay: Decay, h: int, d_k: int, n: int, stride: int, like: Tensor) -> Tensor:
    """lambda to the powers 0, stride ... (n - 1) stride, in the dtype of `like`: h n k."""
    parts = d_k if decay.angle is None else d_k // 2
    rate = like.new_zeros(h, 1) if decay.rate is None else decay.rate
    tokens = stride * torch.arange(n, dtype=like.dtype, device=like.device)
    exponent = -rate[:, None, :parts] * tokens[:, None]
    floor = faintest(like.dtype, 2)
    size = exponent.clamp(min=floor).exp().masked_fill(exponent < floor, 0.0).expand(h, n, parts)
    if decay.angle is None:
        return size
    turns = phases(stride * decay.angle.double().flatten(), n, 0, like.dtype)  # n (h k/2)
    return torch.cat([size * x.unflatten(1, (h, parts)).transpose(0, 1) for x in turns], dim=-1)
