"""One table, four spellings: plain text, Markdown, LaTeX with booktabs, and CSV."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from . import prose
from .tex_text import entry as tex_entry
from .tex_text import row, words

ABREAST = 10  # columns of a part of a table in LaTeX, where it has groups


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
    groups: how many columns after the first stay side by side where a table is broken; without
    any, each stands by itself.
    """

    kind: str
    title: str
    header: list[str]
    body: list[list[Text]]
    foot: list[list[Text]]
    caption: list[str]
    notes: list[str]
    prose: bool = False
    groups: tuple[int, ...] = ()

    @property
    def together(self) -> list[range]:
        """The columns after the first, as many at a time as stay side by side."""
        ends = list(accumulate(self.groups or [1] * (len(self.header) - 1), initial=1))
        return [range(*pair) for pair in pairwise(ends)]


def terminal(table: Table, width: int) -> str:
    """Aligned columns, at most `width` characters wide: what does not fit follows below."""
    if table.prose:
        return "\n".join(
            prose.terminal(table, width) + below([*table.notes, *table.caption], width)
        )
    lines = [*table.body, *table.foot]
    columns = [_column(name, [line[i] for line in lines]) for i, name in enumerate(table.header)]
    text = [table.title, ""]
    for part in parts(table, [len(column[0]) + 2 for column in columns], width + 2):
        made = ["  ".join(entries).rstrip() for entries in zip(*(columns[i] for i in part))]
        rule = "-" * max(len(line) for line in made)
        end = 1 + len(table.body)
        foot = [made[end + i] for i in told(table.foot, part)]
        text += [made[0], rule, *made[1:end], *[rule] * bool(foot), *foot, ""]
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
        room = ABREAST if table.groups else len(table.header)
        for j, part in enumerate(parts(table, [1] * len(table.header), room)):
            text += [r"  \par\smallskip"] * (j > 0)
            text += tabular(table, part)
        if under := [*table.notes, *others]:
            text += [r"  \par\smallskip", r"  \begin{minipage}{\linewidth}\footnotesize"]
            text += ["    " + " \\\\\n    ".join(map(words, under))]
            text += [r"  \end{minipage}"]
        text += [r"\end{table}"]
    return "\n".join(text) + "\n"


def parts(table: Table, sizes: Sequence[float], room: float) -> list[list[int]]:
    """Columns of the parts that stand below each other, the first column in each.

    sizes: of each column, in units of room.
    """
    made: list[list[int]] = [[0]]
    for indices in table.together:
        if len(made[-1]) > 1 and sum(sizes[i] for i in [*made[-1], *indices]) > room:
            made.append([0])
        made[-1] += indices
    return made


def told(lines: Sequence[list[Text]], part: Sequence[int]) -> list[int]:
    """Which lines say anything in the columns of a part."""
    return [i for i, line in enumerate(lines) if any(line[j].text for j in part[1:])]


def tabular(table: Table, part: Sequence[int]) -> list[str]:
    """Some columns of a table."""

    def lines(of: Sequence[Sequence[Text]]) -> list[str]:
        return [f"    {row([tex_entry(line[i]) for i in part])}" for line in of]

    header = row([words(table.header[i]) for i in part])
    text = [rf"  \begin{{tabular}}{{l{'r' * (len(part) - 1)}}}", r"    \toprule"]
    text += [f"    {header}", r"    \midrule", *lines(table.body)]
    foot = lines([table.foot[i] for i in told(table.foot, part)])
    return [*text, *[r"    \midrule"] * bool(foot), *foot, r"    \bottomrule", r"  \end{tabular}"]


def comma_separated(lines: Sequence[dict[str, Any]]) -> str:
    """CSV with a header; a missing value is an empty field, floats keep every digit."""
    file = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()
