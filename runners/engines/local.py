"""Runs on this machine, in processes that live through many runs: one thread each on a CPU.

On a GPU machine each process sees one GPU. A process that dies or takes too long is replaced.
"""

from __future__ import annotations

import os
import queue
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from runners.engines import Event, Finished, Lost, Order, Reached, Run, Said, Started
from runners.engines.process import Process, Reply

SOURCE = Path(__file__).resolve().parents[2]
# -P: a file in the user's folder never stands in for one of ours.
COMMAND = (sys.executable, "-P", "-m", "runners.engines.worker")
STARTS = 3  # processes in a row that may end before they are ready
TICK = 0.1  # seconds between looks at the clock
LEAVE = 2.0  # seconds a process has to leave by itself


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """Entries for CUDA_VISIBLE_DEVICES, one for each GPU that torch sees."""
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return (visible.split(",") if visible else [str(index) for index in range(count)])[:count]


class Local:
    """jobs: runs at a time, for each GPU where there are GPUs; 0: one for each core, or GPU.

    devices: as `gpus`, which is asked when it is None. command: starts a worker.
    """

    def __init__(
        self, jobs: int = 0, devices: Sequence[str] | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        if jobs < 0:
            raise ValueError(
                f"jobs {jobs} is negative; type 1 or more, or 0 to let the machine decide"
            )
        found = gpus() if devices is None else devices
        self._slots = list(found) * (jobs or 1) if found else [""] * (jobs or cores())
        # A run on a GPU makes its data on the CPU.
        self._threads = max(1, cores() // len(self._slots)) if found else 1
        self._command = command

    @property
    def jobs(self) -> int:
        return len(self._slots)

    def execute(self, runs: Sequence[Run], order: Order) -> Generator[Event]:
        """Runs start in the given order. Raises OSError where a row cannot be written."""
        crew = Crew(self._command, self._threads, self._slots[: len(runs)], order)
        waiting = deque(runs)
        try:
            while waiting or crew.busy():
                crew.fill(waiting)
                yield from crew.hear()
                yield from crew.late()
        finally:
            crew.dismiss()


class Crew:
    """The processes of one sweep. slots: those without a process."""

    def __init__(
        self, command: Sequence[str], threads: int, slots: Sequence[str], order: Order
    ) -> None:
        self.slots, self.members = list(slots), list[Process]()
        self._command, self._threads, self._order = command, threads, order
        self._inbox: queue.Queue[tuple[Process, Reply]] = queue.Queue()
        self._bad_starts = 0

    def busy(self) -> bool:
        return any(member.state == "busy" for member in self.members)

    def fill(self, waiting: deque[Run]) -> None:
        """Gives runs to idle processes, and starts processes for what still waits."""
        for member in self.members:
            if waiting and member.state == "idle":
                member.give(waiting.popleft())
        coming = sum(member.state == "starting" for member in self.members)
        for _ in range(min(len(self.slots), len(waiting) - coming)):
            slot = self.slots.pop(0)
            environment = self._environment(slot)
            self.members.append(Process(self._command, environment, slot, self._order, self._inbox))

    def hear(self) -> Iterator[Event]:
        """The next thing a process says, as an event."""
        try:
            member, reply = self._inbox.get(timeout=TICK)
        except queue.Empty:
            return
        kind, run = reply["kind"], member.run
        if kind == "ready":
            member.state, self._bad_starts = "idle", 0
        elif kind == "said":
            yield Said(member.name, reply["line"])
        elif kind == "unwritable":
            raise OSError(reply["error"])
        elif kind == "gone":
            yield from self._bury(member)
        elif run is None:
            return  # it was given up before its last words were heard
        elif kind == "started":
            member.row, member.began = reply["row"], time.monotonic()
            yield Started(run, member.name)
        elif kind == "reached":
            yield Reached(run, member.name, reply["step"], reply["metric"])
        elif kind == "finished":
            member.run = None
            member.state = "leaving" if reply["row"]["status"] == "failed" else "idle"
            yield Finished(run, member.name, reply["row"])

    def late(self) -> Iterator[Event]:
        """Ends what is over its time."""
        limit = self._order.timeout
        for member in self.members:
            if limit and member.run and time.monotonic() - member.began > limit:
                member.kill()
                run, row = member.run, member.lost("timeout", f"not done after {limit:g} seconds")
                yield Lost(run, member.name, row)

    def dismiss(self) -> None:
        """Lets every process end, and ends those that do not."""
        for member in self.members:
            member.dismiss()
        until = time.monotonic() + LEAVE
        for member in self.members:
            if not member.join(until - time.monotonic()):
                member.kill()
                member.join(LEAVE)

    def _bury(self, member: Process) -> Iterator[Event]:
        self.members.remove(member)
        self.slots.append(member.slot)
        end, run = member.obituary(), member.run
        member.join(0.0)
        if run is not None:
            yield Lost(run, member.name, member.lost("failed", end))
        elif member.state == "starting":
            self._bad_starts += 1
            if self._bad_starts == STARTS:
                raise RuntimeError(f"{STARTS} workers in a row could not start; {end}")

    def _environment(self, slot: str) -> dict[str, str]:
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        paths = (str(SOURCE), os.environ.get("PYTHONPATH", ""))
        changed: dict[str, str] = {name: str(self._threads) for name in threads}
        changed["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        if slot:
            changed["CUDA_VISIBLE_DEVICES"] = slot
        return os.environ | changed
