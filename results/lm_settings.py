"""How language models were run: the search of the learning rates, and what all runs share."""

from __future__ import annotations

from collections.abc import Sequence

from . import lm_words, marks, spelling
from .cells import Block, Cell
from .lm_blocks import SETTING, only
from .lm_words import bits
from .marks import FAILED
from .spelling import DASH
from .writers import Table, Text

# Fields whose name is not how the table calls them.
NAMES = {"seq_len": "tokens of a window", "batch": "windows per update", "d_model": "d_model"}


def rates(block: Block, others: Sequence[Block]) -> Table:
    """What the learning rates were chosen by: bits per byte of the validation set at each."""
    tried = sorted({row["lr"] for row in block.rows})
    body = []
    for line in block.lines:
        cell = only(line)
        at = {rate.lr: rate for rate in cell.rates}
        entries = [Text(line.name), rate(cell)]
        for lr in tried:
            mean = at[lr].mean("valid") if lr in at else None
            failed = sum(row["status"] != "ok" for row in at[lr].rows) if lr in at else 0
            chosen = cell.best is not None and lr == cell.best.lr
            entries.append(Text(bits(mean), best=chosen, marks=FAILED * bool(failed)))
        body.append(entries)
    said = ["Bits per byte of the validation set, mean over seeds; in bold the chosen rate."]
    header = ["Model", "chosen", *map(spelling.rate, tried)]
    title = f"Learning rates, {lm_words.title(block, others)}"
    return Table("rates", title, header, body, [], [*said, lm_words.rule(block)], [])


def of_runs(block: Block, others: Sequence[Block]) -> Table:
    """What all runs of a comparison share."""
    body = [
        [Text(NAMES.get(name, lm_words.plain(name))), Text(lm_words.spelt(name, value))]
        for name in SETTING
        if (value := block.setting[name]) is not None and value != ""
    ]
    title = f"Settings, {lm_words.title(block, others)}"
    return Table(
        "settings",
        title,
        ["Setting", "all models"],
        body,
        [],
        ["Valid and test tokens 0: all there are."],
        [],
    )


def rate(cell: Cell) -> Text:
    """The chosen learning rate, with a sign at the edge of the grid."""
    if cell.best is None:
        return Text(DASH)
    return Text(spelling.rate(cell.best.lr), marks=marks.edge_sign(cell))
