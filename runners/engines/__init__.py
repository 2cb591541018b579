"""Where runs execute. An engine takes runs and yields what happens to them; it owns no rows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

NAMES = ("local",)


class Run(Protocol):
    """What an engine needs of a config: its identity and its content."""

    task: ClassVar[str]

    @property
    def key(self) -> str: ...
    def model_dump(self, *, mode: str = "python") -> dict[str, Any]: ...


@dataclass(frozen=True)
class Order:
    """What every worker is told once.

    out: folder of the rows. presets: key of a run -> the preset it is from. plugins: files and the
    sha256 of their contents. timeout: seconds that one run may take, 0 for no limit.
    """

    out: Path
    presets: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[tuple[str, str], ...] = ()
    timeout: float = 0.0


@dataclass(frozen=True)
class Started:
    run: Run
    worker: str


@dataclass(frozen=True)
class Reached:
    """step: updates done. metric: the last validation metric, a fraction."""

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
class Said:
    """A line that a worker printed, such as a warning of a library."""

    worker: str
    line: str


Event = Started | Reached | Finished | Lost | Said


class Engine(Protocol):
    """jobs: runs at a time. Closing the iterator early ends all workers; stored rows stay."""

    @property
    def jobs(self) -> int: ...
    def execute(self, runs: Sequence[Run], order: Order) -> Generator[Event]: ...


def make(name: str, jobs: int = 0) -> Engine:
    """The engine of that name. jobs: 0 for as many as the machine has CPU cores, or GPUs."""
    if name not in NAMES:
        raise ValueError(f"engine {name!r} is unknown; type --engine {' or '.join(NAMES)}")
    from runners.engines.local import Local

    return Local(jobs)
