"""What every launch of a kernel asks: sizes of blocks, of the chip, and how exact a matmul is."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from triton import knobs

# Matmuls of float32 operands: three TF32 products on tensor cores, about as exact as float32. The
# others that Triton knows are "ieee" (no tensor cores) and "tf32" (10 bits of mantissa).
FLOAT32_DOT = "tf32x3"
LOG2E = 1.4426950408889634  # exp(x) = exp2(x LOG2E), and exp2 is what the hardware has


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU: slowly, in the tests."""
    return knobs.runtime.interpret


def ceil_div(x: int, y: int) -> int:
    return -(-x // y)


def power_of_two(x: int, least: int = 1) -> int:
    """The smallest power of two that is at least x and `least`."""
    return max(least, 1 << max(0, x - 1).bit_length())


def multiprocessors(x: Tensor) -> int:
    """Of the device of x. An interpreter gets 4, so that small tests take every path."""
    return _multiprocessors(x.device) if x.is_cuda else 4


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
