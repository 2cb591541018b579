"""What this device can do at most, measured: bytes copied, products and exponentials per second."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from runners.bench_counts import Counts
from runners.bench_timing import timed

# Bytes of the copied tensor and rows of the square matrices: far beyond any cache and large enough
# for a GPU to reach its rate, and on a CPU under a second for both together.
SIZES = {"cuda": (2**30, 8192), "cpu": (2**27, 1024)}
REPEATS = {"cuda": 20, "cpu": 3}
# Numbers, and how often each is put through an exponential: on a GPU in registers, enough for every
# multiprocessor; on a CPU in a buffer that stays in a core's cache.
EXPONENTIALS = {"cuda": (2**22, 256), "cpu": (2**14, 256)}


@dataclass(frozen=True)
class Ceilings:
    """bytes_per_second: read plus written by a copy. flops_per_second: of a square product.
    exponentials_per_second: in float32; infinite where a GPU has no Triton to measure it.
    """

    bytes_per_second: float
    flops_per_second: float
    exponentials_per_second: float


def ceilings(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Measures all; float32 products of a GPU are TF32, its fastest unit that takes float32."""
    count, rows = SIZES[device.type]
    numbers, rounds = EXPONENTIALS[device.type]
    return Ceilings(
        2 * count / copy_seconds(device, count),
        2 * rows**3 / product_seconds(device, dtype, rows),
        exponentials_per_second(device, numbers, rounds),
    )


def copy_seconds(device: torch.device, count: int) -> float:
    x = torch.randn(count // 4, device=device)  # count bytes
    y = torch.empty_like(x)
    return median_seconds(lambda: y.copy_(x), device)


def product_seconds(device: torch.device, dtype: torch.dtype, rows: int) -> float:
    a, b = (torch.randn(rows, rows, device=device).to(dtype) for _ in range(2))
    with fastest_products(device):
        return median_seconds(lambda: torch.mm(a, b), device)


def exponentials_per_second(device: torch.device, numbers: int, rounds: int) -> float:
    x = torch.rand(numbers, device=device)
    if device.type == "cpu":
        y = torch.empty_like(x)
        seconds = median_seconds(lambda: [torch.exp(x, out=y) for _ in range(rounds)], device)
    elif importlib.util.find_spec("triton") is None:
        return math.inf
    else:
        from zoo.kernels import exponentials

        seconds = median_seconds(lambda: exponentials.repeated(x, rounds), device)
    return numbers * rounds / seconds


def median_seconds(call: Callable[[], object], device: torch.device) -> float:
    repeats = REPEATS[device.type]
    return timed([call], device, repeats=repeats, seconds=1.0, clock=time.process_time).median


@contextmanager
def fastest_products(device: torch.device) -> Iterator[None]:
    if device.type == "cpu":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def floor_seconds(counts: Counts, most: Ceilings) -> float:
    """No version is much faster: the largest of moving the bytes, of computing the products, and of
    making the exponentials."""
    return max(
        counts.least_bytes / most.bytes_per_second,
        counts.flops / most.flops_per_second,
        counts.exponentials / most.exponentials_per_second,
    )


def share(floor: float, measured: float) -> float:
    """Fraction of the attainable speed that was reached; above 1 only where caches hold it all."""
    return floor / measured if measured > 0 else math.nan
