"""How many exponentials a GPU makes at most, which bounds the scan of an SSM: nothing but those."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import ceil_div

BLOCK, WARPS = 1024, 4  # numbers of a program: 8 chains of their own in each thread


def repeated(x: Tensor, rounds: int) -> Tensor:
    """exp2(-y) of each number, `rounds` times over. x: float32, any shape. Between two rounds
    nothing is read or written, so this is x.numel() * rounds exponentials and little else."""
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    with torch.cuda.device_of(x):
        repeated_kernel[(ceil_div(x.numel(), BLOCK),)](
            *(x.contiguous(), y, x.numel(), rounds, BLOCK),
            num_warps=WARPS,  # pyright: ignore[reportCallIssue]
        )
    return y


def compilations() -> list[Compilation]:
    types = {"x": "*fp32", "y": "*fp32", "n": "i32", "rounds": "i32"}
    return [Compilation("exponentials", repeated_kernel, types, {"BLOCK": BLOCK}, WARPS)]


@triton.jit
def repeated_kernel(x, y, n, rounds, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(x + i, mask=i < n, other=0.0)
    for _ in range(rounds):
        z = tl.exp2(-z)
    tl.store(y + i, z, mask=i < n)
