"""A training that goes on where an earlier process left it; on a CPU the row is bit-equal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from runners.checkpoint import Checkpoint, Checkpoints
from runners.kept import ENDING, Ended
from runners.loop import Training
from runners.parts import generators, restore
from runners.step import Step
from runners.team import ALONE, Team
from runners.tensors import (
    copied,
    facts_of,
    load,
    put_state,
    shapes,
    state_of,
    tensors_of,
    training_of,
    under,
)

# Other versions may round differently; what is continued says so.
VERSIONS = (
    *("torch", "numpy", "python", "version", "git", "device", "threads"),
    *("processes", "strategy"),
)


class Best:
    """The weights of the best validation so far, the first of equals: name -> tensor on the CPU."""

    def __init__(self, wanted: bool) -> None:
        self.wanted, self.metric = wanted, float("-inf")
        self.weights: dict[str, Tensor] = {}

    def offer(self, metric: float, model: nn.Module) -> None:
        if self.wanted and metric > self.metric:
            self.metric, self.weights = metric, copied(model.state_dict())

    def put_into(self, model: nn.Module) -> None:
        """Without weights the model stays as it is."""
        if self.weights:
            model.load_state_dict(self.weights)


class Keeper:
    """Stores a training every `minutes`, and when its process must end.

    versions: what a row says of where it ran, such as torch. store: None keeps nothing. `resumed`
    counts the processes that went on, `seconds` what those before this one took. team: who trains
    the model; each process has a Keeper, and the one that leads reads and writes.
    """

    def __init__(
        self,
        store: Checkpoints | None,
        minutes: float,
        model: nn.Module,
        step: Step,
        best: Best,
        versions: Mapping[str, Any],
        team: Team = ALONE,
    ) -> None:
        self.team = team
        self.store, self.minutes, self.model = store, minutes, team.trained(model)
        self.step, self.best = step, best
        self.versions = {name: versions.get(name) for name in VERSIONS}
        self.resumed, self.seconds = 0, 0.0
        self.notes: list[str] = []
        self.began = self.last = time.monotonic()

    def resume(self) -> Training:
        """From the newest checkpoint that fits, else a training that begins."""
        found = self.store.newest() if self.store and self.team.leads else None
        found = self.team.spread(found)
        if found is None:
            return Training.of(self.step)
        own, stored = self.model.state_dict(), under("model", found.tensors)
        if shapes(own) != shapes(stored):
            assert self.store is not None
            self.store.pass_over(str(found.updates), "its model has other parameters")
            return Training.of(self.step)
        load(self.model, stored)
        put_state(self.model, self.step, under("optimiser", found.tensors))
        self.best.weights = under("best", found.tensors)
        facts = found.facts
        training = training_of(facts, found.tensors, self.step)
        if self.best.weights:
            self.best.metric = max(training.members[0].outcome.curve_valid)
        self.step.parts.number = max(self.step.parts.number, facts["parts"])
        self.resumed, self.seconds = facts["resumed"] + 1, facts["seconds"]
        self.notes = facts["notes"] + self._changed(facts["versions"], found.updates)
        # Of a process that had no part before, draws go on as they began.
        if generator := under(generator_of(self.team.rank), found.tensors):
            device = next(self.model.parameters()).device
            restore(tuple(generator[k] for k in sorted(generator)), device)
        return training

    def offer(self, training: Training) -> None:
        """Stores the training where it is time. A full disk costs the checkpoint, not the run.

        Raises: Ended where one of several processes must end.
        """
        if self.store is None:
            return
        asked = ENDING.wanted.is_set()
        due = self.team.leads and time.monotonic() - self.last >= 60 * self.minutes
        if not self.team.any(asked or due):
            return
        ending, made = self.team.any(asked), self._checkpoint(training)
        try:
            if self.team.leads:
                self.store.write(made)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.notes.append(f"no checkpoint at update {training.updates}: {reason}")
        self.last = time.monotonic()
        if ending:
            if self.team.size > 1:
                self.team.any(True)  # nobody leaves, which may end the others, before it is stored
            ENDING.kept.set()
            if self.team.size > 1:
                raise Ended

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within, an end of the process waits for a checkpoint."""
        if self.store is not None:
            ENDING.kept.clear()
            ENDING.pending.set()
        try:
            yield
        finally:
            ENDING.pending.clear()
            ENDING.kept.set()

    def columns(self) -> dict[str, Any]:
        """resumed_notes: what was not as in a run at one go, beside rounding of times."""
        passed_over = self.store.notes if self.store else []
        return {"resumed": self.resumed, "resumed_notes": "; ".join(self.notes + passed_over)}

    def _changed(self, before: Mapping[str, Any], update: int) -> list[str]:
        return [
            f"{name} {before.get(name) or 'none'} until update {update}, then {now or 'none'}"
            for name, now in self.versions.items()
            if before.get(name) != now
        ]

    def _checkpoint(self, training: Training) -> Checkpoint:
        device = next(self.model.parameters()).device
        tensors = {f"model.{k}": x for k, x in self.model.state_dict().items()}
        tensors |= {f"optimiser.{k}": x for k, x in state_of(self.model, self.step).items()}
        tensors |= {f"best.{k}": x for k, x in self.best.weights.items()}
        for rank, states in enumerate(self.team.collect(generators(device))):
            tensors |= {f"{generator_of(rank)}.{i}": x for i, x in enumerate(states)}
        tensors |= tensors_of(training)
        facts = {
            **facts_of(training),
            "parts": self.step.parts.number,
            "resumed": self.resumed,
            "seconds": self.seconds + time.monotonic() - self.began,
            "versions": self.versions,
            "notes": self.notes,
        }
        return Checkpoint(training.updates, copied(tensors, keep=self.team.leads), facts)


def generator_of(rank: int) -> str:
    """The name of its states in a checkpoint."""
    return f"generator_of_{rank}" if rank else "generator"
