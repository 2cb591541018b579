"""Maps around the decay of a state-space model: its B and C, the direct term D, what follows.

Where no token changes them, keys and queries are 1 1 h k; complex numbers are [real | imaginary]
parts, n of each (zoo/discretisation.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo import maps
from zoo.discretisation import gain
from zoo.spec import Dims, Map, Stream, formula


def key(written: str) -> maps.Built:
    """The gain alone, B being 1."""
    return maps.Built(written, lambda dims: Key())


class Key(nn.Module):
    def forward(self, s: Stream) -> Tensor:
        return channels(gain(s))


def learned_key(written: str, start: Callable[[int], Tensor]) -> maps.Built:
    """The gain times B of every head. start: n -> initial B, n 2."""
    return maps.Built(written, lambda dims: LearnedKey(dims, start))


class LearnedKey(nn.Module):
    no_decay = ("B",)

    def __init__(self, dims: Dims, start: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.B = nn.Parameter(start(dims.d_k // 2).repeat(dims.heads, 1, 1))  # h n 2

    def forward(self, s: Stream) -> Tensor:
        return channels(gain(s) * as_complex(self.B))


class Query(nn.Module):
    """2 C: the states that are not computed are conjugates of these."""

    formula = "2 C"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.C = nn.Parameter(0.5**0.5 * torch.randn(dims.heads, dims.d_k // 2, 2))  # h n 2

    def forward(self, s: Stream) -> Tensor:
        return channels(2 * as_complex(self.C))


def as_complex(parts: Tensor) -> Tensor:
    """... 2, real and imaginary part -> ..., complex."""
    return torch.view_as_complex(maps.at_least_float32(parts))


def channels(x: Tensor) -> Tensor:
    """h n complex -> 1 1 h k, [real parts | imaginary parts]; real numbers as they are.

    b h n, which differs from row to row -> b 1 h k.
    """
    y = torch.cat([x.real, x.imag], dim=-1) if x.is_complex() else x
    return y[None, None] if y.dim() == 2 else y.unsqueeze(1)


def each_channel() -> maps.Built:
    """v = u, a head for every channel."""
    return maps.Built("u", lambda dims: maps.Part(0, dims.heads, 1))


def stepped(inner: Map) -> maps.Built:
    """v = step * inner, printed as published: there the step belongs to the key (Mamba)."""
    return maps.Built(formula(inner), lambda dims: Stepped(inner(dims)))


class Stepped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, s: Stream) -> Tensor:
        assert s.decay.step is not None
        return s.decay.step * self.inner(s)  # b t h v


def direct(written: str) -> maps.Built:
    """D v, one D per head drawn from N(0, 1): what the state does not carry."""
    return maps.Built(written, lambda dims: Direct(dims.heads))


class Direct(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(heads))

    def forward(self, s: Stream) -> Tensor:
        return s.v * self.weight.unsqueeze(-1)  # b t h v


def mixed(*, gated: bool) -> maps.Built:
    """GELU and a linear layer, with twice the channels and GLU after it where `gated`."""
    written = "GeLU(y) W + b"
    return maps.Built(
        f"GLU({written})" if gated else written, lambda dims: MixedOutput(dims.d, gated)
    )


class MixedOutput(nn.Module):
    def __init__(self, d: int, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.project = nn.Linear(d, 2 * d if gated else d)

    def forward(self, y: Tensor, s: Stream) -> Tensor:
        z = self.project(F.gelu(y))
        return F.glu(z) if self.gated else z  # b t d
