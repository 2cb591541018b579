"""Compiles the kernels for a GPU that need not be there, and reads what they use of it.

`python -m zoo.kernels.compilation` prints registers, spills and shared memory of every listed
specialisation. A module of kernels lists its own in `compilations()`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import zoo.kernels

HOPPER = 90  # compute capability 9.0
SHARED = 227 * 1024  # bytes that one block may have on Hopper


@dataclass(frozen=True)
class Compilation:
    """One specialisation of a kernel, as a launch would make it.

    signature: argument -> Triton type, such as "*bf16", "i32" or "fp32"; every argument that is not
    in constexprs. spills: bytes of local memory for each thread that are known and accepted.
    """

    name: str
    kernel: Any
    signature: Mapping[str, str]
    constexprs: Mapping[str, Any]
    num_warps: int = 4
    num_stages: int = 2
    spills: int = 0


@dataclass(frozen=True)
class Resources:
    """registers: per thread. spilled: bytes of local memory per thread. shared: bytes per block."""

    registers: int
    spilled: int
    shared: int
    accepted: int = field(default=0)


def compiled(what: Compilation, capability: int = HOPPER) -> Resources:
    """Compiles for that compute capability. Needs no GPU and no driver."""
    names: list[str] = what.kernel.arg_names
    types = {n: "constexpr" if n in what.constexprs else what.signature[n] for n in names}
    # Torch allocates on 512 bytes, so every pointer is known to be a multiple of 16.
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if types[n][0] == "*"}
    constants = {(names.index(n),): value for n, value in what.constexprs.items()}
    source = ASTSource(what.kernel, signature=types, constexprs=constants, attrs=aligned)
    options = {"num_warps": what.num_warps, "num_stages": what.num_stages}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    registers, spilled = usage(made.asm["cubin"])
    return Resources(registers, spilled, made.metadata.shared, what.spills)


def usage(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of local memory per thread, as cuobjdump says."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [tool, "--dump-resource-usage", file.name]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", said)
    assert found, said
    return int(found[1]), max(int(found[2]), int(found[3]))


def every() -> list[Compilation]:
    """What all modules of kernels list."""
    names = [module.name for module in pkgutil.iter_modules(zoo.kernels.__path__)]
    modules = [importlib.import_module(f"zoo.kernels.{n}") for n in names if n != "compilation"]
    return [each for module in modules for each in getattr(module, "compilations", list)()]


def main() -> None:
    """One JSON object a line, for the specialisations whose name has an argument in it."""
    for each in every():
        if len(sys.argv) == 1 or any(part in each.name for part in sys.argv[1:]):
            found = compiled(each)
            print(json.dumps({"name": each.name, **vars(found)}), flush=True)


if __name__ == "__main__":
    main()
