"""The training step and its loop, shared by every task: AdamW, schedules, clipping, early stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor, nn

from runners.base import Run
from zoo.model import decay_groups

Batch = tuple[Tensor, ...]
Loss = Callable[[Any, Batch], Tensor]
Progress = Callable[[int, dict[str, float]], None]

# The first updates allocate and warm caches; they are left out of the step time.
WARM_UP_STEPS = 3


@dataclass
class Outcome:
    """What a training did. curve_*: one entry for each validation; metric: fraction 0..1.

    curve_loss: nats, mean since the validation before. stop: threshold, budget or diverged.
    step_seconds: median, without validation. tokens_per_second: over all timed updates.
    """

    steps: int = 0
    stop: str = "budget"
    error: str = ""
    curve_steps: list[int] = field(default_factory=list)
    curve_valid: list[float] = field(default_factory=list)
    curve_loss: list[float] = field(default_factory=list)
    step_seconds: float | None = None
    tokens_per_second: float | None = None

    def record(self, update: int, metric: float, loss: float) -> None:
        self.curve_steps.append(update)
        self.curve_valid.append(metric)
        self.curve_loss.append(loss)


def train(
    model: nn.Module,
    config: Run,
    batches: Iterator[Batch],
    loss: Loss,
    evaluate: Callable[[], float],
    *,
    epoch_updates: int = 1,
    progress: Progress | None = None,
) -> Outcome:
    """Trains `model` in place for config.updates updates, or until `evaluate` exceeds stop_at.

    batches: endless; the first tensor of a batch holds its tokens. evaluate: the validation metric,
    a fraction. epoch_updates: updates of one epoch, for the schedule that steps once an epoch.
    """
    optimiser = make_optimiser(model, config)
    outcome, losses, clock = Outcome(), [], Clock()
    model.train()
    for update in range(1, config.updates + 1):
        clock.start()
        batch = next(batches)
        rate = learning_rate(config, update - 1, epoch_updates)
        value, norm = step(model, optimiser, batch, loss, config, rate)
        clock.stop(batch[0].numel())
        if trouble := not_finite(value, norm):
            outcome.error = f"{trouble} at update {update}, learning rate {rate:.3g}"
            outcome.stop = "diverged"
            break
        outcome.steps = update
        losses.append(value)
        if update % config.evaluate_every and update < config.updates:
            continue
        metric, mean_loss = validate(model, evaluate), fmean(losses)
        losses.clear()
        outcome.record(update, metric, mean_loss)
        if progress is not None:
            progress(update, {"valid": metric, "loss": mean_loss})
        if metric > config.stop_at:
            outcome.stop = "threshold"
            break
    outcome.step_seconds, outcome.tokens_per_second = clock.summary()
    return outcome


def validate(model: nn.Module, evaluate: Callable[[], float]) -> float:
    """The metric in eval mode and without gradients; afterwards the model trains on."""
    model.eval()
    with torch.no_grad():
        metric = evaluate()
    model.train()
    return metric


def step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    loss: Loss,
    config: Run,
    rate: float,
) -> tuple[float, float]:
    """One update; the parameters stay as they are when the loss or the gradient is not finite.

    Returns: the loss in nats, and the gradient norm before clipping (0 when nothing is clipped).
    """
    device = batch[0].device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
        value = loss(model, batch)
    optimiser.zero_grad()
    value.backward()
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = value.new_zeros(())
    if config.clip:
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    # One transfer for both, so that a GPU is waited for once a step.
    seen, length = torch.stack([value.detach().float(), norm.float()]).tolist()
    if not_finite(seen, length):
        return seen, length
    if config.clip and length > config.clip:
        nn.utils.clip_grads_with_norm_(parameters, config.clip, norm)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return seen, length


def not_finite(loss: float, norm: float) -> str:
    """Which of the two is not, with its value; empty when both are finite."""
    if math.isfinite(loss):
        return "" if math.isfinite(norm) else f"gradient norm {norm}"
    return f"loss {loss}"


def make_optimiser(model: nn.Module, config: Run) -> torch.optim.Optimizer:
    """AdamW, betas 0.9 and 0.999, eps 1e-8. Fused: on small models a quarter of foreach's time."""
    decayed, undecayed = decay_groups(model)
    kept = config.weight_decay if config.decay_all else 0.0
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": undecayed, "weight_decay": kept},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, fused=True)


def learning_rate(config: Run, done: int, epoch_updates: int) -> float:
    """The rate of the next update. done: updates made so far."""
    if done < config.warmup:
        return config.lr * (done + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "cosine-epoch":
        epochs = math.ceil(config.updates / epoch_updates)
        part = (done // epoch_updates) / epochs
    else:
        part = (done - config.warmup) / (config.updates - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * part))


class Clock:
    """Seconds and tokens of each update, the making of its batch included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.tokens: list[int] = []
        self._begin = 0.0

    def start(self) -> None:
        self._begin = time.perf_counter()

    def stop(self, tokens: int) -> None:
        self.seconds.append(time.perf_counter() - self._begin)
        self.tokens.append(tokens)

    def summary(self) -> tuple[float | None, float | None]:
        """Median seconds of an update, and tokens per second, once warm."""
        warm = WARM_UP_STEPS if len(self.seconds) > WARM_UP_STEPS else 0
        seconds, tokens = self.seconds[warm:], self.tokens[warm:]
        if not seconds:
            return None, None
        return median(seconds), sum(tokens) / sum(seconds)
