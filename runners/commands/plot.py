"""lazoo plot: figures from stored rows alone. Nothing here needs torch, a GPU or the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from results.store import Row
from runners.commands import flag, parse, refusals, typed
from runners.commands.table import ROWS, WHICH, known, read

EXAMPLES = (
    "lazoo plot mqar",
    "lazoo plot mqar --rows results/reference",
    "lazoo plot mqar --rows runs results/reference --out all",
)


@dataclass(frozen=True)
class Arguments:
    """Write a plot again, from stored rows alone. Trains nothing."""

    name: Annotated[tyro.conf.Positional[str], flag(WHICH, metavar="NAME")]
    out: Annotated[Path, flag("folder that the files are written to", "runs")] = Path("runs")
    rows: Annotated[tuple[Path, ...], flag(ROWS)] = ()


def main(argv: Sequence[str]) -> int:
    from results import figures

    arguments = parse(Arguments, "plot", argv, EXAMPLES)
    with refusals("plot"):
        known(arguments.name, figures.names())
        rows = read(arguments.name, arguments.rows or (arguments.out,))
    for path in write_plot(arguments.name, rows, arguments.out, typed("plot", argv)):
        print(path)
    return 0


def write_plot(name: str, rows: Sequence[Row], out: Path, command: str) -> list[Path]:
    """Writes every figure of that name and returns the files."""
    from results import figures  # matplotlib takes a second to load

    return figures.write(name, rows, out, command=command)
