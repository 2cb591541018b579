"""A sweep whose run takes long to keep its work; it loads no torch.

As a program: `keeping.py drive OUT SECONDS`; OUT/begun and OUT/kept say how far the run is.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runners.engines.local import Local
from runners.engines.worker import Progress, serve
from runners.execution import Execution
from runners.kept import ENDING
from runners.sweep import Stopped, sweep
from tests.light import Light


class Recipe:
    """Its run keeps its work for `seconds` once the process must end."""

    def config(self, fields: dict[str, Any]) -> Light:
        return Light(**fields)

    def blank(self, config: Light, preset: str) -> dict[str, Any]:
        known = {"key": config.key, "task": config.task, "status": "ok"}
        return dataclasses.asdict(config) | known

    def run(
        self,
        configs: Sequence[Light],
        presets: Mapping[str, str],
        progress: Progress,
        execution: Execution,
    ) -> Iterator[dict[str, Any]]:
        (config,) = configs
        ENDING.pending.set()
        Path(config.diary, "begun").touch()
        ENDING.wanted.wait()
        time.sleep(config.seconds)
        Path(config.diary, "kept").touch()
        ENDING.kept.set()
        time.sleep(60)
        yield {}


def drive(out: Path, seconds: float) -> int:
    engine = Local(1, devices=[], command=(sys.executable, "-P", __file__, "worker"))
    try:
        sweep([Light("a", seconds=seconds, diary=str(out))], out, engine)
    except Stopped as stop:
        return 128 + stop.number
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        serve(lambda plugins: {"light": Recipe()}, lambda: None)
    sys.exit(drive(Path(sys.argv[2]), float(sys.argv[3])))
