"""An update that several processes make together, each from its share of the batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from runners.base import Run
from runners.parts import Batch, Parts
from runners.step import HostStep
from runners.team import Team
from runners.tensors import is_part, whole
from runners.train import Loss, not_finite


class Objective(nn.Module):
    """A model and its loss as one module, since what divides the work listens to `forward`."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss(self.model, batch)


class TogetherStep(HostStep):
    """The numbers of HostStep for the whole batch, up to rounding and dropout masks.

    Every process sees the same loss and norm, so that all do the same with them. before: called
    before each update.
    """

    def __init__(
        self, model: nn.Module, objective: nn.Module, config: Run, loss: Loss, team: Team
    ) -> None:
        """objective: an Objective of the model, wrapped by what divides the work."""
        super().__init__(model, config, loss)
        # Who lacks memory cannot change its parts alone.
        self.objective, self.team, self.parts = objective, team, Parts(self.parts.number)
        self.before: Callable[[], None] = lambda: None

    def __call__(self, batch: Batch, update: int) -> None:
        if self.frozen:
            return
        self.before()
        (optimiser,), clip = self.optimisers, self.config.clip
        optimiser.zero_grad()
        value = self._gradients(batch)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = whole(nn.utils.get_total_norm(gradients)) if clip else value.new_zeros(())
        seen = self.team.sum(torch.stack([value.float(), norm.float()])) / self.team.size
        loss, length = seen.tolist()
        self.seen.append([[loss], [length]])
        if not_finite(loss, length):
            return
        if clip and length > clip:
            parts = [cast(Any, g).to_local() if is_part(g) else g for g in gradients]
            torch._foreach_mul_(parts, clip / (length + 1e-6))  # pyright: ignore[reportPrivateImportUsage]
        for group in optimiser.param_groups:
            group["lr"] = self.rate(update) * group.get("lr_factor", 1.0)
        optimiser.step()

    def _gradients(self, batch: Batch) -> Tensor:
        """Makes the gradients of the whole batch. Returns: the loss of this share, nats."""
        rows, device = len(batch[0]), batch[0].device.type
        number, values = min(self.parts.number, rows), list[Tensor]()
        for part in zip(*(x.tensor_split(number) for x in batch), strict=True):
            with self._silent(len(values) + 1 < number):
                bf16 = self.config.precision == "bf16"
                with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
                    value = self.objective(*part) * (len(part[0]) / rows)
                value.backward()
            values.append(value.detach())
        return torch.stack(values).sum(0)

    def _silent(self, wanted: bool) -> Any:
        """Gradients stay here until the last part; divided ones are added up where they belong."""
        if wanted and isinstance(self.objective, DistributedDataParallel):
            return self.objective.no_sync()
        return nullcontext()
