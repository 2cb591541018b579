"""lazoo mqar: a grid of MQAR runs from flags or a preset, then the table and the plot."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import zoo
from results.store import Store
from runners import axes, presets, progress, stack
from runners.commands import Switch, flag, parse, refusals, typed
from runners.commands.plot import write_plot
from runners.commands.table import print_rows, write_table
from runners.config import Mqar
from runners.engines import Engine, make
from runners.estimate import estimate
from runners.execution import Execution
from runners.sweep import Stopped, Swept, settled, sweep

NAME = "mqar"
EXAMPLES = (
    "lazoo mqar --preset quick",
    "lazoo mqar --preset paper --dry-run",
    "lazoo mqar --preset quick --model metala gla --d-model 32 --lr 0.003 0.01",
    "lazoo mqar --model metala --d-model 32 64 --length 64 --pairs 4 --vocabulary 256 --dry-run",
)
PRESET = (
    f"a named list of runs: {', '.join(presets.MQAR)}. A flag beside it selects the runs that have"
    " its values; a value that no run of the preset has is put into all of them"
)
JOBS = "runs at a time, on each GPU if there are any; 0 for one per CPU core, or what a GPU holds"
STACK = (
    "runs that differ in lr and seed alone and train as one batched model, at most so many; their"
    " results agree with single runs up to rounding and dropout draws"
)
PLUGIN = "files that define one model each; without --model, these models are run"


@dataclass(frozen=True)
class Sweep:
    """What is run, and how."""

    preset: Annotated[str, flag(PRESET)] = ""
    dry_run: Annotated[Switch, flag("list the runs, estimate the time, train nothing")] = False
    jobs: Annotated[int, flag(JOBS)] = 0
    engine: Annotated[str, flag("where the runs execute; local is this machine", "local")] = "local"
    force: Annotated[Switch, flag("also do the runs that are stored already")] = False
    timeout: Annotated[float, flag("seconds that one run may take; 0 for no limit", "0")] = 0.0
    out: Annotated[Path, flag("folder of rows, tables and plots", "runs")] = Path("runs")
    plugin: Annotated[tuple[Path, ...], flag(PLUGIN)] = ()
    stack: Annotated[int, flag(STACK, "1")] = 1
    graph: Annotated[Switch, flag("on a GPU, launch the operations of an update one by one")] = True
    compile: Annotated[Switch, flag("put the models through torch.compile")] = False


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, NAME, argv, EXAMPLES)
    options: Sweep = arguments.sweep
    with refusals(NAME):
        plugins = {zoo.plugin(path): path for path in options.plugin}
        runs = wanted(options.preset, axes.given(arguments.fields, Mqar), list(plugins))
        engine = make(options.engine, options.jobs)
        execution = executed(options)
        if options.timeout < 0:
            raise ValueError(f"timeout {options.timeout:g} is negative; --timeout 0 is no limit")
    if options.dry_run:
        return dry_run(runs, options, engine, plugins)
    command = typed(NAME, argv)
    try:
        swept = sweep(
            runs,
            options.out,
            engine,
            force=options.force,
            timeout=options.timeout,
            plugins=plugins,
            presets=from_preset(options.preset),
            cost=cost,
            execution=execution,
            groups=partial(stack.groups, size=execution.stack),
            view=progress.view(),
        )
    except Stopped as stop:
        how = "--force begins anew" if options.force else "the same command does the rest"
        print(f"{stop}; {how}:\n  {command}", file=sys.stderr)
        return 128 + stop.number
    except RuntimeError as error:  # no worker could start
        print(f"lazoo {NAME}: {error}; lazoo doctor may know why", file=sys.stderr)
        return 1
    return report(swept, options.out, command)


def report(swept: Swept, out: Path, command: str) -> int:
    """Prints the table of these runs; writes tables and plots of all rows in the folder."""
    print_rows(NAME, swept.rows, command)
    rows = Store(out).read(NAME)
    files = write_table(NAME, rows, out, command)
    print(*files, *write_plot(NAME, rows, out, command), sep="\n")
    for row in swept.failed:
        what = f"{row['model']} d{row['d_model']} lr {row['lr']:g}"
        print(f"{row['status']}: {what}: {row['error']}", file=sys.stderr)
    return int(bool(swept.failed))


def executed(options: Sweep) -> Execution:
    """Raises: ValueError for what cannot be executed."""
    if options.stack < 1:
        raise ValueError(f"stack {options.stack} trains nothing; type --stack 1, or more than 1")
    if options.stack > 1 and options.compile:
        raise ValueError("stacked runs cannot be compiled; leave out --compile, or type --stack 1")
    return Execution(options.stack, options.graph, options.compile)


def wanted(preset: str, given: Mapping[str, tuple[Any, ...]], plugins: Sequence[str]) -> list[Mqar]:
    """The runs that the command line asks for. Raises: ValueError for what cannot run."""
    if plugins and "model" not in given:
        given = {"model": tuple(plugins), **given}
    if preset:
        return axes.narrowed(presets.preset(preset), given)
    if "model" not in given:
        raise ValueError(
            "nothing to run; type --preset quick, or --model and a name (lazoo models)"
        )
    return axes.product(Mqar, given)


def from_preset(name: str) -> dict[str, str]:
    """The keys of a preset's own runs; one that a flag changed is no longer among them."""
    return {run.key: name for run in presets.preset(name)} if name else {}


