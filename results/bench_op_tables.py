"""Tables of the scan operator's timings: forms of each shape, and their growth with length."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import bench_growth, captions, spelling
from .bench_blocks import Block, where
from .bench_words import best, failures, seconds, spread, times, timing
from .cells import Row
from .spelling import DASH, size
from .writers import Table, Text


def of_op(block: Block, command: str) -> list[Table]:
    """Forms of a scan, the one that auto takes first; then how they grow with length."""
    header = ["Shape", "length", "form", "median", "20–80 %", "times", "floor", "share", "memory"]
    fastest = best(block.rows, ("name", "batch", "length"))
    body = []
    for row in sorted(block.rows, key=place):
        body.append(
            [
                Text(row["name"]),
                Text(spelling.number(row["length"])),
                Text(row["form"]),
                *timing(row, row["key"] in fastest),
                Text(times(row["ratio"])),
                Text(seconds(row["floor_seconds"])),
                Text(DASH if row["share"] is None else f"{100 * row['share']:.0f} %"),
                Text(size(row["peak_memory_bytes"])),
            ]
        )
    said = [
        f"One call is forward and backward with gradients to every input. {spread(block)}",
        "Times: over the form that auto takes. Floor: the largest of least bytes over the rate of a"
        " copy, products over that of a matrix product, and exponentials over that of nothing else,"
        " all measured on this device;"
        " share: floor over median. Above 100 % the caches held it all.",
        f"{shapes(block.rows)}.",
        captions.provenance(block.rows, command),
    ]
    title = f"Scan operator, {where(block)}"
    return [Table("bench", title, header, body, [], said, failures(block)), *growth(block)]


def place(row: Row) -> tuple[str, int, float]:
    """By shape and length, the fastest form first and those without a time last."""
    return row["name"], row["length"], row["median_seconds"] or math.inf


def growth(block: Block) -> list[Table]:
    """The exponent of each form that ran at several lengths."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in block.rows:
        found.setdefault((row["name"], row["form"]), []).append(row)
    body = []
    for (name, form), same in sorted(found.items()):
        per_token = {
            row["length"]: row["median_seconds"] / (row["batch"] * row["length"])
            for row in same
            if row["median_seconds"]
        }
        fitted = bench_growth.exponent(per_token)
        if fitted is not None:
            used = bench_growth.fitted(per_token)
            span = f"{used[0]:,} to {used[-1]:,}"
            body.append([Text(name), Text(form), Text(f"{fitted:.2f}"), Text(span)])
    said = [
        "Cost of one row of length T as T^e, by least squares over the medians; 1 is linear. Every"
        " call has about as many tokens, so a form that is called for one token after another shows"
        " 2 where the calls and not the tokens cost time."
    ]
    header = ["Shape", "form", "e", "lengths"]
    title = f"Growth with length, {where(block)}"
    return [Table("growth", title, header, body, [], said, [])] if body else []


def shapes(rows: Sequence[Row]) -> str:
    """`matrix: b 8, t 256, h 2, k 64, v 64`, one for each shape, with all tokens of several."""
    found = []
    for name in dict.fromkeys(row["name"] for row in rows):
        same = [row for row in rows if row["name"] == name]
        one, spans = same[0], {row["length"] for row in same}
        tokens = f"b {one['batch']}, t {one['length']}"
        if len(spans) > 1:
            tokens = f"{one['batch'] * one['length']:,} tokens"
        found.append(f"{name}: {tokens}, h {one['heads']}, k {one['d_k']}, v {one['d_v']}")
    return "; ".join(found)
