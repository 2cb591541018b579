"""Tables 4, 5, 8, A5, A8 and A9: language models zero-shot, ours below the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import harness_captions as said
from .cells import Row
from .harness_captions import FAILED, NOT_WHOLE
from .harness_columns import ABLATIONS, NIAH, TABLES, Shape
from .harness_lines import (
    AVG,
    Line,
    Number,
    ablations,
    columns,
    not_run,
    of_paper,
    of_rows,
)
from .spelling import DASH, number
from .writers import Table, Text

ABLATION = "8"
TITLE = "{title}, zero-shot (MetaLA, Table {name})"


def make(name: str, rows: Sequence[Row], command: str) -> list[Table]:
    """One table: the paper's lines in its order, then ours. name: of the table in the paper."""
    shape = TABLES[name]
    paper, mine = of_paper(shape), of_rows(shape, rows)
    mine = ablations(mine) if name == ABLATION else mine
    lines = [*paper, *mine, *not_run(shape, mine)]
    headers = [*columns(shape), *[AVG] * bool(shape.mean)]
    bold = {header: best(mine, header, shape) for header in headers}
    body = [
        [
            *about(line),
            *(entry(line, header, shape, i in bold[header]) for header in headers),
        ]
        for i, line in enumerate(lines, -len(paper))
    ]
    notes = said.notes(shape, lines)
    if name == ABLATION:
        notes = [*compared(paper, mine), *notes]
    title = TITLE.format(title=shape.title, name=name)
    header = ["Model", "from", "tokens", *headers]
    groups = (2, *[1] * len(headers))
    caption = said.caption(shape, lines, command)
    foot = below(shape, paper, headers)
    return [Table(f"harness-{name}", title, header, body, foot, caption, notes, groups=groups)]


def about(line: Line) -> list[Text]:
    """Model with its size, whose number it is, and the tokens of its training."""
    if not line.ours:
        source = "paper"
    elif line.row:
        source = f"ours, {line.row.get('corpus')}" if line.row.get("corpus") else "ours"
    else:
        source = "ours"
    return [Text(said.name(line)), Text(source), Text(said.size(line.tokens))]


def entry(line: Line, header: str, shape: Shape, best: bool) -> Text:
    """One number; ours with its standard error."""
    found = line.numbers.get(header)
    if found is None or found.value is None:
        return Text(DASH, marks=FAILED * bool(found and found.error))
    if not line.ours:
        return Text(found.text)
    spread = "" if found.stderr is None else f" ± {spelt(found.stderr)}"
    parts = shape.mean if header == AVG else (header,)
    items = {name: column.items for name, column in columns(shape).items()}
    cut = any(said.short(line.numbers.get(name) or Number(None), items[name]) for name in parts)
    return Text(spelt(found.value), spread, best, NOT_WHOLE * cut)


def spelt(value: float) -> str:
    """Two decimals; a perplexity of no use in three digits."""
    return f"{value:.2f}" if abs(value) < 1e4 else f"{value:.3g}"


def best(lines: Sequence[Line], header: str, shape: Shape) -> set[int]:
    """Places of ours to print in bold: all that do not differ from the best one.

    None where that is every line, or where errors are not known.
    """
    column = columns(shape).get(header)
    sign = -1 if column and not column.percent else 1
    found = {i: line.numbers.get(header) for i, line in enumerate(lines)}
    known = {i: n for i, n in found.items() if n is not None and n.value is not None}
    if len(known) < 2:
        return set()
    top = max(known.values(), key=lambda n: sign * (n.value or 0.0))
    near = {i for i, n in known.items() if not differs(top, n)}
    return set() if len(near) == len(known) else near


def differs(one: Number, other: Number) -> bool:
    two = said.bound(one, other)
    return two is not None and abs((one.value or 0.0) - (other.value or 0.0)) > two


def below(shape: Shape, paper: Sequence[Line], headers: Sequence[str]) -> list[list[Text]]:
    """Chance, the number of items, and the standard errors of the paper's MetaLA."""
    found = columns(shape)
    if shape.suite == NIAH:
        return []
    first = next(line for line in paper if line.model == "metala")
    chances = {h: 100 / c.options for h, c in found.items() if c.options}
    if shape.mean and all(h in chances for h in shape.mean):
        chances[AVG] = sum(chances[h] for h in shape.mean) / len(shape.mean)
    items = {h: c.items for h, c in found.items() if c.items}
    errors = {h: n.stderr for h, n in first.numbers.items() if n.stderr is not None}
    return [
        line("Chance", [f"{chances[h]:.4g}" if h in chances else DASH for h in headers]),
        line("Items", [number(items[h]) if h in items else "" for h in headers]),
        line(
            f"± of the paper's {said.name(first)}",
            [f"{errors[h]:.2f}" if h in errors else DASH for h in headers],
        ),
    ]


def line(name: str, texts: Sequence[str]) -> list[Text]:
    return [Text(name), *[Text("")] * 2, *map(Text, texts)]


def compared(paper: Sequence[Line], mine: Sequence[Line]) -> list[str]:
    """Every ablation against the whole model: the paper's, then ours of each scale."""
    made = said.against(paper, "The paper's")
    for scale in dict.fromkeys(line.scale for line in mine):
        here = [line for line in mine if line.scale == scale]
        whole = [line for line in here if line.model == next(iter(ABLATIONS))]
        others = [line for line in here if line not in whole]
        for each in whole[:1]:
            made += said.against([each, *others], f"Ours ({said.size(each.tokens)} tokens)")
    return made


def lines(name: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For CSV: one line for each model and column; numbers as printed, percent where they are."""
    shape = TABLES[name]
    mine = of_rows(shape, rows)
    mine = ablations(mine) if name == ABLATION else mine
    made = []
    for line in [*of_paper(shape), *mine, *not_run(shape, mine)]:
        for header in [*columns(shape), *[AVG] * bool(shape.mean)]:
            column, found = columns(shape).get(header), line.numbers.get(header) or Number(None)
            if not line.ours and found.value is None:
                continue
            made.append(
                {
                    "model": line.model,
                    "name": line.name,
                    "from": "ours" if line.ours else "paper",
                    "parameters": line.parameters,
                    "tokens": line.tokens,
                    "corpus": line.row.get("corpus"),
                    "tokeniser": line.row.get("tokeniser"),
                    "run": line.row.get("run"),
                    "column": header,
                    "harness_task": column.task if column else None,
                    "metric": column.metric if column else None,
                    "value": found.value,
                    "stderr": found.stderr,
                    "items": found.n or None,
                    "error": found.error,
                }
            )
    return made
