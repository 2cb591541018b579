"""The training loop, shared by every task: updates, validations, divergence, early stop.

It trains one model, or several that make every update together and end one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TypeVar

import torch
from torch import nn

from runners.base import Run
from runners.step import Step
from runners.train import Batch, not_finite

Progress = Callable[[int, dict[str, float]], None]
M = TypeVar("M", bound=nn.Module)


@dataclass
class Outcome:
    """What a training did. curve_*: one entry for each validation; metric: fraction 0..1.

    curve_loss: nats, mean since the validation before. stop: threshold, budget or diverged.
    step_seconds: median, without validation. tokens_per_second: over all timed updates. Of models
    trained together each has an equal share: seconds are divided by their number, and tokens per
    second are those of all.
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
    step: Step,
    config: Run,
    batches: Iterator[Batch],
    evaluate: Callable[[int], float],
    *,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Trains the models of `step` in place for config.updates updates, or until they end early.

    batches: endless; the first tensor of a batch holds its tokens. evaluate: a model's number ->
    its validation metric, a fraction; above config.stop_at the model has finished.
    """
    members = [Member(i) for i in range(step.models)]
    clock, looked, tokens = Clock(step.warm_up, step.models), 0, 0
    clock.start()
    for update in range(1, config.updates + 1):
        batch = next(batches)
        step(batch, update)
        tokens += batch[0].numel()
        due = update % config.evaluate_every == 0 or update == config.updates
        if not due and update > step.warm_up and update - looked < step.patience:
            continue
        seen = step.look()
        clock.stop(update - looked, tokens)
        before = going(members)
        for member in before:
            member.take(seen, looked + 1, step)
        if due:
            validate_all(going(members), update, config, evaluate, progress)
        if not going(members):
            break
        for member in before:
            if member.ended:
                step.freeze(member.number)
        looked, tokens = update, 0
        clock.start()
    seconds, speed = clock.summary()
    for member in members:
        member.outcome.step_seconds, member.outcome.tokens_per_second = seconds, speed
    return [member.outcome for member in members]


@dataclass
class Member:
    """A model in training. losses: since the last validation, nats."""

    number: int
    outcome: Outcome = field(default_factory=Outcome)
    losses: list[float] = field(default_factory=list)
    ended: bool = False

    def take(self, seen: list[list[list[float]]], first: int, step: Step) -> None:
        """seen: updates, beginning with `first`, x (loss, norm) x models."""
        for update, (losses, norms) in enumerate(seen, first):
            loss, norm = losses[self.number], norms[self.number]
            if trouble := not_finite(loss, norm):
                rate = step.rate(update, self.number)
                self.outcome.error = f"{trouble} at update {update}, learning rate {rate:.3g}"
                self.end("diverged")
                return
            self.outcome.steps = update
            self.losses.append(loss)

    def end(self, stop: str) -> None:
        self.outcome.stop, self.ended = stop, True


def going(members: Sequence[Member]) -> list[Member]:
    return [member for member in members if not member.ended]


def validate_all(
    members: Sequence[Member],
    update: int,
    config: Run,
    evaluate: Callable[[int], float],
    progress: Progress | None,
) -> None:
    """Ends those that exceed stop_at; tells the progress of all as one, by means."""
    for member in members:
        metric = evaluate(member.number)
        member.outcome.record(update, metric, fmean(member.losses))
        member.losses.clear()
        if metric > config.stop_at:
            member.end("threshold")
    if progress is not None and members:
        outcomes = [member.outcome for member in members]
        valid, loss = (fmean(x[-1] for x in curve) for curve in curves(outcomes))
        progress(update, {"valid": valid, "loss": loss})


def curves(outcomes: Sequence[Outcome]) -> tuple[list[list[float]], list[list[float]]]:
    return [x.curve_valid for x in outcomes], [x.curve_loss for x in outcomes]


@contextmanager
def evaluating(model: M) -> Iterator[M]:
    """The model in eval mode and without gradients; afterwards it trains on."""
    model.eval()
    with torch.no_grad():
        yield model
    model.train()


class Clock:
    """Seconds of an update, the making of its batch included, and tokens per second.

    warm_up: the first updates, which allocate and warm caches and are left out. models: trained at
    once.
    """

    def __init__(self, warm_up: int, models: int = 1) -> None:
        self.seconds: list[float] = []
        self.tokens: list[int] = []
        self.updates: list[int] = []
        self.warm_up, self.models, self._begin = warm_up, models, 0.0

    def start(self) -> None:
        self._begin = time.perf_counter()

    def stop(self, updates: int, tokens: int) -> None:
        """tokens: of all `updates` since start, for each model."""
        self.seconds.append(time.perf_counter() - self._begin)
        self.updates.append(updates)
        self.tokens.append(tokens)

    def summary(self) -> tuple[float | None, float | None]:
        """Median seconds of an update, each model's share, and tokens per second, once warm."""
        warm = self.warm_up if len(self.seconds) > self.warm_up else 0
        timed = list(zip(self.seconds[warm:], self.updates[warm:], self.tokens[warm:]))
        if not timed:
            return None, None
        each = [s / n for s, n, _ in timed for _ in range(n)]
        tokens = self.models * sum(n for *_, n in timed)
        return median(each) / self.models, tokens / sum(s for s, *_ in timed)
