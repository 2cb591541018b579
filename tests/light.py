"""Runs that load no torch, so that tests can start and kill sweeps by the dozen.

As a program: `light.py worker` is the worker, `light.py drive OUT COUNT` a driver with two of them.
"""

import dataclasses
import datetime
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from runners.engines import Event, Finished
from runners.engines.local import Local
from runners.engines.worker import Progress, serve
from runners.progress import Lines
from runners.sweep import Stopped, sweep

COMMAND = (sys.executable, "-P", __file__, "worker")


@dataclass(frozen=True)
class Light:
    """A run that takes `seconds`, in steps of a fifth of it, and ends as `act` says."""

    task: ClassVar[str] = "light"
    model: str
    act: str = "ok"
    seconds: float = 0.0
    updates: int = 5
    diary: str = ""

    @property
    def key(self) -> str:
        return f"{self.model}-{self.act}"

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        return dataclasses.asdict(self)


class Recipe:
    def config(self, fields: dict[str, Any]) -> Light:
        return Light(**fields)

    def blank(self, config: Light, preset: str) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        row = {"key": config.key, "task": config.task, "preset": preset, "status": "ok"}
        return {**config.model_dump(), **row, "value": None, "worker": os.getpid(), "time": now}

    def run(self, config: Light, preset: str, progress: Progress) -> dict[str, Any]:
        if config.diary:
            with Path(config.diary, str(os.getpid())).open("a") as diary:
                print(config.key, file=diary)
        for update in range(config.updates):
            time.sleep(config.seconds / config.updates)
            progress(update + 1, {"valid": 0.5})
        if config.act == "raise":
            raise ArithmeticError("seven is\nnot eight")
        if config.act in signal.Signals.__members__:
            os.kill(os.getpid(), signal.Signals[config.act])
        return self.blank(config, preset) | {"value": 0.5, "steps": 5, "seconds": config.seconds}


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


def drive(out: Path, count: int, seconds: float) -> int:
    (out / "diary").mkdir(parents=True, exist_ok=True)
    try:
        sweep(many(out, count, seconds), out, engine(), view=Told())
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return 128 + stop.number
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        serve(lambda plugins: {"light": Recipe()})
    sys.exit(drive(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
