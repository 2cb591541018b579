"""Where runs execute. An engine takes groups of runs and yields what happens; it owns no rows.

A group is what one worker does at once: a single run, or several that train as one batched model.
"""

from __future__ import annotations

import os
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


def make(name: str, jobs: int = 0, strategy: str | None = None) -> Engine:
    """The engine of that name, or the one for processes of torchrun.

    jobs: 0 for one on each CPU core, or what fits on each GPU. strategy: how several processes
    train one model; None for a command where they cannot.
    """
    if name not in NAMES:
        raise ValueError(f"engine {name!r} is unknown; type --engine {' or '.join(NAMES)}")
    if processes() > 1:
        if strategy is None:
            raise ValueError(
                "torchrun is for lazoo lm, where several processes train one model; type this"
                " command without it: all GPUs of the machine are used, each for runs of its own"
            )
        from runners.engines.together import Leader

        return Leader(strategy)
    from runners.engines.local import Local

    return Local(jobs)


def processes() -> int:
    """That torchrun started together, this one included; 1 without torchrun."""
    return _told("WORLD_SIZE", 1)


def follows() -> bool:
    """Whether this process only does what another one says."""
    return processes() > 1 and _told("RANK", 0) > 0


def _told(name: str, otherwise: int) -> int:
    """What torchrun says; some schedulers set a part of its variables for a single process."""
    said = {key: os.environ.get(key, "") for key in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    return int(said[name]) if all(map(str.isdecimal, said.values())) else otherwise
