"""lazoo bench: seconds of one MQAR training step, or of the scan operator alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, cast

import torch
import tyro

import zoo
from runners import bench_op
from runners.bench_step import StepTime, bench_step, zoology_step
from runners.commands import Switch, flag, parse, print_json, print_table, refusals
from runners.grids import changed

EXAMPLES = (
    "lazoo bench step",
    "lazoo bench step attention metala --threads 1",
    "lazoo bench step metala --d-model 128 --batch 64 --length 256 --pairs 16",
    "lazoo bench op matrix ssm",
)
SHAPES = {shape.name: shape for shape in bench_op.SHAPES}


@dataclass(frozen=True)
class Step:
    """Time a training step: batch, forward pass, head, loss, backward pass and optimiser.

    The settings are those of zoology's Figure 2 for each model; the flags below change them.
    """

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], flag("none for all", metavar="MODEL ...")
    ] = ()
    d_model: Annotated[int, flag("width, channels", "64")] = 64
    length: Annotated[int, flag("tokens of a row", "64")] = 64
    pairs: Annotated[int, flag("key-value pairs of a row", "4")] = 4
    batch: Annotated[int, flag("rows", "512")] = 512
    steps: Annotated[int, flag("timed updates; their median is printed", "10")] = 10
    threads: Annotated[int, flag("CPU threads; 0 for as many as torch takes", "0")] = 0
    json: Annotated[Switch, flag("the same as JSON")] = False


@dataclass(frozen=True)
class Op:
    """Time the scan operator on the CPU, forward and backward, beside plain loops; one thread."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        flag(f"{', '.join(SHAPES)}; none for all", metavar="SHAPE ..."),
    ] = ()
    repeats: Annotated[int, flag("timed calls of each form", "20")] = 20
    seconds: Annotated[float, flag("after which no further call begins", "3")] = 3.0
    json: Annotated[Switch, flag("the same as JSON")] = False


Arguments = (
    Annotated[Step, tyro.conf.subcommand("step")] | Annotated[Op, tyro.conf.subcommand("op")]
)


def main(argv: Sequence[str]) -> int:
    arguments = parse(cast("type[Step | Op]", Arguments), "bench", argv, EXAMPLES)
    return step(arguments) if isinstance(arguments, Step) else op(arguments)


def step(arguments: Step) -> int:
    shape = {name: getattr(arguments, name) for name in ("d_model", "length", "pairs", "batch")}
    with refusals("bench"):
        names = arguments.names or zoo.names()
        rows = 8 * arguments.batch
        configs = [changed(zoology_step(name), **shape, train_rows=rows) for name in names]
        if arguments.steps < 1:
            raise ValueError(f"steps {arguments.steps} leaves nothing to time; type --steps 1")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    found = []
    for config in configs:
        print(f"timing {config.model}", file=sys.stderr)
        found.append(bench_step(config, steps=arguments.steps))
    if arguments.json:
        print_json([asdict(each) for each in found])
        return 0
    header = ("model", "seconds", "tokens/s", "peak memory", "backends")
    print_table(header, [line(each) for each in found])
    each = found[0]
    print(
        f"\nd{each.d_model}, {each.length} tokens, batch {each.batch}, median of {each.steps}"
        f" steps, {each.device}, {each.threads} threads"
    )
    return 0


def line(found: StepTime) -> tuple[str, ...]:
    memory = f"{found.peak_memory_bytes / 2**20:,.0f} MiB"
    speed = f"{found.tokens_per_second:,.0f}"
    return (found.model, f"{found.step_seconds:.4f}", speed, memory, ", ".join(found.backends))


def op(arguments: Op) -> int:
    with refusals("bench"):
        for name in arguments.names:
            if name not in SHAPES:
                raise ValueError(
                    f"shape {name} is unknown{zoo.suggest(name, list(SHAPES))}"
                    f" The shapes are {', '.join(SHAPES)}"
                )
    found = []
    for name in arguments.names or SHAPES:
        print(f"timing {name}", file=sys.stderr)
        found += bench_op.bench_op((SHAPES[name],), arguments.repeats, arguments.seconds)
    if arguments.json:
        print_json([asdict(each) for each in found])
        return 0
    print_table(bench_op.HEADER, [bench_op.line(each) for each in found])
    for shape in dict.fromkeys(each.shape for each in found):
        print(f"{shape.name}: b {shape.b}, t {shape.t}, h {shape.h}, k {shape.d_k}, v {shape.d_v}")
    return 0
