"""Runs on this machine, in processes that live through many runs: one thread each on a CPU.

On a GPU machine each process sees one GPU. A process that dies or takes too long is replaced.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence

from runners.engines import Event, Group, Order
from runners.engines.crew import Crew
from runners.engines.packing import AT_MOST

# -P: a file in the user's folder never stands in for one of ours.
COMMAND = (sys.executable, "-P", "-m", "runners.engines.worker")


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
    """jobs: groups at a time, on each GPU where there are GPUs; 0: one on each core, or as many on
    a GPU as its memory is seen to allow, but not more than there are cores for.

    devices: as `gpus`, which is asked when it is None. command: starts a worker.
    """

    def __init__(
        self, jobs: int = 0, devices: Sequence[str] | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        if jobs < 0:
            raise ValueError(
                f"jobs {jobs} is negative; type 1 or more, or 0 to let the machine decide"
            )
        found = list(gpus() if devices is None else devices)
        self._packs = bool(found) and not jobs
        self.jobs = (jobs or 1) * len(found) if found else jobs or cores()
        places = min(AT_MOST, max(1, cores() // len(found))) if self._packs else jobs
        self._slots = found * places if found else [""] * self.jobs
        # A run on a GPU makes its data on the CPU.
        self._threads = max(1, cores() // len(self._slots)) if found else 1
        self._command = command

    def execute(self, groups: Sequence[Group], order: Order) -> Generator[Event]:
        """Groups start in the given order. Raises OSError where a row cannot be written."""
        crew = Crew(self._command, self._threads, self._slots, self._packs, order, groups)
        try:
            while crew.unfinished():
                crew.fill()
                yield from crew.hear()
                yield from crew.late()
        finally:
            crew.dismiss()
