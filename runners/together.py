"""Several processes that train one model together, as torchrun starts them.

Accelerate finds the processes and their devices and wraps the model for ddp. For fsdp it has no way
on a CPU, so there torch's own fully_shard divides the model (runners/together_shards.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from runners.base import Run
from runners.checkpoint import Checkpoint
from runners.execution import Execution
from runners.step import Step
from runners.together_shards import Shards
from runners.together_step import Objective, TogetherStep
from runners.train import Loss
from zoo.model import Model

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")
# The process that leads prepares data and probes models while the others wait for it.
WAIT = timedelta(hours=6)
MISSING = (
    "training by several processes needs accelerate; type:"
    " pip install 'linear-attention-zoo[lm]'; one process (without torchrun) needs nothing"
)
# How long one whose run failed waits for others to whom the same happened.
SOON = timedelta(seconds=30)


def joined(strategy: str) -> Together:
    """This process's place among those of torchrun; waits for the others. Raises: ValueError."""
    try:
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError:
        raise ValueError(MISSING) from None
    options: list[Any] = [InitProcessGroupKwargs(timeout=WAIT)]
    cpu = not torch.cuda.is_available()
    return Together(Accelerator(cpu=cpu, kwargs_handlers=options), strategy)


class Together:
    """A Team. What is said about it is said through the host, beside what is computed with."""

    def __init__(self, accelerator: Any, strategy: str) -> None:
        self.accelerator, self.strategy = accelerator, strategy
        self.size, self.rank = accelerator.num_processes, accelerator.process_index
        # Who meets the others after a run must not be taken for one who is still at work in it.
        groups: Any = [dist.new_group(backend="gloo", timeout=WAIT) for _ in range(2)]
        self._host, self._ends = groups
        self._shards: Shards | None = None

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def set_up(self, model: M, config: Run, loss: Loss, execution: Execution) -> tuple[M, Step]:
        check_batch(config, self.size)
        assert not execution.compile, "refused before the sweep"
        self._shards = None
        self.accelerator.free_memory()  # it holds what it wrapped before
        if self.strategy == "fsdp":
            assert isinstance(model, Model), "what is divided are the blocks of a Model"
            self._shards = Shards(model, self.device.type, self.size)
        objective = Objective(self.trained(model), loss)
        if self._shards is None:
            wrapped = self.accelerator.prepare_model(objective)
        else:
            wrapped = self._shards.divide_rest(objective)
        step = TogetherStep(self.trained(model), wrapped, config, loss, self)
        if self._shards is not None:
            step.before = self._shards.empty
        if self.rank:  # the process that leads draws as one process does
            torch.manual_seed(seed_of(config.seed, self.rank))
        return model, step

    def trained(self, model: nn.Module) -> nn.Module:
        return model if self._shards is None else self._shards.model

    def whole(self, model: M) -> M:
        if self._shards is not None:
            self._shards.fill()
        return model

    def share(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(self.size, -1)[self.rank]

    def share_unequal(self, rows: np.ndarray) -> np.ndarray:
        return np.array_split(rows, self.size)[self.rank]

    def sum(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, "sum")

    def any(self, value: bool) -> bool:
        said = torch.tensor([float(value)])
        dist.all_reduce(said, group=self._host)
        return said.item() > 0

    def spread(self, found: Checkpoint | None) -> Checkpoint | None:
        head = None
        if found is not None:
            layout = {name: (x.shape, x.dtype) for name, x in found.tensors.items()}
            head = (found.updates, found.facts, layout)
        if (head := self.tell(head)) is None:
            return None
        updates, facts, layout = head
        empty = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in layout.items()}
        tensors = empty if found is None else found.tensors
        for name in layout:
            dist.broadcast(tensors[name], 0, group=self._host)
        return Checkpoint(updates, tensors, facts)

    def collect(self, states: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        collected: list[Any] = [None] * self.size
        dist.all_gather_object(collected, states, group=self._host)
        return collected

    def tell(self, value: T) -> T:
        """What the process that leads says."""
        said: list[Any] = [value]
        dist.broadcast_object_list(said, 0, group=self._host)
        return said[0]

    def meet(self, *, failed: bool) -> None:
        """After a run. Raises: RuntimeError where a run failed for some, and others go on with it.

        What all have met, such as too little memory, does not keep them from the next run.
        """
        work = dist.barrier(group=self._ends, async_op=True)
        assert work is not None
        work.wait(SOON if failed else WAIT)

    def leave(self) -> None:
        self.accelerator.end_training()


def check_batch(config: Run, size: int) -> None:
    """Raises: ValueError where processes cannot have equal shares."""
    if config.batch % size:
        most = config.batch // size * size
        raise ValueError(
            f"batch {config.batch} is not divisible by {size} processes; type --batch"
            f" {' or '.join(str(n) for n in (most, most + size) if n)}"
        )


def seed_of(seed: int, rank: int) -> int:
    """Of the draws of one process, such as dropout."""
    return int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint64)[0] >> 1)
