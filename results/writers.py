"""One table, four spellings: plain text, Markdown, LaTeX with booktabs, and CSV."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import prose
from .tex_text import entry as tex_entry
from .tex_text import row, words


@dataclass(frozen=True)
class Text:
    """One entry. best: in bold. spread: ` ± 0.3`. marks: signs that the notes explain.

    math: a formula in the zoo's notation.
    """

    text: str
    spread: str = ""
    best: bool = False
    marks: str = ""
    math: bool = False


@dataclass(frozen=True)
class Table:
    """header and all lines of body and foot are equally long; their first entry is the model.

    prose: entries are words or formulas: to the left, wrapped, and in a terminal one below another.
    """

    kind: str
    title: str
    header: list[str]
    body: list[list[Text]]
    foot: list[list[Text]]
    caption: list[str]
    notes: list[str]
    prose: bool = False


def terminal(table: Table, width: int) -> str:
    """Aligned columns, at most `width` characters wide: what does not fit follows below."""
    if table.prose:
        return "\n".join(
            prose.terminal(table, width) + below([*table.notes, *table.caption], width)
        )
    lines = [*table.body, *table.foot]
    columns = [_column(name, [line[i] for line in lines]) for i, name in enumerate(table.header)]
    parts: list[list[list[str]]] = [[columns[0]]]
    for column in columns[1:]:
        if len(parts[-1]) > 1 and sum(len(c[0]) + 2 for c in parts[-1]) + len(column[0]) > width:
            parts.append([columns[0]])
        parts[-1].append(column)
    text = [table.title, ""]
    for part in parts:
        made = ["  ".join(entries).rstrip() for entries in zip(*part)]
        rule = "-" * max(len(line) for line in made)
        end = len(made) - len(table.foot)
        text += [made[0], rule, *made[1:end], *[rule] * bool(table.foot), *made[end:], ""]
    notes = list(table.notes)
    if any(entry.best for line in lines for entry in line):
        notes.insert(0, "* best of its column.")
    return "\n".join(text + below([*notes, *table.caption], width))


def below(paragraphs: Sequence[str], width: int) -> list[str]:
    """Notes and caption in lines of a terminal."""
    wrapped = {"subsequent_indent": "  ", "break_on_hyphens": False}
    return [line for text in paragraphs for line in textwrap.wrap(text.strip(), width, **wrapped)]


def _column(name: str, entries: Sequence[Text]) -> list[str]:
    """Header and entries padded to one width: numbers to the right, then a column of signs."""
    left = [entry.text + entry.spread for entry in entries]
    right = ["*" * entry.best + entry.marks for entry in entries]
    gap = max(map(len, right), default=0)
    if name in ("Model", "Group", "Shape"):
        size = max(map(len, [name, *left]))
        return [cell.ljust(size + gap) for cell in [name, *left]]
    size = max(len(name) - gap, *map(len, left)) if left else len(name)
    padded = [a.rjust(size) + b.ljust(gap) for a, b in zip(left, right)]
    return [name.rjust(size).ljust(size + gap), *padded]


def markdown(tables: Sequence[Table]) -> str:
    """GitHub's table syntax, caption and notes under each table."""
    text: list[str] = []
    for table in tables:
        text += [f"### {table.title}", "", _pipes(table.header)]
        rest = ":--" if table.prose else "--:"
        text.append(_pipes([":--"] + [rest] * (len(table.header) - 1)))
        for line in [*table.body, *table.foot]:
            text.append(_pipes([_markdown(entry) for entry in line]))
        text += ["", *table.caption, ""]
        text += [f"- {note}" for note in table.notes] + [""] * bool(table.notes)
    return "\n".join(text).rstrip() + "\n"


def _pipes(entries: Sequence[str]) -> str:
    return "| " + " | ".join(entries) + " |"


def _markdown(entry: Text) -> str:
    text = re.sub(r"([|*_`<>\\])", r"\\\1", entry.text)
    text = (f"**{text}**" if entry.best else text) + entry.spread
    return f"{text} {entry.marks}" if entry.marks else text


def latex(tables: Sequence[Table]) -> str:
    r"""One `table` environment each; the first line says which packages it needs."""
    needs = "amsmath,amssymb,array,booktabs,longtable" if tables[0].prose else "booktabs"
    text = [rf"% needs \usepackage{{{needs}}}"]
    for i, table in enumerate(tables, 1):
        if table.prose:
            text += prose.latex(table, i)
            continue
        first, *others = table.caption
        text += ["", r"\begin{table}[t]", r"  \centering"]
        text += [rf"  \caption{{{words(table.title)}. {words(first)}}}"]
        text += [rf"  \label{{tab:{table.kind}-{i}}}"]
        text += [r"  \setlength{\tabcolsep}{9pt}"]
        text += [rf"  \begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"    \toprule"]
        text += [f"    {row(list(map(words, table.header)))}", r"    \midrule"]
        text += [f"    {row(list(map(tex_entry, line)))}" for line in table.body]
        text += [r"    \midrule"] * bool(table.foot)
        text += [f"    {row(list(map(tex_entry, line)))}" for line in table.foot]
        text += [r"    \bottomrule", r"  \end{tabular}"]
        if under := [*table.notes, *others]:
            text += [r"  \par\smallskip", r"  \begin{minipage}{\linewidth}\footnotesize"]
            text += ["    " + " \\\\\n    ".join(map(words, under))]
            text += [r"  \end{minipage}"]
        text += [r"\end{table}"]
    return "\n".join(text) + "\n"


def comma_separated(lines: Sequence[dict[str, Any]]) -> str:
    """CSV with a header; a missing value is an empty field, floats keep every digit."""
    file = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()
