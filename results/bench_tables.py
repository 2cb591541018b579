"""Tables of timings: what was timed in lines, its time, floor and memory in columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import captions
from .bench_blocks import Block, blocks, where
from .bench_op_tables import of_op
from .bench_words import failures, memory_kinds, name_of, rate, settings, spread, times, timing
from .cells import Row
from .spelling import DASH, size
from .styles import rank
from .writers import Table, Text

KINDS = ("op", "mixer", "step", "sweep")
Columns = dict[str, Callable[[Row], str]]


def make(rows: Sequence[Row], command: str) -> list[Table]:
    """One table for each kind of timing and place that the rows have, efficiency apart."""
    of_kind: dict[str, Callable[[Block, str], list[Table]]] = {
        "op": of_op,
        "mixer": of_mixers,
        "step": of_steps,
        "sweep": of_sweeps,
    }
    return [table for block in blocks(rows, KINDS) for table in of_kind[block.kind](block, command)]


def of_mixers(block: Block, command: str) -> list[Table]:
    return [of_models(block, command, "One layer, forward and backward", {})]


def of_steps(block: Block, command: str) -> list[Table]:
    extra: Columns = {"launched": lambda row: row["step_form"]}
    if any(row["peer"] for row in block.rows):
        extra["ours/theirs"] = lambda row: times(row["ratio"])
    return [of_models(block, command, "MQAR training step", extra)]


def of_sweeps(block: Block, command: str) -> list[Table]:
    extra: Columns = {
        "launched": lambda row: row["step_form"],
        "runs": lambda row: str(row["runs"]),
        "trained": lambda row: row["form"],
        "stacked/alone": lambda row: times(row["ratio"]),
    }
    return [of_models(block, command, "One update of every run of a group", extra)]


def place(row: Row) -> tuple[Any, ...]:
    """Models in the zoo's order, ours before a peer's, alone before stacked."""
    return rank(row["model"]), row["peer"] or "", row["stacked"] or 0


def of_models(block: Block, command: str, what: str, extra: Columns) -> Table:
    """Models in lines. extra: further columns by their header."""
    header = ["Model", *extra, "median", "20–80 %", "tokens/s", "memory", "backends"]
    body = []
    for row in sorted(block.rows, key=place):
        name = f"{row['label']}, {row['peer']}" if row["peer"] else name_of(row)
        body.append(
            [
                Text(name),
                *(Text(spelt(row) or DASH) for spelt in extra.values()),
                *timing(row, False),
                Text(rate(row["tokens_per_second"])),
                Text(size(row["peak_memory_bytes"])),
                Text(", ".join(row["backends"] or []) or DASH),
            ]
        )
    said = [
        f"{settings(block.rows)}. {spread(block)} Memory: {memory_kinds(block)}.",
        captions.provenance(block.rows, command),
    ]
    return Table("bench", f"{what}, {where(block)}", header, body, [], said, failures(block))
