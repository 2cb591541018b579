"""An update that lives on the device: no value comes to the host until somebody looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from runners.base import Run
from runners.parts import parts_of
from runners.step import WARM_UP_STEPS, Trained
from runners.train import Batch, learning_rate, make_optimiser

# Updates that a GPU makes between two looks at their losses.
UNSEEN = 100


class DeviceStep:
    """The same numbers as HostStep, from tensors on the device: rates, clipping, what has diverged.

    After the first loss or norm that is not finite a model's parameters stay as they were before
    it. Frozen models are left out of the work once they are half of those that it is done for.
    """

    def __init__(
        self,
        trained: Trained,
        configs: Sequence[Run],
        *,
        device: torch.device,
        epoch: int = 1,
        form: str = "eager",
    ) -> None:
        """configs: of each model, equal but for lr and seed. epoch: as in HostStep."""
        self.configs, self.epoch, self.form = configs, epoch, form
        self.config, self.models, m = configs[0], len(configs), len(configs)
        # To look costs nothing on a CPU, and shows at once that all have diverged.
        self.patience = 1 if device.type == "cpu" else UNSEEN
        self.warm_up, self.count = WARM_UP_STEPS, 0
        # Of the dtype that torch's fused AdamW reads.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        table = [[self.rate(u, i) for i in range(m)] for u in range(1, self.config.updates + 1)]
        self.table = torch.tensor(table, dtype=dtype, device=device)  # updates m
        self.rates = self.table[0].clone()  # m
        self.parts = parts_of(self.config)
        self.frozen = torch.zeros(m, dtype=torch.float32, device=device)
        self.last = self.frozen.new_zeros(2, m)  # loss and norm of one update
        self.log = self.frozen.new_zeros(UNSEEN, 2, m)  # updates since the last look 2 m
        self.optimisers = [make_optimiser(*pair) for pair in zip(trained.models, configs)]
        # Rates of groups that have another than the rest of their model, and its factor.
        self.scaled: list[tuple[Tensor, int, float]] = []
        for i, optimiser in enumerate(self.optimisers):
            for group in optimiser.param_groups:
                group["lr"] = self.rates[i]
                if factor := group.get("lr_factor"):
                    group["lr"] = self.rates[i].clone()
                    self.scaled.append((group["lr"], i, factor))
            # AdamW makes no update where this is 1; gradient scalers set it in the same way.
            vars(optimiser)["found_inf"] = self.frozen[i]
        self.ended: set[int] = set()
        self.work_for(trained, range(m))

    def work_for(self, trained: Trained, numbers: Sequence[int]) -> None:
        """numbers: which of all models are those of `trained`, in its order."""
        self.trained, self.numbers = trained, list(numbers)
        self.columns = torch.tensor(self.numbers, device=self.frozen.device)  # of self.last

    def __call__(self, batch: Batch, update: int) -> None:
        assert self.count < UNSEEN, "nobody has looked at the losses"
        self.rates.copy_(self.table[update - 1])
        for rate, model, factor in self.scaled:
            torch.mul(self.rates[model], factor, out=rate)
        self.run(batch)
        self.log[self.count].copy_(self.last)
        self.count += 1

    def run(self, batch: Batch) -> None:
        self.update(batch)

    def look(self) -> list[list[list[float]]]:
        seen = self.log[: self.count].tolist()
        self.count = 0
        return seen

    def rate(self, update: int, model: int = 0) -> float:
        return learning_rate(self.configs[model], update - 1, self.epoch)

    def freeze(self, model: int) -> None:
        self.frozen[model] = 1.0
        self.ended.add(model)
        going = [i for i, number in enumerate(self.numbers) if number not in self.ended]
        if going and 2 * len(going) <= len(self.numbers):
            self.work_for(self.trained.keep(going), [self.numbers[i] for i in going])

    def update(self, batch: Batch) -> None:
        """One update at self.rates; writes self.last and self.frozen. Can be captured."""
        kind, bf16 = self.rates.device.type, self.config.precision == "bf16"

        def forward(part: Batch) -> Tensor:
            # Casts kept from before a capture would be read again in every replay.
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=bf16, cache_enabled=False):
                return self.trained.losses(part)

        # m, of the models that still train
        losses = self.parts.gradients(batch, forward, self.trained.backward)
        gradients = [gradients_of(model) for model in self.trained.models]
        norms = torch.zeros_like(losses)  # m
        if self.config.clip:
            norms = torch.stack([nn.utils.get_total_norm(g) for g in gradients])
        seen = torch.stack([losses.float(), norms.float()])  # 2 m
        self.last.index_copy_(1, self.columns, seen)
        self.frozen.copy_(torch.where(self.last.isfinite().all(0), self.frozen, 1.0))
        if self.config.clip:
            clip(gradients, norms, self.config.clip)
        for number in self.numbers:
            self.optimisers[number].step()


def gradients_of(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


def clip(gradients: Sequence[list[Tensor]], norms: Tensor, most: float) -> None:
    """torch's clip_grads_with_norm_ for each list, where its norm is above `most`.

    Compared in float64, as the host does.
    """
    factors = (most / (norms + 1e-6)).clamp(max=1.0)  # m
    factors = torch.where(norms.double() > most, factors, 1.0)
    for i, of_model in enumerate(gradients):
        torch._foreach_mul_(of_model, factors[i])  # pyright: ignore[reportPrivateImportUsage]
