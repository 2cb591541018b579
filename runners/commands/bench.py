"""lazoo bench: seconds of one MQAR training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import torch
import tyro

import zoo
from runners.bench_step import StepTime, bench_step, zoology_step
from runners.commands import Switch, flag, parse, print_json, print_table, refusals
from runners.grids import changed

EXAMPLES = (
    "lazoo bench",
    "lazoo bench attention metala --threads 1",
    "lazoo bench metala --d-model 128 --batch 64 --length 256 --pairs 16",
)


@dataclass(frozen=True)
class Arguments:
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


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "bench", argv, EXAMPLES)
    shape = {name: getattr(arguments, name) for name in ("d_model", "length", "pairs", "batch")}
    with refusals("bench"):
        names = arguments.names or zoo.names()
        rows = 8 * arguments.batch
        configs = [changed(zoology_step(name), **shape, train_rows=rows) for name in names]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    found = [bench_step(config, steps=arguments.steps) for config in configs]
    if arguments.json:
        print_json([asdict(each) for each in found])
    else:
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
