"""The tables of language models: quality with probes, then sizes and cost, rates and settings."""

from __future__ import annotations

from collections.abc import Sequence

from . import captions, lm_cost, lm_marks, lm_probes, lm_ranks, lm_settings, lm_words, marks
from .cells import Block, Cell, Row
from .lm_blocks import best, blocks, only
from .lm_words import BASELINES, bits
from .marks import FAILED
from .mqar_tables import runs
from .spelling import DASH
from .writers import Table, Text

# Columns whose numbers are of a token or a word: field of a row and header.
PERPLEXITIES = {"token_perplexity": "token ppl", "word_perplexity": "word ppl"}


def make(rows: Sequence[Row], command: str) -> list[Table]:
    """Quality, cost, learning rates and settings, one of each per comparison in the rows."""
    found = blocks(rows)
    return [
        table
        for block in found
        for table in (
            quality(block, found, command),
            lm_cost.table(block, found),
            probes(block, found),
            lm_settings.rates(block, found),
            lm_settings.of_runs(block, found),
        )
        if table.body
    ]


def quality(block: Block, others: Sequence[Block], command: str) -> Table:
    """Bits per byte of the test text, perplexities where rows have them, and the probes."""
    perplexities = [f for f in PERPLEXITIES if any(row.get(f) is not None for row in block.rows)]
    probes, bold, near = lm_probes.headlines(block), best(block), lm_ranks.beside_best(block)
    body = []
    for line in block.lines:
        cell = only(line)
        mark = lm_ranks.NEAR * (near.get(line.name) == lm_ranks.NEAR)
        entries = [Text(line.name), entry(cell, line.name in bold, mark)]
        for field in perplexities:
            entries.append(Text(lm_words.perplexity(lm_words.mean(cell.runs, field))))
        entries += [lm_settings.rate(cell), Text(runs(cell.rows))]
        body.append([*entries, *lm_probes.entries(block, cell, probes)])
    header = ["Model", lm_words.BITS, *(PERPLEXITIES[field] for field in perplexities)]
    header += ["lr", "runs", *map(lm_words.plain, probes)]
    blank = [Text("")] * (len(header) - 1)
    foot = [[Text(name), Text(level), *blank[1:]] for name, level in baselines(block)]
    left = len(header) - 1 - len(probes)
    foot += [[first, *blank[:left], *rest] for first, *rest in lm_probes.foot(block, probes)]
    said = caption(block, bool(perplexities), probes)
    said.append(captions.provenance(block.rows, command))
    wide = (1,) * (len(header) - 1)
    title = f"Language models, {lm_words.title(block, others)}"
    return Table("lm", title, header, body, foot, said, lm_marks.notes(block), groups=wide)


def caption(block: Block, perplexities: bool, probes: Sequence[str]) -> list[str]:
    """Everything a reader needs to judge the numbers, in sentences."""
    said = [f"{lm_words.MEANS} {captions.spread(captions.cells(block))}"]
    said += lm_words.caption(block)
    if perplexities:
        said.append(
            "Perplexities of a token or a word: in windows that do not overlap; comparable for one"
            " tokeniser, or one way of counting words, alone."
        )
    if probes:
        said.append(lm_probes.said(probes))
    explained = {
        "xz": "xz: the test text alone, compressed.",
        "byte": "Byte frequencies: each byte by its share of the training text.",
    }
    first = [name.split()[0] for name, _ in baselines(block)]
    told = [text for name, text in explained.items() if name in first]
    said.append(" ".join([*told, captions.runs(block.rows)]))
    return said


def probes(block: Block, others: Sequence[Block]) -> Table:
    """Probes at one length or gap, and those in nats or bits; without a line where there are none.

    They are many, so only files have them.
    """
    names = lm_probes.details(block)
    body = [
        [Text(line.name), *lm_probes.entries(block, only(line), names)]
        for line in block.lines * bool(names)
    ]
    far = [name for name in names if lm_probes.fact(block, name, "extrapolated")]
    beyond = f"Longer than a window of the training: {', '.join(map(lm_words.plain, far))}."
    header = ["Model", *map(lm_words.plain, names)]
    said = [lm_probes.said(names)]
    title, foot = f"Probes, {lm_words.title(block, others)}", lm_probes.foot(block, names)
    sizes = (1,) * len(names)
    return Table("probes", title, header, body, foot, said, [beyond] * bool(far), groups=sizes)


def entry(cell: Cell, top: bool, mark: str = "") -> Text:
    """Bits per byte with spread and signs; the reason, where all runs failed; else a dash."""
    if cell.mean is None:
        reason = cell.failures.most_common(1)[0][0] if cell.failures else DASH
        return Text(reason, marks=FAILED * bool(cell.failures))
    spread = "" if cell.std is None else f" ± {cell.std:.3f}"
    return Text(bits(cell.mean), spread, top, mark + marks.signs(cell).replace(marks.EDGE, ""))


def baselines(block: Block) -> list[tuple[str, str]]:
    """Name and bits per byte of what needs no model; two numbers where runs had different text."""
    found: dict[str, set[str]] = {}
    for row in block.rows:
        for name, value in (row.get("baselines") or {}).items():
            if value is not None:
                found.setdefault(name, set()).add(bits(value))
    order = sorted(found, key=lambda name: (list(BASELINES) + [name]).index(name))
    return [(BASELINES.get(name, name), " / ".join(sorted(found[name]))) for name in order]
