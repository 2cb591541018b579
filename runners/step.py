"""How updates are executed: one by one from the host, or on the device without waiting for it.

A Step trains one model or several at once; `runners.loop.train` calls it and looks at its losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from runners.base import Run
from runners.parts import Parts, parts_of
from runners.train import Batch, Loss, learning_rate, make_optimiser, step

# The first updates allocate and warm caches; they are left out of the step time.
WARM_UP_STEPS = 3


class Step(Protocol):
    """models: trained at once. form: the row's step_form. patience: updates between two looks, at
    most. warm_up: updates that say nothing about the later ones' speed. optimisers: of each model.
    parts: in how many a batch is split.
    """

    models: int
    form: str
    patience: int
    warm_up: int
    optimisers: list[torch.optim.Optimizer]
    parts: Parts

    def __call__(self, batch: Batch, update: int) -> None:
        """The update of that number, from 1; none for a model that is frozen or diverged."""
        ...

    def look(self) -> list[list[list[float]]]:
        """Updates since the last look x (loss in nats, gradient norm before clipping) x models."""
        ...

    def rate(self, update: int, model: int) -> float: ...
    def freeze(self, model: int) -> None:
        """From now on its parameters stay as they are."""
        ...


class HostStep:
    """Reads loss and norm in every update. The form for a CPU, and for one model."""

    models, patience, warm_up = 1, 1, WARM_UP_STEPS

    def __init__(
        self, model: nn.Module, config: Run, loss: Loss, *, epoch: int = 1, form: str = "eager"
    ) -> None:
        """epoch: updates of one epoch, for the schedule that steps once an epoch."""
        self.model, self.config, self.loss, self.epoch, self.form = model, config, loss, epoch, form
        self.optimisers, self.parts = [make_optimiser(model.train(), config)], parts_of(config)
        self.seen: list[list[list[float]]] = []
        self.frozen = False

    def __call__(self, batch: Batch, update: int) -> None:
        if not self.frozen:
            what = (self.model, self.optimisers[0], batch, self.loss, self.config)
            value, norm = step(*what, self.rate(update), self.parts)
            self.seen.append([[value], [norm]])

    def look(self) -> list[list[list[float]]]:
        seen, self.seen = self.seen, []
        return seen

    def rate(self, update: int, model: int = 0) -> float:
        return learning_rate(self.config, update - 1, self.epoch)

    def freeze(self, model: int) -> None:
        self.frozen = True


class Trained(Protocol):
    """Models whose losses are made together.

    backward: gives each its own gradients, added to those that it has if `add`. keep: those of
    these places train on, and nothing more is done for the others.
    """

    @property
    def models(self) -> Sequence[nn.Module]: ...
    def losses(self, batch: Batch) -> Tensor: ...
    def backward(self, losses: Tensor, add: bool = False) -> None: ...
    def keep(self, places: Sequence[int]) -> Trained: ...


class Alone:
    """One model as a Trained."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self.models, self.loss = [model.train()], loss

    def losses(self, batch: Batch) -> Tensor:
        return self.loss(self.models[0], batch).unsqueeze(0)  # 1

    def backward(self, losses: Tensor, add: bool = False) -> None:
        if not add:
            self.models[0].zero_grad()
        losses.sum().backward()

    def keep(self, places: Sequence[int]) -> Trained:
        assert list(places) == [0], "one model cannot train without itself"
        return self
