"""lazoo table: tables from stored rows alone. Nothing here needs torch, a GPU or the models."""

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
)
WHICH = ", ".join(tables.names())
ROWS = "folders that the rows are read from; without it, the one of --out"


@dataclass(frozen=True)
class Arguments:
    """Write a table again, from stored rows alone. Trains nothing."""

    name: Annotated[tyro.conf.Positional[str], flag(WHICH, metavar="NAME")]
    out: Annotated[Path, flag("folder that the files are written to", "runs")] = Path("runs")
    rows: Annotated[tuple[Path, ...], flag(ROWS)] = ()
    json: Annotated[Switch, flag("print the rows as JSON, write nothing")] = False


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "table", argv, EXAMPLES)
    with refusals("table"):
        known(arguments.name, tables.names())
        rows = read(arguments.name, arguments.rows or (arguments.out,))
    if arguments.json:
        print_json(rows)
        return 0
    command = typed("table", argv)
    print_rows(arguments.name, rows, command)
    for path in write_table(arguments.name, rows, arguments.out, command):
        print(path)
    return 0


def known(name: str, names: Sequence[str]) -> None:
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"type one of {', '.join(names)}"
        raise ValueError(f"{name} is not known here; {hint}")


def read(name: str, folders: Sequence[Path]) -> list[Row]:
    """The rows of all folders, one per key; says on standard error what cannot be read."""
    rows: list[Row] = []
    for folder in folders:
        store = Store(folder)
        rows += store.read(name)
        for warning in store.warnings:
            print(warning, file=sys.stderr)
    if not rows:
        places = ", ".join(map(str, folders))
        raise ValueError(
            f"no rows of {name} in {places}; type lazoo {name} --preset quick to make some,"
            " or --rows and a folder that has some"
        )
    return union(rows)


def print_rows(name: str, rows: Sequence[Row], command: str) -> None:
    """The table on standard output, as wide as the terminal. command: what the caption says."""
    columns = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    print(tables.render(name, rows, columns, command))


def write_table(name: str, rows: Sequence[Row], out: Path, command: str) -> list[Path]:
    return tables.write(name, rows, out, command)
