"""How `check` runs a mixer: whole, token by token, decay scaled; and what it declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.blocks import BaseConv
from zoo.maps import ShortConv
from zoo.mixer import Mixer
from zoo.rwkv import TokenShift
from zoo.spec import Decay, Stream

if TYPE_CHECKING:
    from zoo.check import Subject
    from zoo.model import Model

EXACT = 1e-9  # float64: 1e-16 per operation, some thousand of them in a row, and a margin
Outcome = tuple[bool | None, str]


def run(
    subject: Subject,
    mixer: Mixer,
    x: Tensor,
    state: Mapping[str, Tensor] | None = None,
    start: int = 0,
    lengths: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    return mixer(x, state, start=start, shared=subject.shared(x.dtype), lengths=lengths)


def relative(got: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    return ((got - expected).abs().max() / expected.abs().max().clamp(min=1e-12)).item()


def stepwise(subject: Subject, mixer: Mixer, x: Tensor) -> Tensor:
    """The same outputs, one token a call."""
    state, ys = None, []
    for t in range(x.shape[1]):
        y, state = run(subject, mixer, x[:, t : t + 1], state, start=t)
        ys.append(y)
    return torch.cat(ys, dim=1)


class Scaled(nn.Module):
    """An f_alpha whose log decay is multiplied by a factor."""

    def __init__(self, inner: nn.Module, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, s: Stream) -> Decay:
        decay = self.inner(s)
        if decay.step is not None:
            return replace(decay, step=decay.step * self.factor)
        return decay if decay.rate is None else replace(decay, rate=decay.rate * self.factor)


def scaled_decay(mixer: Mixer, factor: float) -> Mixer:
    mixer.f_alpha = Scaled(mixer.f_alpha, factor)
    return mixer


def declared_state_bytes(model: Model, length: int) -> int:
    """Bytes that the specs of a Model's layers say, float32: state, normaliser, maximum, tails;
    and what its channel mixers remember."""
    floats = 0
    for block in model.blocks:
        mixer = block.mixer
        if isinstance(mixer, BaseConv):
            floats += (mixer.kernel - 1) * mixer.projection.in_features
        if isinstance(mixer, Mixer):
            floats += mixer_floats(mixer, length)
        floats += getattr(block.channel, "state_floats", 0)
    return 4 * floats


def mixer_floats(mixer: Mixer, length: int) -> int:
    spec, dims = mixer.spec, mixer.dims
    if spec.mix == "softmax":
        floats = length * dims.heads * (dims.d_k + dims.d_v)
    elif spec.mix != "scan":
        floats = 0
    else:
        floats = dims.heads * dims.d_k * (dims.d_v + (spec.normaliser is not None))
    floats += dims.heads if spec.log_keys else 0
    modules = list(mixer.modules())
    floats += sum((m.kernel - 1) * dims.d_u for m in modules if isinstance(m, ShortConv))
    for module in modules:
        # A number, or what it is after `length` tokens.
        own: int | Callable[[int], int] = getattr(module, "state_floats", 0)
        floats += own if isinstance(own, int) else own(length)
    return floats + (dims.d_u if any(isinstance(m, TokenShift) for m in modules) else 0)
