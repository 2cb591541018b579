"""A worker process as its driver sees it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from runners.engines import Group, Order, Run

Reply = dict[str, Any]


class Process:
    """Starts at once; every reply, every line it prints and its end land in `inbox`.

    slot: its entry for CUDA_VISIBLE_DEVICES, "" on a CPU. state: starting, idle, busy or leaving.
    group: what it was given last, when time.monotonic() was `began`; left: the runs of it that have
    no row yet, by key; rows: what is known of theirs. shared: whether others were on its GPU.
    keeping: whether it is to end and stores a checkpoint first.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        slot: str,
        order: Order,
        inbox: queue.Queue[tuple[Process, Reply]],
    ) -> None:
        # A session of its own keeps Ctrl-C away: the driver decides when a worker ends.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self.slot, self.name = slot, str(self._process.pid)
        self.state = "starting"
        self.group: Group = ()
        self.left: dict[str, Run] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.began, self.shared, self.failed, self.keeping = 0.0, False, False, False
        self._words: deque[str] = deque(maxlen=5)
        self._inbox = inbox
        self._threads = [
            threading.Thread(target=listen, daemon=True) for listen in (self._replies, self._prints)
        ]
        for thread in self._threads:
            thread.start()
        self._presets = order.presets
        settings = {"plugins": order.plugins, "execution": asdict(order.execution)}
        self._send(out=str(order.out), **settings)

    def give(self, group: Group) -> None:
        self.state, self.group, self.began, self.shared = "busy", group, time.monotonic(), False
        self.left = {run.key: run for run in group}
        fields = {run.key: run.model_dump(mode="json") for run in group}
        self.rows = {
            run.key: {"key": run.key, "task": run.task, **fields[run.key], "value": None}
            for run in group
        }
        presets = {run.key: self._presets.get(run.key, "") for run in group}
        self._send(task=group[0].task, runs=list(fields.values()), presets=presets)

    def done(self, row: dict[str, Any]) -> Run:
        """Takes the row of one of its runs; after the last it is idle, or leaves if one failed."""
        run = self.left.pop(row["key"])
        self.failed |= row["status"] == "failed"
        if not self.left:
            self.state = "leaving" if self.failed else "idle"
        return run

    def lost(self, status: str, error: str) -> list[tuple[Run, dict[str, Any]]]:
        """The runs that end with this process, and their rows, which share the seconds."""
        seconds = (time.monotonic() - self.began) / max(1, len(self.group))
        ended = {"status": status, "error": error, "seconds": seconds}
        lost = [(run, self.rows[key] | ended) for key, run in self.left.items()]
        self.state, self.left = "leaving", {}
        return lost

    def kill(self) -> None:
        """Ends the process and its children at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def dismiss(self) -> None:
        """Lets the process end, which it does as soon as it hears that nothing follows."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def join(self, seconds: float) -> bool:
        """Waits for its end. Returns: whether it ended."""
        try:
            self._process.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        self.dismiss()
        for thread in self._threads:
            thread.join(timeout=1.0)
        return True

    def obituary(self) -> str:
        """How it ended, in one line."""
        code = self._process.wait()
        said = f"; it said: {self._words[-1]}" if self._words else ""
        if code >= 0:
            return f"its process left with exit code {code}{said}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        cause = " (out of memory, or killed from outside)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{cause}{said}"

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is heard on standard output
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _replies(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, contextlib.suppress(json.JSONDecodeError):
            for line in lines:  # a last line cut off by a kill says nothing
                reply = json.loads(line)
                if reply["kind"] == "keeping":
                    self.keeping = True  # by then nobody reads the inbox
                else:
                    self._inbox.put((self, reply))
        self._process.wait()
        self._threads[1].join(timeout=1.0)
        self._inbox.put((self, {"kind": "gone"}))

    def _prints(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                if line.strip():
                    self._words.append(line.rstrip())
                    self._inbox.put((self, {"kind": "said", "line": line.rstrip()}))
