"""How many trainings share one GPU: as many as fit into its memory, going by what was measured.

CUDA keeps processes apart in time but not in memory, so nothing but this rule prevents that they
run out of it together. What is measured is memory that torch's allocator held, after the first
validation of a run and at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runners.engines import Group

FRACTION = 0.9  # of a GPU's memory; the rest is for what is not measured, such as fragments
AT_MOST = 8  # processes on one GPU
CONTEXT = 2**30  # bytes allowed to each process for CUDA itself, which torch does not count
VARIED = ("lr", "seed", "data_seed")  # fields without influence on memory
# Where CUDA's libraries lack memory, torch raises an ordinary error with these words.
LACKING = ("out of memory", "ALLOC_FAILED")


@dataclass(frozen=True)
class Memory:
    """peak: most bytes that a process has held. room: bytes it could have, alone on its GPU."""

    peak: int
    room: int


def measured() -> Memory | None:
    """Of this process; None where it uses no GPU. `room` is right while no other is on the GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    peak = torch.cuda.max_memory_reserved() + CONTEXT
    return Memory(peak, min(total, free + torch.cuda.memory_reserved() + CONTEXT))


def admits(room: int, held: Iterable[int], claim: int) -> bool:
    """Whether one more process fits on a GPU. held: bytes that each one there may come to hold.

    claim: bytes that the new one may; 0 where nothing is known, which nothing can be beside.
    """
    held = list(held)
    if not held:
        return True
    known = room > 0 and claim > 0 and all(held)
    return known and len(held) < AT_MOST and sum(held) + claim <= FRACTION * room


def lacked_memory(row: dict[str, Any]) -> bool:
    """Whether a run ended because a GPU, or a library on it, had no memory left."""
    said = str(row.get("error", ""))
    return row["status"] == "oom" or (
        row["status"] == "failed" and any(words in said for words in LACKING)
    )


class Ledger:
    """What was measured so far: the peak of each shape of a group, the room of each GPU."""

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}
        self._rooms: dict[str, int] = {}

    def note(self, device: str, group: Group, memory: Memory) -> bool:
        """Returns: whether this is the first that is known of the GPU."""
        shape, first = _shape(group), device not in self._rooms
        self._peaks[shape] = max(memory.peak, self._peaks.get(shape, 0))
        # Only the first report comes from a process that was alone.
        self._rooms.setdefault(device, memory.room)
        return first

    def room(self, device: str) -> int:
        """Bytes; 0 as long as nothing is known."""
        return self._rooms.get(device, 0)

    def claim(self, group: Group | None = None) -> int:
        """Bytes that a group may come to hold: its shape's peak, else the largest, else 0."""
        largest = max(self._peaks.values(), default=0)
        return self._peaks.get(_shape(group), largest) if group else largest


def _shape(group: Group) -> str:
    fields = group[0].model_dump(mode="json")
    alike = {name: value for name, value in fields.items() if name not in VARIED}
    return json.dumps([len(group), alike], sort_keys=True)
