"""How long a call takes: CPU time or wall on a CPU, device events on a GPU, inputs in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch

Call = Callable[[], object]

CACHES = 3  # times a GPU's second-level cache that the inputs of all calls together fill
MOST_SETS = 32
CAPTURE_WARM_UP = 3  # calls on a side stream before a capture, as torch.cuda.graph asks for


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, 20th and 80th percentile and the least of `repeats` calls.

    warm_up: seconds of wall time of the calls before, compilation included; not in the others.
    """

    median: float
    p20: float
    p80: float
    shortest: float
    repeats: int
    warm_up: float


def timed(
    calls: Sequence[Call],
    device: torch.device,
    *,
    repeats: int,
    seconds: float,
    clock: Callable[[], float] = time.process_time,
    graph: bool = False,
) -> Timing:
    """Times calls that do the same on inputs of their own, in turn, each once before.

    repeats: timed calls altogether. seconds: no further call begins after about that long; where
    the warm-up alone took longer on a CPU, it is the result. clock: of a CPU; a GPU has its own.
    graph: on a GPU, each call is captured as a CUDA graph and its replays are timed.
    """
    if device.type == "cuda":
        return on_gpu([captured(call) for call in calls] if graph else calls, repeats, seconds)
    return on_cpu(calls, repeats, seconds, clock)


def on_cpu(
    calls: Sequence[Call], repeats: int, seconds: float, clock: Callable[[], float]
) -> Timing:
    begin, taken, warm_up = time.perf_counter(), [], 0.0
    for call in islice(cycle(calls), len(calls) + repeats):
        start = clock()
        call()
        taken.append(clock() - start)
        if len(taken) == len(calls):
            warm_up = time.perf_counter() - begin
        if time.perf_counter() - begin > seconds:
            break
    return summary(taken[len(calls) :] or taken, warm_up or time.perf_counter() - begin)


def on_gpu(calls: Sequence[Call], repeats: int, seconds: float) -> Timing:
    """Events around each call; the host waits once at the end, so it does not slow the device."""
    begin = time.perf_counter()
    for call in calls:
        call()
    torch.cuda.synchronize()
    warm_up, begin = time.perf_counter() - begin, time.perf_counter()
    calls[0]()
    torch.cuda.synchronize()
    once = time.perf_counter() - begin
    spans = []
    for call in islice(cycle(calls), max(1, min(repeats, int(seconds / once)))):
        span = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        span[0].record()
        call()
        span[1].record()
        spans.append(span)
    torch.cuda.synchronize()
    return summary([start.elapsed_time(end) / 1e3 for start, end in spans], warm_up)


def captured(call: Call) -> Call:
    """A call that replays what `call` launches, without the host's time between launches."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(CAPTURE_WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def summary(taken: Sequence[float], warm_up: float) -> Timing:
    low, middle, high = (float(x) for x in np.quantile(taken, (0.2, 0.5, 0.8)))
    return Timing(middle, low, high, min(taken), len(taken), warm_up)


def sets(input_bytes: int, device: torch.device) -> int:
    """How many sets of inputs a GPU's cache does not hold; one on a CPU, as training has it."""
    if device.type != "cuda":
        return 1
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    return max(2, min(MOST_SETS, -(-CACHES * cache // max(1, input_bytes))))


def ratio(seconds: float | None, base: float | None) -> float | None:
    """One time over another, None where one of them is not known."""
    return seconds / base if seconds and base else None


def device_of(name: str) -> torch.device:
    """auto: the GPU where there is one. Raises: ValueError where there is none and one is asked."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("device cuda: torch sees no GPU here; type --device cpu, or lazoo doctor")
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {name!r} is not known; type auto, cpu or cuda")
    return torch.device("cuda" if there and name != "cpu" else "cpu")
