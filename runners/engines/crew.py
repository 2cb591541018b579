"""The worker processes of one sweep: who gets what to do, and what becomes of it."""

from __future__ import annotations

import os
import queue
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from runners.engines import (
    Again,
    Event,
    Finished,
    Group,
    Lost,
    Order,
    Reached,
    Said,
    Started,
    packing,
)
from runners.engines.process import Process, Reply
from runners.kept import PATIENCE

SOURCE = Path(__file__).resolve().parents[2]
STARTS = 3  # processes in a row that may end before they are ready
TICK = 0.1  # seconds between looks at the clock
LEAVE = 2.0  # seconds a process has to leave by itself
GIB = 2**30


class Crew:
    """waiting: groups that no process has. slots: places without a process.

    packs: whether a slot is used only once its GPU has room, instead of always.
    """

    def __init__(
        self,
        command: Sequence[str],
        threads: int,
        slots: Sequence[str],
        packs: bool,
        order: Order,
        groups: Sequence[Group],
    ) -> None:
        self.waiting, self.slots, self.members = deque(groups), list(slots), list[Process]()
        self._command, self._threads, self._packs, self._order = command, threads, packs, order
        self._inbox: queue.Queue[tuple[Process, Reply]] = queue.Queue()
        self._bad_starts = 0
        self._memory = packing.Ledger()
        self._again: set[str] = set()  # keys of runs that lacked memory beside others

    def unfinished(self) -> bool:
        return bool(self.waiting) or any(member.state == "busy" for member in self.members)

    def fill(self) -> None:
        """Gives groups to idle processes, and starts processes for what still waits."""
        for member in self.members:
            if self.waiting and member.state == "idle" and self._admits(member.slot, 0):
                self._give(member, self.waiting.popleft())
        coming = sum(member.state == "starting" for member in self.members)
        for slot in list(self.slots):
            if coming < len(self.waiting) and self._admits(slot, coming):
                self.slots.remove(slot)
                environment = self._environment(slot)
                process = Process(self._command, environment, slot, self._order, self._inbox)
                self.members.append(process)
                coming += 1

    def hear(self) -> Iterator[Event]:
        """The next thing a process says, as events."""
        try:
            member, reply = self._inbox.get(timeout=TICK)
        except queue.Empty:
            return
        kind = reply["kind"]
        if kind == "ready":
            member.state, self._bad_starts = "idle", 0
        elif kind == "said":
            yield Said(member.name, reply["line"])
        elif kind == "unwritable":
            raise OSError(reply["error"])
        elif kind == "gone":
            yield from self._bury(member)
        elif kind == "memory":
            yield from self._note(member, packing.Memory(reply["peak"], reply["room"]))
        elif kind == "reached":
            for run in member.left.values():
                yield Reached(run, member.name, reply["step"], reply["metric"])
        elif reply["row"]["key"] not in member.left:
            return  # it was given up before its last words were heard
        elif kind == "started":
            key = reply["row"]["key"]
            member.rows[key], member.began = reply["row"], time.monotonic()
            yield Started(member.left[key], member.name)
        elif kind == "finished":
            yield self._finish(member, reply["row"])

    def late(self) -> Iterator[Event]:
        """Ends what is over its time."""
        for member in self.members:
            limit = self._order.timeout * len(member.group)
            if limit and member.left and time.monotonic() - member.began > limit:
                member.kill()
                together = f", {len(member.group)} together" if len(member.group) > 1 else ""
                error = f"not done after {limit:g} seconds{together}"
                yield from self._lose(member, "timeout", error)

    def dismiss(self) -> None:
        """Lets every process end, with a checkpoint where it has one to store, and ends the others.

        What interrupts this ends them all.
        """
        for member in self.members:
            member.dismiss()
        try:
            self._wait(self.members, LEAVE)
            keeping = [m for m in self.members if m.keeping and not m.join(0.0)]
            if keeping:
                how = "waiting {:g} s at most for checkpoints; a second signal ends it at once"
                print(how.format(PATIENCE), file=sys.stderr)
                self._wait(keeping, PATIENCE)
        finally:
            for member in self.members:
                if not member.join(0.0):
                    member.kill()
                    member.join(LEAVE)

    def _wait(self, members: Sequence[Process], seconds: float) -> None:
        """Until they have ended, or the time is over."""
        until = time.monotonic() + seconds
        for member in members:
            member.join(until - time.monotonic())

    def _admits(self, slot: str, place: int) -> bool:
        """Whether a GPU can take what waits at `place` beside what it has; a CPU always can."""
        there = [m for m in self.members if m.slot == slot and m.state != "idle"]
        if not slot or not there:
            return True
        group = self.waiting[place]
        if self._is_alone(group) or any(self._is_alone(member.group) for member in there):
            return False
        if not self._packs:
            return True
        held = [self._memory.claim(member.group) for member in there]
        return packing.admits(self._memory.room(slot), held, self._memory.claim(group))

    def _give(self, member: Process, group: Group) -> None:
        member.give(group)
        beside = [m for m in self.members if m.slot == member.slot and m.state == "busy"]
        if member.slot and len(beside) > 1:
            for each in beside:
                each.shared = True

    def _is_alone(self, group: Group) -> bool:
        return any(run.key in self._again for run in group)

    def _note(self, member: Process, memory: packing.Memory) -> Iterator[Event]:
        if self._memory.note(member.slot, member.group, memory) and self._packs:
            peak, room = memory.peak / GIB, memory.room / GIB
            line = f"holds {peak:.1f} of {room:.1f} GiB of its GPU; more start where they fit"
            yield Said(member.name, line)

    def _finish(self, member: Process, row: dict) -> Event:
        run = member.done(row)
        crowded = member.shared or len(member.group) > 1
        if crowded and run.key not in self._again and packing.lacked_memory(row):
            self._again.add(run.key)
            self.waiting.append((run,))
            return Again(run, member.name, row)
        return Finished(run, member.name, row)

    def _lose(self, member: Process, status: str, error: str) -> Iterator[Event]:
        for run, row in member.lost(status, error):
            yield Lost(run, member.name, row)

    def _bury(self, member: Process) -> Iterator[Event]:
        self.members.remove(member)
        self.slots.append(member.slot)
        end, starting = member.obituary(), member.state == "starting"
        member.join(0.0)
        yield from self._lose(member, "failed", end)
        if starting:
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
