"""How timings are spelt: seconds with a unit, their spread, and why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import spelling
from .bench_blocks import Block
from .cells import Row
from .spelling import DASH
from .writers import Text

UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def name_of(row: Row) -> str:
    """The label, with the variant where there is one."""
    variant = str(row["model"]).partition(":")[2]
    return f"{row['label']}, {variant}" if variant else str(row["label"])


def timing(row: Row, best: bool) -> list[Text]:
    """Median and spread; the reason where there is none."""
    if row["median_seconds"] is None:
        return [Text(reason(row)), Text(DASH)]
    low, high = (seconds(row[name]) for name in ("p20", "p80"))
    return [Text(seconds(row["median_seconds"]), best=best), Text(f"{low}–{high}")]


def reason(row: Row) -> str:
    """Why a row has no time, in a cell. What would take too long is never begun."""
    status = str(row["status"])
    return "left out" if status == "timeout" else spelling.FAILURES.get(status, status)


def best(rows: Sequence[Row], by: Sequence[str]) -> set[str]:
    """Keys of the fastest rows of each group that has several."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["median_seconds"]:
            groups.setdefault(tuple(row[name] for name in by), []).append(row)
    several = [group for group in groups.values() if len(group) > 1]
    return {min(group, key=lambda row: row["median_seconds"])["key"] for group in several}


def seconds(value: float | None) -> str:
    """Three digits with a unit: `1.23 ms`."""
    if value is None:
        return DASH
    for unit, scale in UNITS:
        if value >= scale:
            return f"{value / scale:.3g} {unit}" if value < 1000 * scale else f"{value:,.0f} {unit}"
    return f"{value / 1e-6:.2g} µs"


def rate(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def times(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def spread(block: Block) -> str:
    counts = sorted({row["repeats"] for row in block.rows if row["repeats"]})
    if not counts:
        return "Nothing was timed."
    calls = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    clocks = sorted({row["clock"] for row in block.rows if row["clock"]})
    return f"Median and 20th to 80th percentile of {calls} calls, {spelling.joined(clocks)}."


def memory_kinds(block: Block) -> str:
    """What the bytes are of."""
    found = {row["peak_memory_kind"] for row in block.rows if row["peak_memory_bytes"]}
    return spelling.joined(sorted(found)) if found else "none measured"


def settings(rows: Sequence[Row]) -> str:
    """What all models of a table share: `d_model 64, batch 512, length 64`."""
    shared = ("d_model", "depth", "batch", "length", "pairs", "vocabulary")
    words = []
    for name in shared:
        values = {row[name] for row in rows} - {None}
        if len(values) == 1:
            words.append(f"{name} {spelling.number(values.pop())}")
    return ", ".join(words)


def failures(block: Block) -> list[str]:
    """What every row without a time says."""
    return [
        f"{' '.join([row['name'], *[row['form']] * (row['form'] != 'own')])}, length"
        f" {row['length']:,}: {row['error']}"
        for row in block.rows
        if row["error"]
    ]
