"""What the timing of a scan is told, what it finds, and how that is printed and stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from runners.bench_counts import scan_counts
from runners.bench_forms import Named
from runners.bench_memory import KIND
from runners.bench_roofline import Ceilings, floor_seconds
from runners.bench_rows import row
from runners.bench_shapes import DTYPES, Shape
from runners.provenance import device_name


@dataclass(frozen=True)
class How:
    """repeats: timed calls of a form. seconds: no further call is begun after that long, and a
    length that would take longer is left out. backends, loops: see forms_of. graph: see timed.
    """

    device: torch.device
    dtype: str = "fp32"
    repeats: int = 20
    seconds: float = 3.0
    backends: tuple[str, ...] = ()
    loops: bool = True
    graph: bool = False


@dataclass(frozen=True)
class OpTime:
    """Seconds of one forward and backward pass, gradients to every input: CPU time on a CPU.

    slower: this form's median divided by that of the backend that "auto" takes, which comes first.
    floor_seconds, share: see bench_roofline. None is what is not known.
    """

    shape: Shape
    form: str
    backend: str
    dtype: str
    device: str
    step_form: str
    least_bytes: int
    flops: int
    exponentials: int
    floor_seconds: float
    bytes_per_second: float
    flops_per_second: float
    exponentials_per_second: float
    status: str = "ok"
    error: str = ""
    repeats: int = 0
    shortest: float | None = None
    median: float | None = None
    p20: float | None = None
    p80: float | None = None
    warm_up: float | None = None
    peak_memory_bytes: int | None = None
    slower: float | None = None
    share: float | None = None


def blank(shape: Shape, form: Named, how: How, most: Ceilings) -> OpTime:
    counts = scan_counts(shape, DTYPES[how.dtype].itemsize)
    graph = how.graph and how.device.type == "cuda"
    return OpTime(
        shape,
        form.name,
        form.backend,
        how.dtype,
        device_name(how.device),
        "cuda graph" if graph else "eager",
        **asdict(counts),
        floor_seconds=floor_seconds(counts, most),
        **asdict(most),
    )


def as_row(found: OpTime, device: torch.device) -> dict[str, Any]:
    shape = found.shape
    what = {"kind": "op", "name": shape.name, "decay": shape.kind, "batch": shape.b}
    what |= {"length": shape.t, "heads": shape.h, "d_k": shape.d_k, "d_v": shape.d_v}
    what |= {"erases": shape.erases, "tied": shape.tied, "dtype": found.dtype}
    what |= {"backend": found.backend, "form": found.form, "step_form": found.step_form}
    tokens = shape.b * shape.t
    same = ("least_bytes", "flops", "exponentials", "floor_seconds", "share", "p20", "p80")
    same += ("repeats", "peak_memory_bytes", "bytes_per_second", "flops_per_second")
    same += ("exponentials_per_second",)
    return row(
        device,
        what,
        found.status,
        found.error,
        **{name: getattr(found, name) for name in same},
        median_seconds=found.median,
        warm_up_seconds=found.warm_up,
        clock="CPU time" if device.type == "cpu" else "device events",
        ratio=found.slower,
        tokens_per_second=None if found.median is None else tokens / found.median,
        peak_memory_kind=KIND,
    )
