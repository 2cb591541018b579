"""What each kind of `lazoo bench` times: its settings checked first, then rows as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import torch

import zoo
from runners import bench_efficiency, bench_mixer, bench_op, bench_op_time, bench_step, bench_sweep
from runners import bench_shapes as shapes
from runners import bench_zoology as zoology
from runners.bench_arguments import Efficiency, Mixer, Op, Step, Sweep
from runners.bench_roofline import ceilings
from runners.bench_rows import first_line
from runners.config import Mqar
from runners.execution import Execution
from runners.grids import changed
from runners.presets import QUICK_MODELS

Rows = Iterable[tuple[dict[str, Any], Any]]  # a row, and what --json prints of it
PEER_FAILS = (ImportError, RuntimeError, AssertionError, AttributeError, TypeError, ValueError)


def op(arguments: Op, device: torch.device) -> Rows:
    usual = shapes.SHAPES if device.type == "cpu" else shapes.LARGE
    chosen = [shapes.named(name) for name in arguments.names] or usual
    dtype = arguments.dtype
    if dtype == "auto":
        dtype = "bf16" if device.type == "cuda" else "fp32"
    same = {"repeats": arguments.repeats, "seconds": arguments.seconds, "graph": arguments.graph}
    how = bench_op_time.How(device, dtype, backends=arguments.backend, **same)
    if wrong := [length for length in arguments.length if length < 1]:
        raise ValueError(f"length {wrong[0]} has no tokens; type lengths of at least 1")
    for shape in chosen:  # every refusal comes before the first timing
        bench_op.named_forms(replace(shape, b=1), how)

    def measured() -> Rows:
        if device.type == "cpu":
            torch.set_num_threads(1)
        most = ceilings(device, shapes.DTYPES[dtype])
        for shape in chosen:
            tell(f"timing {shape.name}")
            if arguments.length:
                found = bench_op.bench_lengths(shape, arguments.length, how, most)
            else:
                found = bench_op.bench_shape(shape, how, most)
            for each in found:
                yield bench_op_time.as_row(each, device), asdict(each)

    return measured()


def mixer(arguments: Mixer, device: torch.device) -> Rows:
    names = arguments.names or tuple(zoo.names())
    fields = ("d_model", "batch", "length", "dtype", "backend")
    same = {name: getattr(arguments, name) for name in fields}
    layers = [bench_mixer.Layer(name, **same) for name in names]
    for layer in layers:
        with torch.device("meta"):
            bench_mixer.one_layer(layer)
    how = {"repeats": arguments.repeats, "seconds": arguments.seconds, "graph": arguments.graph}

    def measured() -> Rows:
        for layer in layers:
            tell(f"timing {layer.model}")
            row = bench_mixer.bench_mixer(layer, device, **how)
            yield row, row

    return measured()


def step(arguments: Step, device: torch.device) -> Rows:
    fields = ("d_model", "length", "pairs", "batch")
    shape = {name: getattr(arguments, name) for name in fields}
    shape |= {"train_rows": bench_step.BATCHES * arguments.batch, "precision": arguments.dtype}
    names = arguments.names or tuple(zoo.names())
    configs = [changed(bench_step.zoology_step(name), **shape) for name in names]
    execution = Execution(graph=not arguments.eager)

    def measured() -> Rows:
        for config in configs:
            tell(f"timing {config.model}")
            ours = bench_step.bench_step(config, device, execution, arguments.steps)
            yield bench_step.as_row(ours, config, device), asdict(ours)
            theirs = None if zoology.reason(config) else peer(ours, config, device)
            if theirs is not None:
                yield bench_step.as_row(theirs, config, device), asdict(theirs)

    return measured()


def peer(
    ours: bench_step.StepTime, config: Mqar, device: torch.device
) -> bench_step.StepTime | None:
    """None where the installed version cannot do it, which is said."""
    tell(f"timing zoology's step of {config.model}")
    try:
        return bench_step.bench_peer(ours, config, device)
    except PEER_FAILS as problem:
        tell(f"zoology's step of {config.model} fails: {first_line(problem)}")
        return None


def sweep(arguments: Sweep, device: torch.device) -> Rows:
    names = arguments.names or QUICK_MODELS
    groups = [
        bench_sweep.group(name, arguments.d_model, arguments.lr, arguments.seeds) for name in names
    ]
    execution = Execution(graph=not arguments.eager)

    def measured() -> Rows:
        for configs in groups:
            tell(f"timing {len(configs)} runs of {configs[0].model}")
            for row in bench_sweep.bench_sweep(configs, device, execution, arguments.updates):
                yield row, row

    return measured()


def efficiency(arguments: Efficiency, device: torch.device) -> Rows:
    if arguments.preset not in bench_efficiency.PRESETS:
        known = list(bench_efficiency.PRESETS)
        hint = zoo.suggest(arguments.preset, known)
        raise ValueError(f"preset {arguments.preset!r} is not one of {', '.join(known)}{hint}")
    plan = bench_efficiency.PRESETS[arguments.preset]
    names = tuple(zoo.names()) if arguments.names == ("all",) else arguments.names
    given = {"models": names, "lengths": arguments.length}
    for name in ("tokens", "d_model", "depth", "parameters", "vocabulary", "dtype", "backend"):
        given[name] = getattr(arguments, name)
    given |= {"repeats": arguments.repeats, "seconds": arguments.seconds}
    plan = replace(plan, **{name: value for name, value in given.items() if value})
    for size in bench_efficiency.sizes(plan):
        tell(
            f"{size.model}: inner width {size.inner}, {size.parameters:,} parameters without"
            f" embeddings, {size.deviation:+.2%}"
        )
    execution = Execution(graph=not arguments.eager)
    return ((row, row) for row in bench_efficiency.efficiency(plan, device, execution, tell))


def tell(said: str) -> None:
    print(said, file=sys.stderr)
