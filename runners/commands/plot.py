"""lazoo plot: figures of results from stored rows, without torch; of models from their specs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from results.store import Row
from runners.commands import flag, parse, refusals, typed
from runners.commands.table import ROWS, known, read

EXAMPLES = (
    "lazoo plot mqar",
    "lazoo plot mqar --rows results/reference",
    "lazoo plot mqar --rows runs results/reference --out all",
    "lazoo plot lra",
    "lazoo plot lm",
    "lazoo plot efficiency --rows results/reference/efficiency",
    "lazoo plot zoo --plugin my_model.py",
    "lazoo plot conditions",
)
WHICH = (
    "mqar, lra, lm: results; efficiency: throughput and memory; zoo: a family tree of the models;"
    " conditions: the theory behind Table 2"
)


@dataclass(frozen=True)
class Arguments:
    """Write a plot again: of results from stored rows alone, of models from their specs."""

    name: Annotated[tyro.conf.Positional[str], flag(WHICH, metavar="NAME")]
    out: Annotated[Path, flag("folder that the files are written to", "runs")] = Path("runs")
    rows: Annotated[tuple[Path, ...], flag(ROWS)] = ()
    plugin: Annotated[tuple[Path, ...], flag("zoo: files of models that join")] = ()


def main(argv: Sequence[str]) -> int:
    from results import figures

    arguments = parse(Arguments, "plot", argv, EXAMPLES)
    with refusals("plot"):
        known(arguments.name, figures.names())
        found = rows(arguments)
        for path in write_plot(arguments.name, found, arguments.out, typed("plot", argv)):
            print(path)
    return 0


def rows(arguments: Arguments) -> Sequence[Row]:
    """What the figure is made of. Figures of results do without the zoo, and without torch."""
    from results import figures

    if arguments.plugin and arguments.name != "zoo":
        raise ValueError(f"{arguments.name} is not drawn from the models' files: no --plugin")
    if arguments.name in figures.STORED:
        return read(figures.STORED[arguments.name], arguments.rows or (arguments.out,))
    if arguments.rows:
        raise ValueError(f"{arguments.name} is computed, not made from stored rows: no --rows")
    if arguments.name == "conditions":
        from runners import theory_rows

        return theory_rows.rows()
    from runners import zoo_rows

    return zoo_rows.everything(arguments.plugin)


def write_plot(name: str, rows: Sequence[Row], out: Path, command: str) -> list[Path]:
    """Writes every figure of that name and returns the files."""
    from results import figures  # matplotlib takes a second to load

    return figures.write(name, rows, out, command=command)
