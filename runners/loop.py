"""The training loop, shared by every task: updates, validations, divergence, early stop.

It trains one model, or several that make every update together and end one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeVar

import torch
from torch import nn

from runners.base import Run
from runners.clock import Clock
from runners.step import Step
from runners.train import Batch, not_finite

# Between two looks of a GPU at its losses, roughly: what has diverged, has to be stored or has to
# end waits for the next one.
UNSEEN_SECONDS = 5.0
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
    training: Training | None = None,
    keep: Callable[[Training], None] | None = None,
) -> list[Outcome]:
    """Trains the models of `step` in place for config.updates updates, or until they end early.

    batches: endless; the first tensor of a batch holds its tokens. evaluate: a model's number ->
    its validation metric, of which config.solved says whether it is enough. training: what
    an earlier process left, whose updates `step` and `batches` have behind them. keep: told after
    each look how far the training is.
    """
    training = training or Training.of(step)
    members, clock, tokens = training.members, training.clock, 0
    warm_from, patience = training.updates + step.warm_up, 1
    clock.start()
    for update in range(training.updates + 1, config.updates + 1):
        batch = next(batches)
        step(batch, update)
        tokens += batch[0].numel()
        due = update % config.evaluate_every == 0 or update == config.updates
        since = update - training.updates
        if not due and update > warm_from and since < patience:
            continue
        seen = step.look()
        clock.stop(since, tokens)
        patience = min(step.patience, clock.updates_in(UNSEEN_SECONDS))
        before = going(members)
        for member in before:
            member.take(seen, training.updates + 1, step)
        if due:
            validate_all(going(members), update, config, evaluate, progress)
        if not going(members):
            break
        for member in before:
            if member.ended:
                step.freeze(member.number)
        training.updates, tokens = update, 0
        if keep is not None:
            keep(training)
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


@dataclass
class Training:
    """How far a training is: all that `train` carries from one look to the next."""

    members: list[Member]
    clock: Clock
    updates: int = 0

    @staticmethod
    def of(step: Step) -> Training:
        """One that begins."""
        return Training([Member(i) for i in range(step.models)], Clock(step.warm_up, step.models))


def going(members: Sequence[Member]) -> list[Member]:
    return [member for member in members if not member.ended]


def validate_all(
    members: Sequence[Member],
    update: int,
    config: Run,
    evaluate: Callable[[int], float],
    progress: Progress | None,
) -> None:
    """Ends those that have solved their task; tells the progress of all as one, by means."""
    for member in members:
        metric = evaluate(member.number)
        member.outcome.record(update, metric, fmean(member.losses))
        member.losses.clear()
        if config.solved(metric):
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
