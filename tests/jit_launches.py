"""Builds models and compiles every kernel that they launch, for Hopper, on a machine without a GPU.

`python -m tests.jit_launches MODEL ...` goes through Triton's own launcher, which decides what each
kernel is specialised on, but for the launch itself. One JSON object a line: kernel and resources.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

import zoo
from zoo.kernels.compilation import HOPPER, usage
from zoo.model import Model
from zoo.scan import on_gpu


class NoGpu:
    """As much of a driver as a launch asks before there is a kernel."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", HOPPER, 32)

    def get_device_interface(self) -> Any:
        return torch.cuda


def compiled_only(self: Any, grid: Any) -> Any:
    """What stands for kernel[grid]: the kernel is compiled, and writes nothing."""

    def launch(*arguments: Any, **options: Any) -> None:
        made = self.run(*arguments, grid=grid, warmup=True, **options)
        registers, spilled = usage(made.asm["cubin"])
        said = {"kernel": f"{self.fn.__module__}.{self.fn.__name__}", "hash": made.hash}
        said |= {"registers": registers, "spilled": spilled, "shared": made.metadata.shared}
        print(json.dumps(said), flush=True)

    return launch


def main(names: list[str]) -> None:
    driver.set_active(NoGpu())  # pyright: ignore[reportArgumentType]
    JITFunction.__getitem__ = compiled_only
    on_gpu.missing = lambda v, dtype: ""
    for name in names:
        model = Model(zoo.load(name), vocabulary=8, d_model=64, depth=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, _ = model(torch.zeros(2, 70, dtype=torch.int64))
        logits.float().sum().backward()


if __name__ == "__main__":
    main(sys.argv[1:])
