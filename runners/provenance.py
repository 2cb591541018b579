"""Where a row comes from: machine, versions, git, time. None of it is part of a run's key."""

from __future__ import annotations

import datetime
import platform
import resource
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch


def provenance(device: torch.device) -> dict[str, object]:
    """Flat columns of a row, known before the run begins."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "version": _version(),
        "git": git(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu {platform.machine()}"


@lru_cache(maxsize=1)
def git() -> str:
    """Commit of the source, with + where files differ from it; empty outside a checkout."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return ""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+" if commit and changed else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@lru_cache(maxsize=1)
def _version() -> str:
    try:
        return version("linear-attention-zoo")
    except PackageNotFoundError:
        return ""


class PeakMemory:
    """The most memory in use since `start`, in bytes, and what exactly was measured.

    A GPU: bytes held by torch's allocator. A CPU: resident size of the process, libraries and data
    included; where the system cannot reset its mark, since the process began.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.kind = "process, since it began"
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.kind = "GPU allocator, during the run"
        elif _forget_resident_peak():
            self.kind = "process, during the run"

    def bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if self.kind == "process, during the run":
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM"))
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _forget_resident_peak() -> bool:
    """Sets VmHWM to the size of now (Linux: 5 into clear_refs, see proc(5))."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return "VmHWM" in Path("/proc/self/status").read_text()
    except OSError:
        return False
