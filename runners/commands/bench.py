"""lazoo bench: time the operator, a layer, a training step, a group of runs, or whole models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import torch
import tyro

from results.store import Store
from runners import bench_kinds
from runners.bench_arguments import Common, Efficiency, Mixer, Op, Step, Sweep
from runners.bench_timing import device_of
from runners.commands import parse, print_json, refusals, typed
from runners.commands.table import print_rows

EXAMPLES = (
    "lazoo bench op matrix ssm",
    "lazoo bench op vector --length 512 1024 2048 4096",
    "lazoo bench mixer metala mamba --length 1024",
    "lazoo bench step attention metala --threads 1",
    "lazoo bench step metala --d-model 128 --batch 64 --length 256 --pairs 16",
    "lazoo bench sweep gla --lr 0.003 0.01 --seeds 2",
    "lazoo bench efficiency --preset quick",
)
Arguments = (
    Annotated[Op, tyro.conf.subcommand("op")]
    | Annotated[Mixer, tyro.conf.subcommand("mixer")]
    | Annotated[Step, tyro.conf.subcommand("step")]
    | Annotated[Sweep, tyro.conf.subcommand("sweep")]
    | Annotated[Efficiency, tyro.conf.subcommand("efficiency")]
)
KINDS: dict[type, Callable[[Any, torch.device], bench_kinds.Rows]] = {
    Op: bench_kinds.op,
    Mixer: bench_kinds.mixer,
    Step: bench_kinds.step,
    Sweep: bench_kinds.sweep,
    Efficiency: bench_kinds.efficiency,
}


def main(argv: Sequence[str]) -> int:
    """Rows are stored one by one as they are measured, so Ctrl-C loses none."""
    arguments = parse(cast("type[Common]", Arguments), "bench", argv, EXAMPLES)
    with refusals("bench"):
        enough(arguments)
        device = device_of(arguments.device)
        measured = KINDS[type(arguments)](arguments, device)
    if threads := getattr(arguments, "threads", 0):
        torch.set_num_threads(threads)
    store, rows, told = Store(arguments.out), [], []
    with refusals("bench"):  # a backend can refuse a model once it sees what is asked of it
        for row, said in measured:
            store.append(row)
            rows.append(row)
            told.append(said)
    if arguments.json:
        print_json(told)
    else:
        name = "efficiency" if isinstance(arguments, Efficiency) else "bench"
        print_rows(name, rows, typed("bench", argv))
    return int(any(row["status"] == "failed" for row in rows))


def enough(arguments: Common) -> None:
    """Raises: ValueError where there would be nothing to time."""
    if isinstance(arguments, Efficiency):  # 0 is the preset's
        return
    for name in ("repeats", "steps", "updates", "seeds"):
        if (value := getattr(arguments, name, 1)) < 1:
            raise ValueError(f"{name} {value} leaves nothing to time; type --{name} 1")
