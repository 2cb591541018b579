"""Training steps as calls to time: the step that runs use, on batches made beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from runners.bench_timing import Timing, timed
from runners.head_loss import head_loss
from runners.step import Step
from runners.train import Batch
from zoo.model import Model

UPDATES = 10_000  # more than are ever timed: schedules are drawn up for so many
NO_LIMIT = 1e9  # seconds
CLOCKS: dict[str, Callable[[], float]] = {"CPU time": time.process_time, "wall": time.perf_counter}


class Updates:
    """The next update on the next batch, and a look at the losses as often as training needs."""

    def __init__(self, step: Step, batches: Iterator[Batch]) -> None:
        self.step, self.batches, self.done = step, batches, 0

    def __call__(self) -> None:
        self.done += 1
        self.step(next(self.batches), self.done)
        if self.done % self.step.patience == 0:
            self.step.look()

    def warm(self) -> None:
        """The updates that allocate, fill caches and capture."""
        for _ in range(self.step.warm_up):
            self()


def clock_of(device: torch.device) -> str:
    """What a time is: of device events; on a CPU with one thread CPU time, which is the same on
    busy cores; with several, wall."""
    if device.type == "cuda":
        return "device events"
    return "CPU time" if torch.get_num_threads() == 1 else "wall"


def timed_updates(
    updates: Updates, device: torch.device, repeats: int, seconds: float, clock: str
) -> Timing:
    updates.warm()
    how = {"repeats": repeats, "seconds": seconds, "clock": CLOCKS.get(clock, time.perf_counter)}
    return timed([updates], device, **how)


def next_token(model: Model, batch: Batch) -> Tensor:
    """Mean cross entropy of every token after the first, nats. batch: tokens b t, targets b t."""
    tokens, targets = batch
    hidden, _ = model.hidden(tokens)  # b t d
    return head_loss(hidden.flatten(0, 1), model.head_weight, targets.flatten())


def random_rows(
    rows: int, length: int, vocabulary: int, device: torch.device, several: int
) -> list[Batch]:
    """Batches of tokens drawn evenly, with the next token as target."""
    made = torch.randint(vocabulary, (several, rows, length + 1), device=device)
    return [(x[:, :-1].contiguous(), x[:, 1:].contiguous()) for x in made]


def held_bytes(model: Model, batch: Batch) -> int:
    """Of parameters, gradients and both moments of AdamW, buffers and one batch."""
    kept = [*model.buffers(), *batch]
    trained = [x for p in model.parameters() for x in ([p] * 4 if p.requires_grad else [p])]
    return sum(x.numel() * x.element_size() for x in (*trained, *kept))
