"""lazoo table: of results from stored rows alone, without torch; of models from their specs."""

from __future__ import annotations

import difflib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from results import tables
from results.store import Row, Store, union
from runners.commands import PIPE_WIDTH, Switch, flag, parse, print_json, refusals, typed

EXAMPLES = (
    "lazoo table mqar",
    "lazoo table mqar --rows results/reference",
    "lazoo table mqar --rows runs results/reference --out all",
    "lazoo table 7",
    "lazoo table lm",
    "lazoo table 5",
    "lazoo table efficiency --rows results/reference/efficiency",
    "lazoo table A1",
    "lazoo table A1 --all --plugin my_model.py",
)
WHICH = (
    "mqar, lm: results; 7: results of the Long Range Arena; 4, 5, 8, A5, A8, A9: of language models"
    " zero-shot; bench, efficiency: timings; 1, 3, A1, A2, A3: what the models are; 2: which"
    " conditions they meet"
)
# Where the rows of a table come from, for the others lazoo TASK --preset quick.
MAKES = {"bench": "lazoo bench op", "efficiency": "lazoo bench efficiency --preset quick"}
ZERO_SHOT = ("4", "5", "8", "A5", "A8", "A9")
MAKES |= dict.fromkeys(ZERO_SHOT, "lazoo eval MODEL")
# These print the paper's numbers, with dashes for ours, before anything has been run.
OF_THE_PAPER = ("7", *ZERO_SHOT)
ROWS = "folders that the rows are read from; without it, the one of --out"
EVERY = "tables of models: all models of the table's families, not the paper's alone"


@dataclass(frozen=True)
class Arguments:
    """Write a table again: of results from stored rows alone, of models from their specs."""

    name: Annotated[tyro.conf.Positional[str], flag(WHICH, metavar="NAME")]
    out: Annotated[Path, flag("folder that the files are written to", "runs")] = Path("runs")
    rows: Annotated[tuple[Path, ...], flag(ROWS)] = ()
    all: Annotated[Switch, flag(EVERY)] = False
    plugin: Annotated[tuple[Path, ...], flag("tables of models: files of models that join")] = ()
    d_model: Annotated[int, flag("tables of models: width at which state is measured", "64")] = 64
    json: Annotated[Switch, flag("print the rows as JSON, write nothing")] = False


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "table", argv, EXAMPLES)
    with refusals("table"):
        known(arguments.name, tables.names())
        found = rows(arguments)
        command = typed("table", argv)
        if arguments.json:
            print_json(found)
            return 0
        print_rows(arguments.name, found, command)
        for path in write_table(arguments.name, found, arguments.out, command):
            print(path)
    return 0


def rows(arguments: Arguments) -> Sequence[Row]:
    """What the table is made of. Only tables of models load the zoo, and with it torch."""
    if not tables.of_models(arguments.name):
        if arguments.all or arguments.plugin:
            raise ValueError(f"{arguments.name} is made from stored rows: no --all, no --plugin")
        folders = arguments.rows or (arguments.out,)
        return read(arguments.name, folders, may_lack=not arguments.rows)
    if arguments.rows:
        raise ValueError(f"table {arguments.name} is made from the models: no --rows")
    from runners import zoo_rows

    every, plugins, d_model = arguments.all, arguments.plugin, arguments.d_model
    if arguments.name != "2":
        return zoo_rows.rows(arguments.name, every=every, plugins=plugins, d_model=d_model)
    from runners import theory_rows

    return theory_rows.rows(zoo_rows.judged(every, plugins), d_model)


def known(name: str, names: Sequence[str]) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"type one of {', '.join(names)}"
        raise ValueError(f"{name} is not known here; {hint}")


def read(name: str, folders: Sequence[Path], *, may_lack: bool = False) -> list[Row]:
    """The rows of all folders, one per key; says on standard error what cannot be read.

    may_lack: no rows are fine for a table that then has the paper's numbers.
    """
    rows: list[Row] = []
    task, kinds = tables.stored(name)
    for folder in folders:
        store = Store(folder)
        rows += [row for row in store.read(task) if not kinds or row.get("kind") in kinds]
        for warning in store.warnings:
            print(warning, file=sys.stderr)
    if not rows:
        places = ", ".join(map(str, folders))
        kind, makes = name if kinds else task, MAKES.get(name, f"lazoo {task} --preset quick")
        if may_lack and name in OF_THE_PAPER:
            print(f"no rows of {task or name} in {places}: the paper's alone", file=sys.stderr)
            return rows
        raise ValueError(
            f"no rows of {kind} in {places}; type {makes} to make some, or --rows and a folder that"
            " has some"
        )
    return union(rows)


def print_rows(name: str, rows: Sequence[Row], command: str) -> None:
    """The table on standard output, as wide as the terminal. command: what the caption says."""
    columns = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    print(tables.render(name, rows, columns, command))


def write_table(name: str, rows: Sequence[Row], out: Path, command: str) -> list[Path]:
    return tables.write(name, rows, out, command)
