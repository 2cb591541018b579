"""Commands with a time limit each, so that one that crashes or hangs loses nothing but itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GRACE = 8.0  # seconds between the request to stop and the end, in which tests and benches sum up
MOST_OUTPUT = 200_000  # characters of each output that are kept, the last ones


@dataclass(frozen=True)
class Part:
    """weight: its share of the time that is left. least: seconds below which it is skipped.

    well: exit codes that mean that all went well.
    """

    name: str
    command: tuple[str, ...]
    weight: float = 1.0
    least: float = 10.0
    well: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Outcome:
    """status: ok, failed (with the exit code), timeout or skipped. limit: seconds it could have."""

    name: str
    status: str
    seconds: float
    limit: float
    code: int | None = None
    output: str = ""
    errors: str = ""


class Runner:
    """Starts the parts in a folder; once closed it starts no more, and what ran has ended.

    scratch: a folder for what they print.
    """

    def __init__(self, where: Path, scratch: Path) -> None:
        self.where, self.scratch = where, scratch
        path = filter(None, [str(where), os.environ.get("PYTHONPATH", "")])
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUNBUFFERED": "1",
        }
        self.running: set[subprocess.Popen[bytes]] = set()
        self.closed = False

    def close(self) -> None:
        self.closed = True
        for process in tuple(self.running):
            end(process, signal.SIGKILL)

    def run(self, part: Part, limit: float) -> Outcome:
        """Asks it to stop a little before `limit` seconds, and ends it and its children then."""
        if self.closed or limit < part.least:
            return Outcome(part.name, "skipped", 0.0, limit)
        print(f"{part.name}: at most {limit:.0f} s", file=sys.stderr)
        begin, name = time.monotonic(), part.name.replace("/", "-")
        printed = [self.scratch / f"{name}.{kind}" for kind in ("out", "err")]
        with printed[0].open("wb") as out, printed[1].open("wb") as errors:
            process = subprocess.Popen(
                part.command,
                cwd=self.where,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,  # a group of its own, so that its children end with it
            )
            self.running.add(process)
            if self.closed:
                end(process, signal.SIGKILL)
            grace = min(GRACE, limit / 4)
            done = ends_within(process, limit - grace)
            if not done:
                end(process, signal.SIGINT)
                ends_within(process, grace)
            end(process, signal.SIGKILL)
            ends_within(process, GRACE)  # a process that waits for the device may outlive this
            self.running.discard(process)
        status = "ok" if process.returncode in part.well else "failed"
        status = status if done else "timeout"
        seconds = time.monotonic() - begin
        said = [last(path) for path in printed]
        return Outcome(part.name, status, seconds, limit, process.returncode, *said)

    def run_together(self, parts: Sequence[Part], limit: float, at_once: int) -> list[Outcome]:
        """Several at a time, in that order; all of them end within `limit` seconds."""
        deadline = time.monotonic() + limit
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda part: self.run(part, deadline - time.monotonic()), parts))


def ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return False
    return True


def end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Signals the process and its children, which it may have left behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, how)


def last(path: Path, most: int = MOST_OUTPUT) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read().decode(errors="replace")
