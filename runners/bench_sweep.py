"""A group of runs stacked as one batched model, and one after another: `lazoo bench sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import zoo
from runners import mqar, stack
from runners.bench_rows import first_line, row, timing_columns
from runners.bench_step import batches
from runners.bench_timing import Timing, ratio
from runners.bench_updates import NO_LIMIT, UPDATES, Updates, clock_of, timed_updates
from runners.config import Mqar, build
from runners.execution import Execution
from runners.forms import make_device_step, make_step
from runners.grids import changed, grid
from runners.memory import is_out_of_memory
from runners.presets import QUICK
from runners.provenance import PeakMemory
from runners.stacked import Stacked
from runners.step import Step
from zoo.model import Model

ALONE, TOGETHER = "one after another", "stacked"


def group(model: str, d_model: int, rates: Sequence[float], seeds: int) -> list[Mqar]:
    """Runs of the quick task that differ in learning rate and seed alone."""
    base = changed(QUICK, model=model, d_model=d_model)
    lasting = {"updates": UPDATES, "warmup": 0}
    return grid(changed(base, **lasting), lr=list(rates), seed=list(range(seeds)))


def bench_sweep(
    configs: Sequence[Mqar], device: torch.device, execution: Execution, updates: int
) -> list[dict[str, Any]]:
    """Two rows: seconds in which every run of the group makes one update.

    ratio: of the stacked group's seconds over those of one run after another.
    """
    alone = side(ALONE, configs, device, execution, updates)
    together = side(TOGETHER, configs, device, execution, updates)
    together["ratio"] = ratio(together["median_seconds"], alone["median_seconds"])
    return [alone, together]


def side(
    form: str, configs: Sequence[Mqar], device: torch.device, execution: Execution, updates: int
) -> dict[str, Any]:
    """One of the two rows; what cannot be stacked or has no memory is a row, too."""
    status, error, found = "ok", "", dict[str, Any]()
    memory = PeakMemory(device)
    try:
        if form == TOGETHER and (reason := stack.why_alone(configs[0])):
            raise RuntimeError(f"cannot be stacked: {reason}")
        timed = stacked if form == TOGETHER else one_by_one
        found = columns(timed(configs, device, execution, updates), configs, device)
        found |= {"peak_memory_bytes": memory.bytes(), "peak_memory_kind": memory.kind}
    except (RuntimeError, MemoryError) as problem:
        status = "oom" if is_out_of_memory(problem) else "failed"
        error = first_line(problem)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    first = configs[0]
    spec = zoo.load(first.model)
    fields = ("model", "batch", "length", "d_model", "depth", "channel_mixer", "vocabulary")
    what = {name: getattr(first, name) for name in (*fields, "pairs", "backend")}
    what |= {"kind": "sweep", "name": first.model, "form": form, "runs": len(configs)}
    what |= {"label": spec.label, "family": spec.family, "dtype": first.precision}
    what |= {"stacked": len(configs) if form == TOGETHER else 1}
    step_form = "cuda graph" if device.type == "cuda" and execution.graph else "eager"
    return row(device, what | {"step_form": step_form}, status, error, **found)


def one_by_one(
    configs: Sequence[Mqar], device: torch.device, execution: Execution, updates: int
) -> Timing:
    """The sum over runs of what an update of each takes."""
    found = []
    for config in configs:
        step = make_step(
            seeded(config, device), config, mqar.loss, device=device, execution=execution
        )
        found.append(timed(step, config, device, updates))
    sums = {name: sum(getattr(each, name) for each in found) for name in SECONDS}
    return Timing(repeats=found[0].repeats, **sums)


SECONDS = ("median", "p20", "p80", "shortest", "warm_up")  # of a Timing, which add up


def stacked(
    configs: Sequence[Mqar], device: torch.device, execution: Execution, updates: int
) -> Timing:
    models = Stacked([seeded(config, device) for config in configs], mqar.loss)
    with stack.slow_maps_allowed():
        step = make_device_step(models, configs, device=device, execution=execution)
        return timed(step, configs[0], device, updates)


def timed(step: Step, config: Mqar, device: torch.device, updates: int) -> Timing:
    made = Updates(step, batches(config, device))
    return timed_updates(made, device, updates, NO_LIMIT, clock_of(device))


def seeded(config: Mqar, device: torch.device) -> Model:
    torch.manual_seed(config.seed)
    return build(config, device).train()


def columns(timing: Timing, configs: Sequence[Mqar], device: torch.device) -> dict[str, Any]:
    tokens = len(configs) * configs[0].batch * configs[0].length
    return timing_columns(timing, clock_of(device), tokens)
