"""lazoo conditions: C0 to C3 of MetaLA's Table 2, computed; of groups, or of models as they run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import zoo
from results import conditions_tables, writers
from runners import theory_rows
from runners.commands import PIPE_WIDTH, Switch, flag, parse, print_json, refusals, typed

EXAMPLES = (
    "lazoo conditions",
    "lazoo conditions metala mamba",
    "lazoo conditions --all --json",
    "lazoo conditions gla --probe",
    "lazoo conditions --plugin my_model.py",
)
NAMES = "none for the 12 groups of parameters"
PROBE = "also optimise the running model: what it overwrites, which maps it reaches; seconds each"
PLUGIN = "files that define one model each; without names, these are measured"


@dataclass(frozen=True)
class Arguments:
    """Which models can approximate attention: no growth, overwriting, any map, fewest parameters.

    Without names the 12 groups of parameters and softmax attention, with the paper's marks (MetaLA,
    Table 2); with names those models as implemented.
    """

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], flag(NAMES, metavar="MODEL ...")] = ()
    all: Annotated[Switch, flag("every model of the zoo")] = False
    d_model: Annotated[int, flag("width at which models are measured, channels", "64")] = 64
    probe: Annotated[Switch, flag(PROBE)] = False
    json: Annotated[Switch, flag("the rows behind the tables as JSON")] = False
    plugin: Annotated[tuple[Path, ...], flag(PLUGIN)] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "conditions", argv, EXAMPLES)
    with refusals("conditions"):
        rows = found(arguments)
    if arguments.json:
        print_json(rows)
        return 0
    width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    made = conditions_tables.make(rows, typed("conditions", argv))
    print("\n\n".join(writers.terminal(table, width) for table in made))
    return 0


def found(arguments: Arguments) -> list[dict[str, Any]]:
    """The rows that are asked for. Raises: ValueError for names and widths that cannot be."""
    torch.set_num_threads(1)  # tensors are small: threads would wait for one another
    torch.set_flush_denormal(True)
    plugins = [zoo.plugin(path) for path in arguments.plugin]
    names = list(arguments.names) or plugins
    if arguments.all:
        names = [*names, *(name for name in zoo.names() if name not in names)]
    for name in names:
        zoo.load(name)
    if not names:
        if arguments.probe:
            raise ValueError("--probe runs models; name some, or type --all")
        return theory_rows.groups()
    rows = []
    for name in names:
        print(f"measuring {name}", file=sys.stderr)
        (row,) = theory_rows.models([name], arguments.d_model)
        rows.append(theory_rows.probed(row) if arguments.probe else row)
    return rows
