"""Tables as pure functions of rows, for the terminal and as Markdown, LaTeX and CSV files."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from . import mqar_tables, published, tidy, writers
from .cells import Row
from .select import blocks

TABLES: dict[str, Callable[[Sequence[Row], str], list[writers.Table]]] = {"mqar": mqar_tables.make}


def names() -> list[str]:
    """Tables that can be made."""
    return sorted(TABLES)


def render(name: str, rows: Sequence[Row], width: int = 100, command: str = "") -> str:
    """A table as text for a terminal. width: characters. command: what the caption says made it."""
    made = _maker(name)(rows, command or f"lazoo table {name}")
    return "\n\n".join(writers.terminal(table, width) for table in made if table.kind != "rates")


def write(name: str, rows: Sequence[Row], out: str | Path, command: str = "") -> list[Path]:
    """Write a table in every format and return the files: `.md`, `.tex` and two `.csv`."""
    made = _maker(name)(rows, command or f"lazoo table {name}")
    found = blocks(rows) or published.mqar_blocks()
    content = {
        f"{name}.md": writers.markdown(made),
        f"{name}.tex": writers.latex(made),
        f"{name}.csv": writers.comma_separated(tidy.cells(found)),
        f"{name}-rates.csv": writers.comma_separated(tidy.rates(found)),
    }
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in content.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in content]


def _maker(name: str) -> Callable[[Sequence[Row], str], list[writers.Table]]:
    if name not in TABLES:
        close = difflib.get_close_matches(name, TABLES, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"No table is called {name!r}.{hint} There are: {', '.join(names())}")
    return TABLES[name]
