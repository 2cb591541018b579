"""How long a sweep will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from runners.engines import Event, Finished, Reached, Run, Said


class Left:
    """Time left: what the finished part of each model's runs took, applied to the rest of them.

    cost: expected duration of a run in any unit, right within one model at least.
    """

    def __init__(self, runs: Sequence[Run], jobs: int, cost: Callable[[Any], float]) -> None:
        self.jobs = jobs
        self.fields = {run.key: run.model_dump() for run in runs}
        self.costs = {run.key: cost(run) for run in runs}
        self.shares = dict.fromkeys(self.costs, 0.0)
        self.took = dict.fromkeys(self.costs, 0.0)
        self.models: dict[str, list[str]] = {}
        for key, fields in self.fields.items():
            self.models.setdefault(fields["model"], []).append(key)
        self._begin: dict[str, float] = {}

    def event(self, event: Event) -> None:
        if isinstance(event, Said):
            return
        key, now = event.run.key, time.monotonic()
        begin = self._begin.setdefault(key, now)
        if isinstance(event, Reached):
            self.shares[key] = event.step / self.fields[key]["updates"]
        elif isinstance(event, Finished):
            self.shares[key] = 1.0
        self.took[key] = now - begin

    def seconds(self) -> float | None:
        """None before the first sign of progress, and when all is done."""
        overall = self._pace(self.costs)
        left = [key for key, share in self.shares.items() if share < 1]
        if overall is None or not left:
            return None
        paces = {model: self._pace(keys) or overall for model, keys in self.models.items()}
        rest = {key: (1 - self.shares[key]) * self.costs[key] for key in left}
        seconds = sum(rest[key] * paces[self.fields[key]["model"]] for key in left)
        return seconds / min(self.jobs, len(left))

    def _pace(self, keys: Iterable[str]) -> float | None:
        """Seconds for a unit of cost, in the part of these runs that is behind."""
        begun = [key for key in keys if self.shares[key]]
        done = sum(self.costs[key] * self.shares[key] for key in begun)
        return sum(self.took[key] for key in begun) / done if done else None