def cost(run: Mqar) -> float:
    """Multiplications of a run, roughly: projections of all tokens, the head on all labels."""
    tokens, labels = run.batch * run.max_length, run.batch * run.pairs
    body = tokens * run.depth * 6 * run.d_model**2
    return run.updates * (body + labels * run.vocabulary * run.d_model)


def dry_run(runs: list[Mqar], options: Sweep, engine: Engine, plugins: Mapping[str, Path]) -> int:
    """Lists the runs on standard output, with what is stored, and times one of each shape."""
    stored = {} if options.force else settled(Store(options.out), runs, plugins)
    names = progress.titles(runs)
    for run in runs:
        print(f"{'stored' if run.key in stored else 'to do ':6}  {names[run.key]}")
    todo = [run for run in runs if run.key not in stored]
    print(f"{progress.counted(len(runs))}, {len(runs) - len(todo)} stored, {len(todo)} to do")
    groups = stack.groups(todo, options.stack)
    if todo and options.stack > 1:
        sizes = sorted(Counter(map(len, groups)).items())
        of = ", ".join(f"{number} of {progress.counted(size)}" for size, number in sizes)
        print(f"--stack {options.stack} makes {progress.counted(len(groups), 'group')}: {of}")
    if todo:
        sys.stdout.flush()
        torch.set_num_threads(1)
        found = estimate(todo, _tell, executed(options))
        longest = max(map(len, groups)) * max(shape.seconds for shape in found.shapes)
        seconds = max(found.seconds / engine.jobs, longest)
        print(
            f"at most {progress.duration(seconds)} with {engine.jobs} at a time on this machine's"
            f" {found.device}, from real steps of {len(found.shapes)} shapes; runs that reach"
            " stop_at end sooner"
        )
    return 0


def _tell(done: int, total: int) -> None:
    """On a terminal one line that counts, elsewhere one line."""
    if sys.stderr.isatty():
        end = "\n" if done + 1 == total else ""
        print(f"\rtiming shape {done + 1} of {total}", end=end, file=sys.stderr, flush=True)
    elif not done:
        print(f"timing a few steps of {total} shapes", file=sys.stderr, flush=True)


def _arguments() -> type:
    """Two groups of flags: how to run, and the fields of the config."""
    flags = axes.flags(Mqar)
    flags.__doc__ = "What one run is. Several values make an axis: every combination is run."
    grouped = tyro.conf.arg(name="")
    fields = [
        ("sweep", Annotated[Sweep, grouped], field(default_factory=Sweep)),
        ("fields", Annotated[flags, grouped], field(default_factory=flags)),
    ]
    made = make_dataclass("Arguments", fields)
    made.__doc__ = "Run or sweep multi-query associative recall, then write table and plot."
    return made


Arguments = _arguments()
