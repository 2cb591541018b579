"""Runs that load no torch, so that tests can start and kill sweeps by the dozen.

As a program: `light.py worker` is the worker, `light.py drive OUT COUNT SECONDS SIZE` a driver with
two of them that get groups of SIZE.
"""

import dataclasses
import datetime
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from runners.engines import Event, Finished, Group
from runners.engines.local import Local
from runners.engines.packing import Memory
from runners.engines.worker import Progress, serve
from runners.execution import Execution
from runners.progress import Lines
from runners.sweep import Stopped, sweep

COMMAND = (sys.executable, "-P", __file__, "worker")
ROOM = 1000  # bytes of a GPU that is none


@dataclass(frozen=True)
class Light:
    """A run that takes `seconds`, in steps of a fifth of it, and ends as `act` says.

    peak: bytes of GPU memory that it claims to hold; 0 for a run on a CPU.
    """

    task: ClassVar[str] = "light"
    model: str
    act: str = "ok"
    seconds: float = 0.0
    updates: int = 5
    diary: str = ""
    seed: int = 0
    peak: int = 0

    @property
    def key(self) -> str:
        return f"{self.model}-{self.act}" + f"-{self.seed}" * (self.seed > 0)

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        return dataclasses.asdict(self)


class Recipe:
    """A group's runs come one after the other, so that one can be killed between two rows."""

    peak = 0

    def config(self, fields: dict[str, Any]) -> Light:
        return Light(**fields)

    def blank(self, config: Light, preset: str) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        row = {"key": config.key, "task": config.task, "preset": preset, "status": "ok"}
        where = {"worker": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
        return {**config.model_dump(), **row, "value": None, **where, "time": now}

    def run(
        self,
        configs: Sequence[Light],
        presets: Mapping[str, str],
        progress: Progress,
        execution: Execution,
    ) -> Iterator[dict[str, Any]]:
        told = {"stacked": len(configs), "execution": dataclasses.asdict(execution)}
        for config in configs:
            if config.act != "leave out":
                yield self.one(config, presets[config.key], progress) | told

    def one(self, config: Light, preset: str, progress: Progress) -> dict[str, Any]:
        times = note(config)
        self.peak = config.peak
        for update in range(config.updates):
            time.sleep(config.seconds / config.updates)
            progress(update + 1, {"valid": 0.5})
        blank = self.blank(config, preset)
        if config.act == "oom" or (config.act.startswith("oom") and times == 1):
            return blank | {"status": "oom", "error": f"no memory the time {times}"}
        if config.act == "raise":
            raise ArithmeticError("seven is\nnot eight")
        if (name := config.act.split()[-1]) in signal.Signals.__members__:
            os.kill(os.getpid(), signal.Signals[name])
        return blank | {"value": 0.5, "steps": 5, "seconds": config.seconds}

    def memory(self) -> Memory | None:
        return Memory(self.peak, ROOM) if self.peak else None


def note(config: Light) -> int:
    """Writes the run into the diary. Returns: how often it is in there."""
    if not config.diary:
        return 0
    diary = Path(config.diary)
    with (diary / str(os.getpid())).open("a") as mine:
        print(config.key, file=mine)
    return sum(page.read_text().splitlines().count(config.key) for page in diary.iterdir())


class Told(Lines):
    """Names each finished run on standard output, where the test reads it."""

    def event(self, event: Event) -> None:
        super().event(event)
        if isinstance(event, Finished) and event.row["status"] == "ok":
            print(event.run.key, flush=True)


def engine(jobs: int = 2) -> Local:
    return Local(jobs, devices=[], command=COMMAND)


def many(out: Path, count: int, seconds: float) -> list[Light]:
    return [Light(f"m{i}", seconds=seconds, diary=str(out / "diary")) for i in range(count)]


def groups_of(size: int, runs: Sequence[Light]) -> list[Group]:
    return [runs[first : first + size] for first in range(0, len(runs), size)]


def drive(out: Path, count: int, seconds: float, size: int) -> int:
    (out / "diary").mkdir(parents=True, exist_ok=True)
    groups = partial(groups_of, size)
    try:
        sweep(many(out, count, seconds), out, engine(), groups=groups, view=Told())
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return 128 + stop.number
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        recipe = Recipe()
        serve(lambda plugins: {"light": recipe}, recipe.memory)
    sys.exit(drive(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
