"""Models of one shape trained as one batched model: every parameter gets a first axis of models."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from runners.train import Batch, Loss


class Objective(nn.Module):
    """A loss as a module, because torch.func can call a module with other parameters."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(self.model, batch)


class Stacked:
    """Trains `models` together (see runners.step.Trained).

    Their parameters become views of stacked tensors, so each stays a model that can be validated,
    and an optimiser of its own changes what all share. All see the same batch; dropout masks are
    drawn for each, though not those that it would draw alone.
    """

    def __init__(self, models: Sequence[nn.Module], loss: Loss) -> None:
        self.models, self.loss = models, loss
        for model in models:
            model.train()
        objectives = [Objective(model, loss) for model in models]
        # name: m ...
        self.parameters, self.buffers = stack_module_state(objectives)  # pyright: ignore[reportArgumentType]
        self.base = objectives[0]
        self.own = [dict(objective.named_parameters()) for objective in objectives]
        for name, together in self.parameters.items():
            for own, part in zip(self.own, together.detach().unbind(), strict=True):
                own[name].data = part

    def losses(self, batch: Batch) -> Tensor:
        """Of each model, nats: m."""

        def of_one(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            return functional_call(self.base, (parameters, buffers), (batch,))

        with slow_maps_allowed():
            return torch.vmap(of_one, randomness="different")(self.parameters, self.buffers)

    def backward(self, losses: Tensor, add: bool = False) -> None:
        if not add:
            for together in self.parameters.values():
                together.grad = None
        # A loss depends on its own model alone, so the sum's gradients are each one's own.
        losses.sum().backward()
        for name, together in self.parameters.items():
            parts = [None] * len(self.own) if together.grad is None else together.grad.unbind()
            for own, part in zip(self.own, parts, strict=True):
                own[name].grad = part

    def keep(self, places: Sequence[int]) -> Stacked:
        for place, model in enumerate(self.models):
            if place not in places:
                # Or its views would keep the old stack in memory.
                for p in model.parameters():
                    p.data, p.grad = p.data.clone(), None
        return Stacked([self.models[place] for place in places], self.loss)


@contextmanager
def slow_maps_allowed() -> Iterator[None]:
    """torch warns where it maps a function by a loop, as attention on a CPU."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield
