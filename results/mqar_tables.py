"""The MQAR tables: models in lines, widths in columns, the paper's value beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import captions, published, spelling
from .cells import Block, Cell, Row
from .marks import FAILED, GROWS, PLATEAU, edge_sign, notes, signs
from .select import blocks
from .spelling import DASH
from .writers import Table, Text


def make(rows: Sequence[Row], command: str) -> list[Table]:
    """Accuracy, state size and learning rates, one of each per comparison in the rows."""
    found = blocks(rows)
    if not found:
        return [nothing(block, command) for block in published.mqar_blocks()]
    return [
        table
        for block in found
        for table in (accuracy(block, found, command), state(block, found), rates(block, found))
    ]


def accuracy(block: Block, others: Sequence[Block], command: str) -> Table:
    """Ours by width; where the paper has the cell, its value and the difference in points."""
    paper = published.mqar(block.setting)
    beside = {d for _, d in paper}
    widths = sorted({*block.widths, *beside})
    bold = {d: block.best(d) for d in widths}
    body = []
    for line in published.lines(block, paper):
        entries = [Text(line.name)]
        for d in widths:
            cell, value = line.cells.get(d), paper.get((line.base, d))
            entries.append(entry(cell, line.name in bold[d]))
            if d in beside:
                entries += [Text(value.text if value else DASH), Text(difference(cell, value))]
        body.append(
            [*entries, Text(runs([row for cell in line.cells.values() for row in cell.rows]))]
        )
    header, foot = ["Model"], [Text("Chance")]
    for d in widths:
        header += [f"d{d}"] + ["paper", "difference"] * (d in beside)
        foot += [Text(spelling.percent(block.chance))] + [Text("")] * 2 * (d in beside)
    said = captions.caption(block, command)
    if paper:
        said.append(f"Paper: {published.MQAR}; the difference is ours minus it, in points.")
    title = captions.title(block, others)
    return Table(
        "accuracy", title, [*header, "runs"], body, [[*foot, Text("")]], said, notes(block)
    )


def entry(cell: Cell | None, best: bool, marked: Callable[[Cell], str] = signs) -> Text:
    """A number with its spread and signs; the reason, where all runs failed; else a dash."""
    if cell is None:
        return Text(DASH)
    if cell.mean is None:
        reason = cell.failures.most_common(1)[0][0] if cell.failures else DASH
        return Text(reason, marks=FAILED * bool(cell.failures))
    spread = "" if cell.std is None else f" ± {100 * cell.std:.1f}"
    return Text(f"{100 * cell.mean:.1f}", spread, best, marked(cell))


def state(block: Block, others: Sequence[Block]) -> Table:
    """Measured state size by width, in bytes for one sequence."""
    body = []
    for line in block.lines:
        sizes = [cell.state_bytes if (cell := line.cells.get(d)) else None for d in block.widths]
        marks = [GROWS * (line.grows and n is not None) for n in sizes]
        cells = [Text(spelling.size(n), marks=mark) for n, mark in zip(sizes, marks)]
        body.append([Text(line.name), *cells])
    said = f"{captions.memory(block)}, as measured on the running model."
    grows = f"{GROWS} a KV cache, which grows with every token."
    title = f"State size, {captions.title(block, others)}"
    header = ["Model", *(f"d{d}" for d in block.widths)]
    used = [grows] * any(line.grows for line in block.lines)
    return Table("state", title, header, body, [], [said], used)


def rates(block: Block, others: Sequence[Block]) -> Table:
    """The chosen learning rates, with those at the edge of the grid pointed out."""
    body = []
    for line in block.lines:
        entries = [Text(line.name)]
        for d in block.widths:
            cell = line.cells.get(d)
            if cell is None or cell.best is None:
                entries.append(Text(DASH))
            else:
                mark = PLATEAU if cell.undetermined else edge_sign(cell)
                entries.append(Text(spelling.rate(cell.best.lr), marks=mark))
        body.append(entries)
    title = f"Learning rates, {captions.title(block, others)}"
    header = ["Model", *(f"d{d}" for d in block.widths)]
    return Table("rates", title, header, body, [], [captions.rule(block)], notes(block))


def nothing(block: Block, command: str) -> Table:
    """The paper's values alone, with a dash for ours, before anything has been run."""
    table = accuracy(block, [], command)
    said = ["No runs of ours yet: `lazoo mqar --preset paper-hard` makes them.", table.caption[-1]]
    return Table(table.kind, table.title, table.header, table.body, [], said, [])


def runs(rows: Sequence[Row]) -> str:
    """Runs of a line, all rates and seeds counted; `11/12` where one of them has no result."""
    finished = sum(row["status"] == "ok" for row in rows)
    if not rows:
        return DASH
    return str(len(rows)) if finished == len(rows) else f"{finished}/{len(rows)}"


def difference(cell: Cell | None, value: published.Paper | None) -> str:
    if value is None or cell is None or cell.mean is None:
        return DASH
    return value.difference(100 * cell.mean)
