"""Which step an Execution asks for on a device, and what it is called in a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from runners.base import Run
from runners.device_step import DeviceStep
from runners.execution import Execution
from runners.graph_step import GraphStep
from runners.step import Alone, HostStep, Step, Trained
from runners.train import Batch, Loss
from zoo.model import Model, ModelState


def make_step(
    model: nn.Module,
    config: Run,
    loss: Loss,
    *,
    device: torch.device,
    execution: Execution,
    epoch: int = 1,
) -> Step:
    """The step of one model. epoch: updates of one epoch, for the rate that steps once an epoch."""
    if execution.compile:
        # A classifier's loss calls the model itself.
        compiled = Compiled(model) if isinstance(model, Model) else torch.compile(model)
        loss = through(compiled, loss)
    if device.type == "cpu":
        form = form_of(execution, device)
        return HostStep(model, config, loss, epoch=epoch, form=form)
    return make_device_step(
        Alone(model, loss), [config], device=device, execution=execution, epoch=epoch
    )


def make_device_step(
    trained: Trained,
    configs: Sequence[Run],
    *,
    device: torch.device,
    execution: Execution,
    epoch: int = 1,
) -> Step:
    kind = GraphStep if execution.graph and device.type == "cuda" else DeviceStep
    return kind(trained, configs, device=device, epoch=epoch, form=form_of(execution, device))


def form_of(execution: Execution, device: torch.device) -> str:
    """The row's step_form: eager, cuda graph, compiled, or compiled cuda graph."""
    graph = execution.graph and device.type == "cuda"
    words = ["compiled"] * execution.compile + ["cuda graph"] * graph
    return " ".join(words) or "eager"


class Compiled:
    """What a loss reads of a model, with the way to its hidden values through torch.compile.

    The parameters are the model's own, and only training comes through here: validation batches of
    other shapes would each compile anew.
    """

    def __init__(self, model: Model, backend: str = "inductor") -> None:
        self.model = model
        # A shape of batch at a time: no guesses at what varies.
        self._hidden = torch.compile(model.hidden, dynamic=False, backend=backend)

    def hidden(self, tokens: Tensor) -> tuple[Tensor, ModelState]:
        return self._hidden(tokens)

    @property
    def head_weight(self) -> Tensor:
        return self.model.head_weight


def through(compiled: object, loss: Loss) -> Loss:
    def of_compiled(model: nn.Module, batch: Batch) -> Tensor:
        return loss(compiled, batch)

    return of_compiled
