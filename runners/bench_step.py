"""Seconds of one MQAR training step, the numbers behind `lazoo bench step`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import torch

import zoo
from runners import bench_zoology, mqar
from runners.bench_rows import row
from runners.bench_timing import Timing, ratio, timed
from runners.bench_updates import NO_LIMIT, UPDATES, Updates, timed_updates
from runners.config import Mqar, build
from runners.execution import Execution
from runners.forms import make_step
from runners.grids import changed
from runners.provenance import PeakMemory, device_name
from runners.train import Batch
from runners.zoology import figure2_run

CLOCK = "wall"  # of a CPU: the step of a small model waits for many short calls
BATCHES = 8


@dataclass(frozen=True)
class StepTime:
    """step_seconds: median over `steps` updates, each with head, loss and optimiser.

    peer: whose step it is, "" for ours. ratio: ours over the peer's, on the peer's line.
    """

    model: str
    d_model: int
    length: int
    batch: int
    steps: int
    step_seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    backends: list[str]
    device: str
    threads: int
    dtype: str = "fp32"
    step_form: str = "eager"
    p20: float | None = None
    p80: float | None = None
    peak_memory_kind: str = ""
    parameters: int = 0
    peer: str = ""
    ratio: float | None = None


def zoology_step(model: str) -> Mqar:
    """The shape at which zoology's own step was timed: 64 tokens, 4 pairs, batch 512, width 64."""
    return changed(figure2_run(model, 64, 4), lr=2.154e-3)


def bench_step(
    config: Mqar, where: torch.device, execution: Execution, steps: int = 10
) -> StepTime:
    """Times `steps` updates of a config after some that are not timed, on torch's threads."""
    torch.manual_seed(config.seed)
    torch.set_flush_denormal(True)
    memory = PeakMemory(where)
    model = build(config, where).train()
    lasting = changed(config, updates=UPDATES)
    step = make_step(model, lasting, mqar.loss, device=where, execution=execution)
    updates = Updates(step, batches(config, where))
    timing = timed_updates(updates, where, steps, NO_LIMIT, CLOCK)
    return step_time(config, where, timing, memory, model, model.backends(), step.form)


def bench_peer(ours: StepTime, config: Mqar, where: torch.device) -> StepTime:
    """zoology's own step at the same shape, in float32 and eager as it is written."""
    torch.manual_seed(config.seed)
    memory = PeakMemory(where)
    model = bench_zoology.language_model(config, where)
    step = bench_zoology.Step(model, config, batches(config, where))
    for _ in range(3):
        step()
    how = {"repeats": ours.steps, "seconds": NO_LIMIT, "clock": bench_zoology.CLOCK}
    timing = timed([step], where, **how)
    theirs = step_time(config, where, timing, memory, model, ["zoology"])
    compared = ratio(ours.step_seconds, timing.median)
    return replace(theirs, dtype="fp32", peer="zoology", ratio=compared)


def step_time(
    config: Mqar,
    where: torch.device,
    timing: Timing,
    memory: PeakMemory,
    model: torch.nn.Module,
    backends: list[str],
    step_form: str = "eager",
) -> StepTime:
    return StepTime(
        model=config.model,
        d_model=config.d_model,
        length=config.length,
        batch=config.batch,
        steps=timing.repeats,
        step_seconds=timing.median,
        tokens_per_second=config.batch * config.length / timing.median,
        peak_memory_bytes=memory.bytes(),
        backends=backends,
        device=device_name(where),
        threads=torch.get_num_threads(),
        dtype=config.precision,
        step_form=step_form,
        p20=timing.p20,
        p80=timing.p80,
        peak_memory_kind=memory.kind,
        parameters=sum(p.numel() for p in model.parameters()),
    )


def batches(config: Mqar, device: torch.device) -> Iterator[Batch]:
    """A few batches of the task, made beforehand, without end."""
    rows = changed(config, train_rows=BATCHES * config.batch, valid_rows=1, test_rows=1)
    made = mqar.batches(rows, mqar.splits(rows, device).train)
    return cycle(list(islice(made, BATCHES)))


def as_row(found: StepTime, config: Mqar, device: torch.device) -> dict[str, Any]:
    spec = zoo.load(config.model)
    fields = ("model", "batch", "length", "d_model", "depth", "channel_mixer", "vocabulary")
    what = {name: getattr(config, name) for name in (*fields, "pairs", "backend")}
    what |= {"kind": "step", "name": f"{found.peer or 'ours'} {config.model}", "peer": found.peer}
    what |= {"label": spec.label, "family": spec.family, "dtype": found.dtype}
    what |= {"step_form": found.step_form, "form": found.peer or "own", "stacked": 1}
    same = ("p20", "p80", "tokens_per_second", "peak_memory_bytes", "peak_memory_kind")
    same += ("parameters", "backends", "ratio")
    clock = "device events" if device.type == "cuda" else CLOCK
    measured = {name: getattr(found, name) for name in same}
    measured |= {"median_seconds": found.step_seconds, "repeats": found.steps, "clock": clock}
    return row(device, what, **measured)
