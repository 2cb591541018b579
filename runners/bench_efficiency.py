"""Training throughput and memory of full models at equal parameters, against length (Fig. A2).

MetaLA (arXiv 2411.10741), Figure A2 has softmax attention beside linear models on GPUs; its numbers
are in no table. Here too a batch has the same number of tokens at every length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch

import zoo
from runners import bench_equal
from runners.base import Run
from runners.bench_equal import Size, sized
from runners.bench_length import expected
from runners.bench_memory import KIND, peak_bytes
from runners.bench_rows import first_line, row, timing_columns
from runners.bench_updates import (
    UPDATES,
    Updates,
    clock_of,
    held_bytes,
    next_token,
    random_rows,
    timed_updates,
)
from runners.execution import Execution
from runners.forms import form_of, make_step
from runners.memory import is_out_of_memory
from runners.provenance import PeakMemory

SEVERAL = 4  # batches, in turn


@dataclass(frozen=True)
class Plan:
    """tokens: of a batch, at every length. parameters: without embeddings; 0 for attention's.

    repeats: timed updates. seconds: timing of a cell stops after that long, and a length at which
    one update would take longer is left out.
    """

    models: tuple[str, ...]
    lengths: tuple[int, ...]
    tokens: int
    d_model: int
    depth: int
    parameters: int = 0
    vocabulary: int = 256
    dtype: str = "fp32"
    backend: str = "auto"
    repeats: int = 10
    seconds: float = 10.0


QUICK = ("attention", "linformer", "gla", "mamba", "hgrn", "rwkv4", "metala")
PRESETS = {
    "quick": Plan(QUICK, (256, 512, 1024, 2048, 4096), tokens=4096, d_model=128, depth=2),
    "gpu": Plan(
        (*QUICK, "based", "retnet", "hgrn2", "rwkv6", "griffin", "mamba2", "s4d", "delta_net"),
        tuple(2**i for i in range(9, 17)),
        tokens=65_536,
        d_model=1024,
        depth=4,
        dtype="bf16",
    ),
}


def sizes(plan: Plan) -> list[Size]:
    """Raises: ValueError for a name, length or width that cannot be."""
    if wrong := [length for length in plan.lengths if length > plan.tokens or length < 2]:
        raise ValueError(
            f"length {wrong[0]} does not go with {plan.tokens} tokens in a batch; type lengths from"
            f" 2 to {plan.tokens}, or more --tokens"
        )
    for name in plan.models:
        config(name, plan)
    return [sized(name, plan.d_model, plan.depth, plan.parameters) for name in plan.models]


def config(model: str, plan: Plan) -> Run:
    """What the training step reads of it. Raises: ValueError for an unknown model or backend."""
    zoo.load(model)
    how = {"precision": plan.dtype, "backend": plan.backend, "d_model": plan.d_model}
    return Run.model_validate({"model": model, "updates": UPDATES, **how})


def efficiency(
    plan: Plan, device: torch.device, execution: Execution, tell: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """One row for each model and length. tell: hears what is timed next."""
    torch.set_flush_denormal(True)
    for size in sizes(plan):
        known: dict[int, float] = {}
        for length in sorted(plan.lengths):
            if (would := expected(known, length)) > plan.seconds:
                said = f"left out: {would:.1f} s an update expected, limit {plan.seconds:g} s"
                tell(f"{size.model} at {length} {said}")
                yield described(size, length, plan, device, execution, "timeout", said)
                continue
            tell(f"timing {size.model} at {length}")
            found = cell(size, length, plan, device, execution)
            if found["median_seconds"] is not None:
                known[length] = found["median_seconds"]
            yield found


def cell(
    size: Size, length: int, plan: Plan, device: torch.device, execution: Execution
) -> dict[str, Any]:
    status, error, found = "ok", "", dict[str, Any]()
    try:
        found = measured(size, length, plan, device, execution)
    except (RuntimeError, MemoryError) as problem:
        status = "oom" if is_out_of_memory(problem) else "failed"
        error = first_line(problem)
    # Outside of the except block, whose traceback would keep the tensors alive.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return described(size, length, plan, device, execution, status, error, **found)


def measured(
    size: Size, length: int, plan: Plan, device: torch.device, execution: Execution
) -> dict[str, Any]:
    torch.manual_seed(0)
    memory, rows = PeakMemory(device), plan.tokens // length
    model = bench_equal.build(size, plan.vocabulary, device, plan.backend).train()
    how = {"device": device, "execution": execution}
    step = make_step(model, config(size.model, plan), next_token, **how)
    batches = random_rows(rows, length, plan.vocabulary, device, SEVERAL)
    updates, clock = Updates(step, cycle(batches)), clock_of(device)
    timing = timed_updates(updates, device, plan.repeats, plan.seconds, clock)
    if device.type == "cuda":
        most, kind = memory.bytes(), memory.kind
    else:
        most, kind = peak_bytes(updates, device, held_bytes(model, batches[0])), KIND
    return timing_columns(timing, clock, rows * length) | {
        "peak_memory_bytes": most,
        "peak_memory_kind": kind,
        "backends": model.backends(),
    }


def described(
    size: Size,
    length: int,
    plan: Plan,
    device: torch.device,
    execution: Execution,
    status: str,
    error: str,
    **found: Any,
) -> dict[str, Any]:
    spec = zoo.load(size.model)
    what = {"kind": "efficiency", "name": size.model, "model": size.model, "label": spec.label}
    what |= {"family": spec.family, "backend": plan.backend, "dtype": plan.dtype, "form": "own"}
    what |= {"batch": plan.tokens // length, "length": length, "d_model": plan.d_model}
    what |= {"depth": plan.depth, "inner": size.inner, "channel_mixer": "swiglu"}
    what |= {"vocabulary": plan.vocabulary, "step_form": form_of(execution, device)}
    sizes = {"parameters": size.parameters, "target_parameters": size.target}
    sizes |= {"deviation": size.deviation}
    return row(device, what, status, error, **sizes, **found)
