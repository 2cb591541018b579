"""How long updates take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

# Seconds, updates and tokens between two looks.
Timed = tuple[float, int, int]


class Clock:
    """Seconds of an update, the making of its batch included, and tokens per second.

    warm_up: the first updates, which allocate and warm caches and are left out. models: trained at
    once. before: what `timed` gave in an earlier process.
    """

    def __init__(self, warm_up: int, models: int = 1, before: Sequence[Timed] = ()) -> None:
        self.spans: list[Timed] = []
        self.before, self.warm_up, self.models, self._begin = list(before), warm_up, models, 0.0

    def start(self) -> None:
        self._begin = time.perf_counter()

    def stop(self, updates: int, tokens: int) -> None:
        """tokens: of all `updates` since start, for each model."""
        self.spans.append((time.perf_counter() - self._begin, updates, tokens))

    def updates_in(self, seconds: float) -> int:
        """As many as the last ones would take so long for, and at least one."""
        took, updates, _ = self.spans[-1]
        return max(1, int(seconds * updates / max(took, 1e-9)))

    def timed(self) -> list[Timed]:
        """What counts, once warm."""
        return self.before + self.spans[self.warm_up :]

    def summary(self) -> tuple[float | None, float | None]:
        """Median seconds of an update, each model's share, and tokens per second."""
        timed = self.timed() or self.spans
        if not timed:
            return None, None
        each = [s / n for s, n, _ in timed for _ in range(n)]
        tokens = self.models * sum(n for *_, n in timed)
        return median(each) / self.models, tokens / sum(s for s, *_ in timed)
