"""How long a sweep will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from runners.engines import Again, Event, Finished, Group, Reached, Said, Started


class Left:
    """Time left: what the finished part of each model's runs took, applied to the rest of them.

    jobs: groups at a time, or more once more are seen. cost: expected duration of a run in any
    unit, right within one model at least.
    """

    def __init__(self, groups: Sequence[Group], jobs: int, cost: Callable[[Any], float]) -> None:
        self.jobs, self.groups = jobs, groups
        # A run takes its part of its group's time.
        self.parts = {run.key: 1 / len(group) for group in groups for run in group}
        runs = [run for group in groups for run in group]
        self.fields = {run.key: run.model_dump() for run in runs}
        self.costs = {run.key: cost(run) for run in runs}
        self.shares = dict.fromkeys(self.costs, 0.0)
        self.took = dict.fromkeys(self.costs, 0.0)
        self.models: dict[str, list[str]] = {}
        for key, fields in self.fields.items():
            self.models.setdefault(fields["model"], []).append(key)
        self._begin: dict[str, float] = {}
        self._at: dict[str, str] = {}  # key of a run in progress -> its worker

    def event(self, event: Event) -> None:
        if isinstance(event, Said):
            return
        key, now = event.run.key, time.monotonic()
        if isinstance(event, Started):
            self._begin[key], self._at[key] = now, event.worker
            self.jobs = max(self.jobs, len(set(self._at.values())))
        elif isinstance(event, Reached):
            self.shares[key] = event.step / self.fields[key]["updates"]
        elif isinstance(event, Again):
            self.parts[key], self.shares[key] = 1.0, 0.0
        elif isinstance(event, Finished):
            self.shares[key] = 1.0
        if isinstance(event, Again | Finished):
            self._at.pop(key, None)
        self.took[key] = (now - self._begin.setdefault(key, now)) * self.parts[key]

    def seconds(self) -> float | None:
        """None before the first sign of progress, and when all is done."""
        overall = self._pace(self.costs)
        left = [key for key, share in self.shares.items() if share < 1]
        if overall is None or not left:
            return None
        paces = {model: self._pace(keys) or overall for model, keys in self.models.items()}
        rest = {key: (1 - self.shares[key]) * self.costs[key] for key in left}
        seconds = sum(rest[key] * paces[self.fields[key]["model"]] for key in left)
        groups = sum(any(self.shares[run.key] < 1 for run in group) for group in self.groups)
        return seconds / min(self.jobs, groups)

    def _pace(self, keys: Iterable[str]) -> float | None:
        """Seconds for a unit of cost, in the part of these runs that is behind."""
        begun = [key for key in keys if self.shares[key]]
        done = sum(self.costs[key] * self.shares[key] for key in begun)
        return sum(self.took[key] for key in begun) / done if done else None
