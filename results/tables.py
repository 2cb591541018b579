"""Tables as pure functions of rows, for the terminal and as Markdown, LaTeX and CSV files."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import (
    bench_tables,
    conditions_tables,
    efficiency_tables,
    harness_columns,
    harness_tables,
    lm_blocks,
    lm_tables,
    lm_tidy,
    lra_tables,
    lra_tidy,
    mqar_tables,
    published,
    tidy,
    writers,
    zoo_tables,
)
from .cells import Row
from .lra_blocks import groups
from .select import blocks

Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """How one table is made. lines: rows -> CSV files, by what their names end with.

    models: made from the specs of models instead of stored rows. task: whose rows those are, where
    it is not the table's name. kinds: what `kind` of row it is made from, all where there is none.
    """

    make: Callable[[Sequence[Row], str], list[writers.Table]]
    lines: Callable[[Sequence[Row]], dict[str, Lines]]
    models: bool = False
    task: str = ""
    kinds: tuple[str, ...] = ()


def mqar_lines(rows: Sequence[Row]) -> dict[str, Lines]:
    found = blocks(rows) or published.mqar_blocks()
    return {"": tidy.cells(found), "-rates": tidy.rates(found)}


def lra_lines(rows: Sequence[Row]) -> dict[str, Lines]:
    found = groups(rows)
    return {"": lra_tidy.cells(found), "-rates": lra_tidy.rates(found)}


def lm_lines(rows: Sequence[Row]) -> dict[str, Lines]:
    found = lm_blocks.blocks(rows)
    return {
        "": lm_tidy.cells(found),
        "-rates": tidy.rates(found),
        "-positions": lm_tidy.positions(found),
        "-curves": lm_tidy.curves(found),
    }


def harness(name: str) -> Kind:
    """One of the paper's tables of language models that are evaluated zero-shot."""
    return Kind(
        partial(harness_tables.make, name),
        lambda rows: {"": harness_tables.lines(name, rows)},
        task="eval",
    )


def bench_lines(rows: Sequence[Row]) -> dict[str, Lines]:
    """Every column of every row, by time."""
    order = sorted(rows, key=lambda row: (str(row.get("time", "")), row["key"]))
    spelt = [{**row, "backends": " ".join(row.get("backends") or [])} for row in order]
    return {"": spelt}


MODELS = Kind(zoo_tables.make, lambda rows: {"": zoo_tables.lines(rows)}, models=True)
CONDITIONS = Kind(conditions_tables.make, lambda rows: {"": conditions_tables.lines(rows)}, True)
TABLES = {
    "mqar": Kind(mqar_tables.make, mqar_lines),
    "bench": Kind(bench_tables.make, bench_lines, kinds=bench_tables.KINDS),
    "efficiency": Kind(
        efficiency_tables.make, bench_lines, task="bench", kinds=efficiency_tables.KINDS
    ),
    "7": Kind(lra_tables.make, lra_lines, task="lra"),
    "lm": Kind(lm_tables.make, lm_lines),
    **{name: harness(name) for name in harness_columns.TABLES},
    **dict.fromkeys(("1", "2", "3", "A1", "A2", "A3"), MODELS),
    "2": CONDITIONS,
}

FILES = ("rates", "settings", "probes")  # tables that only the files have, not the terminal


def names() -> list[str]:
    """Tables that can be made."""
    return list(TABLES)


def of_models(name: str) -> bool:
    """Whether a table is made from the models themselves; others are made from stored rows."""
    return TABLES[name].models


def stored(name: str) -> tuple[str, tuple[str, ...]]:
    """The task whose rows a table or a figure of that name is made from, and their kinds."""
    return TABLES[name].task or name, TABLES[name].kinds


def stem(name: str) -> str:
    """The start of a table's file names: `mqar`, and `tableA1` for one of the paper's."""
    return f"table{name}" if name[-1].isdigit() else name


def render(name: str, rows: Sequence[Row], width: int = 100, command: str = "") -> str:
    """A table as text for a terminal. width: characters. command: what the caption says made it."""
    made = _kind(name).make(rows, command or f"lazoo table {name}")
    return "\n\n".join(writers.terminal(table, width) for table in made if table.kind not in FILES)


def write(name: str, rows: Sequence[Row], out: str | Path, command: str = "") -> list[Path]:
    """Write a table in every format and return the files: `.md`, `.tex` and one `.csv` or two."""
    kind = _kind(name)
    made = kind.make(rows, command or f"lazoo table {name}")
    content = {f"{stem(name)}.md": writers.markdown(made), f"{stem(name)}.tex": writers.latex(made)}
    for end, lines in kind.lines(rows).items():
        content[f"{stem(name)}{end}.csv"] = writers.comma_separated(lines)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in content.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in content]


def _kind(name: str) -> Kind:
    if name not in TABLES:
        close = difflib.get_close_matches(name, TABLES, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"No table is called {name!r}.{hint} There are: {', '.join(names())}")
    return TABLES[name]
