"""One mixer under measurement: what its maps return while it runs."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.mixer import Mixer
from zoo.spec import Decay, Erase, Spec, Stream

TOKENS = 64  # of the random inputs


@dataclass
class Seen:
    """What the maps returned in one forward pass. kept: the erasure if nothing decayed."""

    stream: Stream
    q: Tensor
    k: Tensor
    v: Tensor
    decay: Decay
    erase: Erase | None = None
    kept: Erase | None = None


class Layer:
    """One mixer in float64 with the parameters that all layers share."""

    def __init__(self, spec: Spec, d_model: int, layer: int, depth: int, conv: str = "own") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            mixer = Mixer(spec, d_model, layer=layer, depth=depth, conv=conv)
            self.mixer = mixer.double().eval()
            made = {} if spec.shared is None else dict(spec.shared(depth, d_model))
        self.shared = {name: y.detach().double() for name, y in made.items()}
        self.generator = torch.Generator().manual_seed(1)
        self.d_model = d_model

    def input(self, size: float = 1.0) -> Tensor:
        return size * self.draw(1, TOKENS, self.d_model)

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    @torch.no_grad()
    def see(self, x: Tensor) -> Seen:
        return self.see_with_gradient(x)

    def see_with_gradient(self, x: Tensor) -> Seen:
        """Runs the mixer on x and returns what its maps returned on the way."""
        found: dict[str, Any] = {}

        def note(name: str) -> Any:
            def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
                found[name], found["stream"] = output, args[0]

            return hook

        mixer = self.mixer
        parts = {"q": mixer.f_q, "k": mixer.f_k, "v": mixer.f_v, "decay": mixer.f_alpha}
        parts |= {} if mixer.erase is None else {"erase": mixer.erase}
        handles = [part.register_forward_hook(note(name)) for name, part in parts.items()]
        try:
            mixer(x, shared=dict(self.shared))
        finally:
            for handle in handles:
                handle.remove()
        if mixer.erase is not None:
            found["kept"] = mixer.erase(replayed(found["stream"], still(found["decay"])))
        return Seen(**found)

    @torch.no_grad()
    def perturb(self) -> None:
        """Moves every weight off its initial value, so that a zero init hides no dependence."""
        for y in (*self.mixer.parameters(), *self.shared.values()):
            y.add_(0.1 * self.draw(*y.shape))

    @torch.no_grad()
    def redraw(self, size: float) -> None:
        """Other weights for decay, key and erasure: every parameter normal with that deviation."""
        parts = (self.mixer.f_alpha, self.mixer.f_k, self.mixer.erase)
        weights = (y for part in parts if part is not None for y in part.parameters())
        for y in (*weights, *self.shared.values()):
            y.copy_(size * self.draw(*y.shape))


def replayed(stream: Stream, decay: Decay) -> Stream:
    """The stream as it was, for one map to be run once more with another decay."""
    s = copy.copy(stream)
    s.kept, s._previous, s.decay = {}, None, decay
    return s


def still(decay: Decay) -> Decay:
    """The same form of decay with alpha = 1."""
    if decay.step is not None:
        return replace(decay, step=torch.zeros_like(decay.step))
    return decay if decay.rate is None else replace(decay, rate=torch.zeros_like(decay.rate))


def alpha(decay: Decay) -> Tensor:
    """|alpha|, b t h k or broadcastable to it; 1 without a decay."""
    log = decay.log()
    return torch.ones(1, dtype=torch.float64) if log is None else log.double().exp()
