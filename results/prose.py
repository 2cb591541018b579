"""Tables whose entries are formulas or words: blocks in a terminal, wrapped columns in LaTeX."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .tex_math import tex
from .tex_text import entry, row, words

if TYPE_CHECKING:
    from .writers import Table, Text

COMPANION = "in the paper"  # how the first entry of a line begins that belongs to the line above it
LETTERS = 140  # that fit side by side on a line of small print
ONE_PAGE = 14  # lines; a longer table is a longtable, which runs over several pages


def terminal(table: Table, width: int) -> list[str]:
    """Each line as a block, its columns one below another, the paper's entries on the right."""
    label = max(map(len, table.header[1:]))
    text = [table.title, ""]
    for ours, paper in pairs(table.body):
        half = (width - label - 6) // 2
        head = said(ours[0])
        text.append(f"{head:<{label + half + 6}}{said(paper[0])}" if paper else head)
        for i, name in enumerate(table.header[1:], 1):
            left, right = said(ours[i]), said(paper[i]) if paper else ""
            if left or right:
                room = half if paper else width - label - 4
                columns = [wrap(left, room), wrap(right, half)]
                text += beside_each_other(name, label, columns, room)
        text.append("")
    return text


def pairs(lines: Sequence[list[Text]]) -> Iterator[tuple[list[Text], list[Text]]]:
    """Every line of ours with the paper's below it, if there is one."""
    for i, line in enumerate(lines):
        if not line[0].text.startswith(COMPANION):
            after = lines[i + 1] if i + 1 < len(lines) else []
            yield line, after if after and after[0].text.startswith(COMPANION) else []


def said(of: Text) -> str:
    return f"{of.text} {of.marks}".strip()


def wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def beside_each_other(name: str, label: int, columns: list[list[str]], room: int) -> list[str]:
    """Lines of `name  left  right`, as many as the longer column has."""
    made = []
    for i in range(max(map(len, columns))):
        left, right = (column[i] if i < len(column) else "" for column in columns)
        start = name if i == 0 else ""
        made.append(f"  {start:<{label}}  {left:<{room}}  {right}".rstrip())
    return made


def latex(table: Table, number: int) -> list[str]:
    """A table across the page, or a longtable; columns as wide as their entries need."""
    first, *others = map(words, table.caption)
    head = [rf"\caption{{{words(table.title)}. {first}}}", rf"\label{{tab:{table.kind}-{number}}}"]
    header = [row([f"${tex(n)}$" if n.startswith("f_") else words(n) for n in table.header])]
    body = []
    for line in table.body:
        body += [r"\addlinespace"] * (not line[0].text.startswith(COMPANION))
        body.append(row([entry(of, aligned=False) for of in line]))
    under = [*map(words, table.notes), *others]
    types, size = columns(table)
    small = [rf"\begingroup{size}", r"\setlength{\tabcolsep}{3pt}"]
    if len(table.body) > ONE_PAGE:
        rules = [r"\toprule", *header, r"\midrule", r"\endhead", *body, r"\bottomrule"]
        start = rf"\begin{{longtable}}{{{types}}}"
        text = [*small, start, head[0] + head[1] + r"\\", *rules, r"\end{longtable}"]
        return ["", *text, *notes(under), r"\endgroup"]
    start = rf"\begin{{tabular}}{{{types}}}"
    rules = [r"\toprule", *header, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    text = [*head, *small, start, *rules, *notes(under), r"\endgroup"]
    return ["", r"\begin{table*}[t]", r"\centering", *text, r"\end{table*}"]


def notes(under: Sequence[str]) -> list[str]:
    if not under:
        return []
    lines = " \\\\{}\n  ".join(under)  # {}: a bracket behind a line break is read as its length
    return [
        r"\par\smallskip\noindent",
        rf"\begin{{minipage}}{{\linewidth}}\raggedright {lines}",
        r"\end{minipage}",
    ]


def columns(table: Table) -> tuple[str, str]:
    """Column types and size of LaTeX. A column gets room for its longest word; the rest of the line
    goes to columns of long entries. Where the words alone are too much, everything is smaller."""
    lines = [table.header, *([of.text for of in line] for line in table.body)]
    words, weights = [], []
    for i in range(len(table.header)):
        entries = [line[i] for line in lines]
        factor = 1.1 if i else 1.4  # formulas are narrower than the names of models
        words.append(
            factor * max(len(word) for text in entries for word in [*text.split(), ""]) + 1
        )
        mean_square = sum(len(text) ** 2 for text in entries) / len(entries)
        weights.append(mean_square**0.5)
    spare = max(LETTERS - sum(words), 0)
    wide = [word + spare * weight / sum(weights) for word, weight in zip(words, weights)]
    width = r"\dimexpr {:.3f}\linewidth-2\tabcolsep\relax"
    shares = [width.format(x / sum(wide)) for x in wide]
    size = r"\scriptsize" if sum(words) <= LETTERS else r"\tiny"
    return "".join(rf">{{\raggedright\arraybackslash}}p{{{share}}}" for share in shares), size
