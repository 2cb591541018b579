"""The GPU that torch sees, its driver and the libraries, as JSON: what `make gpu` asks first."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("torch", "triton", "numpy", "flash-linear-attention", "fla-core", "mamba-ssm")
ANSWER = 30  # seconds for nvidia-smi


def facts() -> dict[str, object]:
    """gpu is empty where torch sees none."""
    import torch

    from runners.provenance import git

    found: dict[str, object] = {"gpu": "", "python": platform.python_version(), "git": git()}
    found |= {name: installed(name) for name in LIBRARIES}
    found |= {"torch": torch.__version__, "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        of = torch.cuda.get_device_properties(0)
        found |= {"gpu": of.name, "driver": driver(), "capability": f"{of.major}.{of.minor}"}
        found |= {"multiprocessors": of.multi_processor_count, "memory_bytes": of.total_memory}
        torch.ones(1, device="cuda").add_(1).item()  # a device that does not answer shows here
    return found


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (said.splitlines() or [""])[0].strip()


def ceilings() -> dict[str, float]:
    """Bytes copied, products computed and exponentials made per second, measured."""
    import torch

    from runners.bench_roofline import ceilings

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {name: ceilings(device, getattr(torch, name)) for name in ("float32", "bfloat16")}
    measured = {f"{name}_flops_per_second": each.flops_per_second for name, each in found.items()}
    same = ("bytes_per_second", "exponentials_per_second")
    return measured | {name: getattr(found["float32"], name) for name in same}


if __name__ == "__main__":
    print(json.dumps(ceilings() if sys.argv[1:] == ["ceilings"] else facts()))
