"""A batch in parts, whose gradients are made one after the other and added, for want of memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import zoo
from runners.base import Run
from runners.memory import is_out_of_memory

Batch = tuple[Tensor, ...]
# Mean loss of the rows given, of one model or of each of several (m).
Forward = Callable[[Batch], Tensor]
# Makes the gradients of a loss; with True it adds them to those that are there.
Backward = Callable[[Tensor, bool], None]


class Parts:
    """number: of parts. grows: whether they are doubled where memory lacks.

    Whatever the number, loss and gradients are those of the whole batch, up to rounding and the
    drawing of dropout masks. Not so with batch norm, whose statistics are of what is seen at once.
    """

    def __init__(self, number: int = 1, *, grows: bool = False) -> None:
        self.number, self.grows = number, grows

    def gradients(self, batch: Batch, forward: Forward, backward: Backward) -> Tensor:
        """Makes the gradients of a batch. Returns: its loss, nats, without history."""
        device = batch[0].device
        while True:
            # A capture only records, and what it records went through eagerly before.
            can_grow = self.grows and self.number < len(batch[0]) and not capturing(device)
            before = generators(device) if can_grow else ()
            try:
                return self._added(batch, forward, backward)
            except (RuntimeError, MemoryError) as error:
                if not (can_grow and is_out_of_memory(error)):
                    raise
            # Outside of the except block, whose traceback would keep the tensors alive.
            self.number = min(2 * self.number, len(batch[0]))
            if device.type == "cuda":
                torch.cuda.empty_cache()
            restore(before, device)

    def _added(self, batch: Batch, forward: Forward, backward: Backward) -> Tensor:
        rows = len(batch[0])
        if min(self.number, rows) == 1:
            value = forward(batch)
            backward(value, False)
            return value.detach()
        values = list[Tensor]()
        for part in zip(*(x.tensor_split(min(self.number, rows)) for x in batch), strict=True):
            value = forward(part) * (len(part[0]) / rows)
            backward(value, bool(values))
            values.append(value.detach())
        return torch.stack(values).sum(0)


def parts_of(config: Run) -> Parts:
    """As the config says. A task whose runs have no `accumulate` makes its gradients at once."""
    number = getattr(config, "accumulate", None)
    return Parts() if number is None else Parts(number, grows=not has_batch_norm(config))


def has_batch_norm(config: Run) -> bool:
    """Whether what a row gives depends on the rows beside it."""
    own = zoo.load(config.model).block_norm
    return (own if config.norm == "own" else config.norm) == "batch"


def capturing(device: torch.device) -> bool:
    """Whether operations on the device are recorded as a CUDA graph instead of done."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def generators(device: torch.device) -> tuple[Tensor, ...]:
    """What decides the next draws: the states of torch's generators on the CPU and the device.

    Not to be asked for in a capture.
    """
    on_device = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
    return (torch.get_rng_state(), *on_device)


def restore(states: tuple[Tensor, ...], device: torch.device) -> None:
    """The next draws are those that came after `generators`."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
