"""The most memory that tensors hold during a call, on a GPU and on a CPU alike."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import torch
from torch.profiler import ProfilerActivity, profile

KIND = "tensors, during one call"


def peak_bytes(call: Callable[[], object], device: torch.device, held: int) -> int:
    """Bytes of tensors at the worst moment of a call. held: bytes that were there before it.

    A GPU's allocator counts them. On a CPU torch's profiler tells every allocation, so the number
    is exact and repeats; libraries and the interpreter are not in it. The call should have run
    once before: what it keeps from then on (a gradient, an optimiser's state) belongs to `held`.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return held + max(0, torch.cuda.max_memory_allocated(device) - before)
    now = most = 0
    for change in changes(call):
        now += change
        most = max(most, now)
    return held + most


def changes(call: Callable[[], object]) -> list[int]:
    """Bytes of each allocation, and of each release as a negative number, in their order."""
    with quiet(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
    assert profiled.profiler is not None
    results = profiled.profiler.kineto_results
    assert results is not None
    found = [event for event in results.events() if event.name() == "[memory]"]
    found.sort(key=lambda event: event.start_ns())
    return [event.nbytes() for event in found]  # pyright: ignore[reportAttributeAccessIssue]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps from standard error what the profiler's library prints at start and stop."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
