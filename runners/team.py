"""The processes that train one model together; usually there is one."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from runners.base import Run
from runners.checkpoint import Checkpoint
from runners.execution import Execution
from runners.forms import make_step
from runners.step import Step
from runners.train import Loss

M = TypeVar("M", bound=nn.Module)


class Team(Protocol):
    """size: processes; rank: of this one. leads: whether it is the one that writes.

    strategy: how they share a model: ddp, fsdp, or "" for one process. device: of this process.
    What has no word about who calls it is called by all processes, in the same order.
    """

    size: int
    rank: int
    strategy: str

    @property
    def leads(self) -> bool: ...
    @property
    def device(self) -> torch.device: ...
    def set_up(self, model: M, config: Run, loss: Loss, execution: Execution) -> tuple[M, Step]:
        """The model as it is evaluated from now on, and the step that trains it."""
        ...

    def trained(self, model: nn.Module) -> nn.Module:
        """The model whose parameters the step changes. Any process may call this."""
        ...

    def whole(self, model: M) -> M:
        """The model with all its parameters as they are now, until the next update."""
        ...

    def share(self, rows: np.ndarray) -> np.ndarray:
        """This process's rows of a batch, as many as each other's. Any process may call this."""
        ...

    def share_unequal(self, rows: np.ndarray) -> np.ndarray:
        """This process's rows of a validation, where all are scored once."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Over the processes; all of them get it."""
        ...

    def any(self, value: bool) -> bool:
        """Whether one of them says so."""
        ...

    def spread(self, found: Checkpoint | None) -> Checkpoint | None:
        """What the process that leads has found."""
        ...

    def collect(self, states: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """Those of each process, by rank."""
        ...


class Alone:
    """One process."""

    size, rank, leads, strategy = 1, 0, True, ""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def set_up(self, model: M, config: Run, loss: Loss, execution: Execution) -> tuple[M, Step]:
        return model, make_step(model, config, loss, device=self.device, execution=execution)

    def trained(self, model: nn.Module) -> nn.Module:
        return model

    def whole(self, model: M) -> M:
        return model

    def share(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def share_unequal(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def sum(self, values: Tensor) -> Tensor:
        return values

    def any(self, value: bool) -> bool:
        return value

    def spread(self, found: Checkpoint | None) -> Checkpoint | None:
        return found

    def collect(self, states: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        return [states]


ALONE = Alone()
