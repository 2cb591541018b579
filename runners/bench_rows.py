"""Timings as rows of the store: task `bench`, one row for each thing that was measured."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from runners.bench_timing import Timing
from runners.provenance import provenance

TASK, VERSION = "bench", 1
LIBRARIES = ("triton", "flash-linear-attention", "mamba-ssm", "mambapy", "zoology")
# What is measured. Together with the device, the threads and the libraries they make the key.
WHAT = """kind name model label family backend form peer dtype step_form stacked decay erases tied
    batch length heads d_k d_v d_model depth inner channel_mixer vocabulary pairs runs""".split()  # noqa: SIM905  as words
MEASURED = """median_seconds p20 p80 repeats warm_up_seconds clock tokens_per_second
    peak_memory_bytes peak_memory_kind least_bytes flops exponentials floor_seconds share ratio
    bytes_per_second flops_per_second exponentials_per_second parameters target_parameters
    deviation backends""".split()  # noqa: SIM905  as words
LABELS = ("label", "family")  # say what a name means, and are no part of the key


def row(
    device: torch.device, what: dict[str, Any], status: str = "ok", error: str = "", **measured: Any
) -> dict[str, Any]:
    """One row with every column, None where there is nothing to say.

    what: of WHAT, at least its kind and name. measured: of MEASURED.
    """
    assert {*what} <= {*WHAT}, {*what} - {*WHAT}
    assert {*measured} <= {*MEASURED}, {*measured} - {*MEASURED}
    where = provenance(device) | {"libraries": libraries()}
    same = {name: where[name] for name in ("device", "threads", "torch", "libraries")}
    content = {name: what.get(name) for name in WHAT if name not in LABELS}
    text = json.dumps({**content, **same, "version": VERSION}, sort_keys=True, allow_nan=False)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    made = {"key": key, "task": TASK, "task_version": VERSION, "status": status, "error": error}
    filled = {name: what.get(name) for name in WHAT}
    return made | filled | {name: measured.get(name) for name in MEASURED} | where


def timing_columns(timing: Timing, clock: str, tokens: int) -> dict[str, Any]:
    """clock: what the seconds are of. tokens: of one call."""
    return {
        "median_seconds": timing.median,
        "p20": timing.p20,
        "p80": timing.p80,
        "repeats": timing.repeats,
        "warm_up_seconds": timing.warm_up,
        "clock": clock,
        "tokens_per_second": tokens / timing.median,
    }


def libraries() -> str:
    """`triton 3.7.1, mambapy 1.2.0`: the installed ones among those that a timing may depend on."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
