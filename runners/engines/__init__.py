"""Where runs execute. An engine takes groups of runs and yields what happens; it owns no rows.

A group is what one worker does at once: a single run, or several that train as one batched model.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from runners.execution import Execution

NAMES = ("local",)
# A run that diverged would diverge again: that is a result, and only a sweep's `force` repeats it.
SETTLED = ("ok", "diverged")


class Run(Protocol):
    """What an engine needs of a config: its identity and its content."""

    task: ClassVar[str]

    @property
    def key(self) -> str: ...
    def model_dump(self, *, mode: str = "python") -> dict[str, Any]: ...


Group = Sequence[Run]


@dataclass(frozen=True)
class Order:
    """What every worker is told once.

    out: folder of the rows. presets: key of a run -> the preset it is from. plugins: files and the
    sha256 of their contents. timeout: seconds that one run may take, 0 for no limit; a group may
    take as much as its runs one after the other.
    """

    out: Path
    presets: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[tuple[str, str], ...] = ()
    timeout: float = 0.0
    execution: Execution = field(default_factory=Execution)


@dataclass(frozen=True)
class Started:
    run: Run
    worker: str


@dataclass(frozen=True)
class Reached:
    """step: updates done. metric: the last validation metric, a fraction; of a group the mean."""

    run: Run
    worker: str
    step: int
    metric: float | None


@dataclass(frozen=True)
class Finished:
    """The worker has stored this row."""

    run: Run
    worker: str
    row: dict[str, Any]


@dataclass(frozen=True)
class Lost:
    """The worker is gone, with or without having stored a row.

    row: what the row would have been before the run, as far as known; status, error and seconds
    say how it ended.
    """

    run: Run
    worker: str
    row: dict[str, Any]


@dataclass(frozen=True)
class Again:
    """The run lacked memory beside others; it will start once more, alone.

    row: what its worker stored.
    """

    run: Run
    worker: str
    row: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A line that a worker printed, such as a warning of a library."""

    worker: str
    line: str


Event = Started | Reached | Finished | Lost | Again | Said


class Engine(Protocol):
    """jobs: groups at a time, or more where memory is known to allow it.

    Closing the iterator early ends all workers; stored rows stay.
    """

    @property
    def jobs(self) -> int: ...
    def execute(self, groups: Sequence[Group], order: Order) -> Generator[Event]: ...


def make(name: str, jobs: int = 0) -> Engine:
    """The engine of that name. jobs: 0 for one on each CPU core, or what fits on each GPU."""
    if name not in NAMES:
        raise ValueError(f"engine {name!r} is unknown; type --engine {' or '.join(NAMES)}")
    from runners.engines.local import Local

    return Local(jobs)
