"""The commands of `lazoo`, one module each: `main(argv) -> exit code`. Here: what they share."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from runners import errors

T = TypeVar("T")
Switch = tyro.conf.FlagCreatePairsOff[bool]
PIPE_WIDTH = 120  # characters, where standard output is no terminal


def parse(kind: type[T], command: str, argv: Sequence[str], examples: Sequence[str]) -> T:
    """The arguments of a command; leaves with 2 and a suggestion on a misspelt flag."""
    try:
        return tyro.cli(kind, prog=f"lazoo {command}", args=list(argv))
    except SystemExit as stop:
        if not stop.code:
            print("\nexamples:", *(f"  {example}" for example in examples), sep="\n")
        raise


def flag(help: str, default: str = "", metavar: str | None = None) -> Any:
    """What --help says about one flag, for an Annotated type."""
    hint = f"(default: {default})" if default else ""
    return tyro.conf.arg(help=help, help_behavior_hint=hint, metavar=metavar)


@contextlib.contextmanager
def refusals(command: str) -> Iterator[None]:
    """Turns the user's mistakes (ValueError) into a message on standard error and exit code 2."""
    try:
        yield
    except ValueError as error:
        wrapped = isinstance(error, ValidationError)
        message = errors.lines(error, []) if wrapped else str(error)
        print(f"lazoo {command}: {message}", file=sys.stderr)
        raise SystemExit(2) from None


def typed(command: str, argv: Sequence[str]) -> str:
    """The command line as it can be typed again."""
    return shlex.join(["lazoo", command, *argv])


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], lines: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on standard output, as wide as the terminal."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    table = Table(*header, box=None, title=title or None, title_justify="left", pad_edge=False)
    for line in lines:
        table.add_row(*(cell.replace("[", r"\[") for cell in line))
    console.print(table)
