"""What commands that train share: the flags of a sweep, and the way from them to rows and table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

import zoo
from results.store import Store
from runners import axes, progress, stack
from runners.base import Run
from runners.commands import Switch, flag, parse, refusals, typed
from runners.commands.dry_runs import Estimating, dry_run
from runners.commands.followers import followed
from runners.commands.plot import write_plot
from runners.commands.table import print_rows, write_table
from runners.engines import Engine, follows, make, processes
from runners.execution import Execution
from runners.sweep import Stopped, Swept, settled, sweep

R = TypeVar("R", bound=Run)
Given = Mapping[str, tuple[Any, ...]]
JOBS = "runs at a time, on each GPU if there are any; 0 for one per CPU core, or what a GPU holds"
PLUGIN = "files that define one model each; without --model, these models are run"
BESIDE = (
    "A flag beside it selects the runs that have its values; a value that no run of the preset has"
    " is put into all of them"
)


@dataclass(frozen=True)
class Sweep:
    """What is run, and how."""

    preset: Annotated[str, flag(f"a named list of runs. {BESIDE}")] = ""
    dry_run: Annotated[Switch, flag("list the runs, estimate the time, train nothing")] = False
    jobs: Annotated[int, flag(JOBS)] = 0
    engine: Annotated[str, flag("where the runs execute; local is this machine", "local")] = "local"
    force: Annotated[Switch, flag("also do the runs that are stored already")] = False
    timeout: Annotated[float, flag("seconds that one run may take; 0 for no limit", "0")] = 0.0
    out: Annotated[Path, flag("folder of rows, tables and plots", "runs")] = Path("runs")
    plugin: Annotated[tuple[Path, ...], flag(PLUGIN)] = ()
    graph: Annotated[Switch, flag("on a GPU, launch the operations of an update one by one")] = True
    compile: Annotated[Switch, flag("put the models through torch.compile")] = False


def nothing(runs: Sequence[Any], options: Any) -> None:
    """Runs that need no preparation."""


def same(run: R, options: Any) -> R:
    """Runs that are complete as they were asked for."""
    return run


def with_checkpoints(options: Sweep, data: Path, minutes: float) -> Execution:
    """Of a task that reads data and keeps checkpoints. Raises: ValueError for negative minutes."""
    if minutes < 0:
        raise ValueError(
            f"checkpoint_minutes {minutes:g} is negative; type --checkpoint-minutes 10, or 0 for"
            " one after every update"
        )
    return Execution(
        graph=options.graph,
        compile=options.compile,
        data=str(data),
        checkpoint_minutes=minutes,
    )


@dataclass(frozen=True)
class Command(Generic[R]):
    """A command that trains.

    arguments: its flags, as `arguments` makes them. preset: a preset's runs. narrowed: a preset's
    runs under the flags beside it. cost: expected duration of a run, any unit. execution: of the
    sweep's flags; ValueError for what cannot be executed. estimate: how long runs may take. bound:
    what makes that an upper bound. prepare: what runs need before they start. completed: a run with
    what it depends on outside of its fields, as far as that is here. table, plot: names of what
    comes out.
    """

    name: str
    config: type[R]
    arguments: type
    examples: tuple[str, ...]
    preset: Callable[[str], list[R]]
    narrowed: Callable[[str, Given], list[R]]
    cost: Callable[[R], float]
    execution: Callable[[Any], Execution]
    estimate: Estimating[R]
    bound: str
    table: str
    plot: str
    prepare: Callable[[Sequence[R], Any], None] = nothing
    completed: Callable[[R, Any], R] = same


def arguments(config: type[Run], options: type[Sweep], about: str) -> type:
    """Two groups of flags: how to run, and the fields of the config."""
    flags = axes.flags(config)
    flags.__doc__ = "What one run is. Several values make an axis: every combination is run."
    grouped = tyro.conf.arg(name="")
    fields = [
        ("sweep", Annotated[options, grouped], field(default_factory=options)),
        ("fields", Annotated[flags, grouped], field(default_factory=flags)),
    ]
    made = make_dataclass("Arguments", fields)
    made.__doc__ = about
    return made


def main(command: Command[R], argv: Sequence[str]) -> int:
    if follows():
        # The process that leads says all that there is to say.
        return followed(command.arguments, command.name, argv)
    parsed = parse(command.arguments, command.name, argv, command.examples)
    options: Sweep = parsed.sweep
    with refusals(command.name):
        plugins = {zoo.plugin(path): path for path in options.plugin}
        given = axes.given(parsed.fields, command.config)
        asked = wanted(command, options.preset, given, list(plugins))
        runs = [command.completed(run, options) for run in asked]
        engine = make(options.engine, options.jobs, getattr(options, "strategy", None))
        execution = command.execution(options)
        if processes() > 1:
            from runners.engines.together import check

            check(runs, options)
        if options.timeout < 0:
            raise ValueError(f"timeout {options.timeout:g} is negative; --timeout 0 is no limit")
    stored = {} if options.force else settled(Store(options.out), runs, plugins)
    if options.dry_run:
        return dry_run(runs, stored, engine.jobs, execution, command.estimate, command.bound)
    with refusals(command.name):
        command.prepare([run for run in runs if run.key not in stored], options)
        # Of what has only now come here, the content is known.
        runs = [command.completed(run, options) for run in asked]
    return swept_and_told(command, runs, options, engine, execution, plugins, argv)


def swept_and_told(
    command: Command[R],
    runs: Sequence[R],
    options: Sweep,
    engine: Engine,
    execution: Execution,
    plugins: Mapping[str, Path],
    argv: Sequence[str],
) -> int:
    """Does the runs and reports on them. Returns: the exit code."""
    line = typed(command.name, argv)
    try:
        swept = sweep(
            runs,
            options.out,
            engine,
            force=options.force,
            timeout=options.timeout,
            plugins=plugins,
            presets=from_preset(command, options),
            cost=command.cost,
            execution=execution,
            groups=partial(stack.groups, size=execution.stack),
            view=progress.view(),
        )
    except Stopped as stop:
        how = "--force begins anew" if options.force else "the same command does the rest"
        print(f"{stop}; {how}:\n  {line}", file=sys.stderr)
        return 128 + stop.number
    except RuntimeError as error:  # no worker could start
        print(f"lazoo {command.name}: {error}; lazoo doctor may know why", file=sys.stderr)
        return 1
    return report(command, swept, options.out, line)


def report(command: Command[R], swept: Swept, out: Path, line: str) -> int:
    """Prints the table of these runs; writes tables and plots of all rows in the folder."""
    print_rows(command.table, swept.rows, line)
    rows = Store(out).read(command.config.task)
    files = write_table(command.table, rows, out, line)
    print(*files, *write_plot(command.plot, rows, out, line), sep="\n")
    for row in swept.failed:
        what = f"{row['model']} d{row['d_model']} lr {row['lr']:g}"
        where = f" {row['dataset']}" if "dataset" in row else ""
        print(f"{row['status']}: {what}{where}: {row['error']}", file=sys.stderr)
    return int(bool(swept.failed))


def wanted(command: Command[R], preset: str, given: Given, plugins: Sequence[str]) -> list[R]:
    """The runs that the command line asks for. Raises: ValueError for what cannot run."""
    if plugins and "model" not in given:
        given = {"model": tuple(plugins), **given}
    if preset:
        return command.narrowed(preset, given)
    if "model" not in given:
        raise ValueError(
            "nothing to run; type --preset quick, or --model and a name (lazoo models)"
        )
    return axes.product(command.config, given)


def from_preset(command: Command[R], options: Sweep) -> dict[str, str]:
    """The keys of a preset's own runs; one that a flag changed is no longer among them."""
    name = options.preset
    runs = command.preset(name) if name else []
    return {command.completed(run, options).key: name for run in runs}
