"""Parameters of language models by role, how equal they are, and what a model costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from . import lm_words, spelling
from .cells import Block, Cell, Line, Row
from .lm_blocks import only, own
from .lm_words import count
from .marks import GROWS
from .spelling import DASH, number
from .writers import Table, Text

REFERENCE = "attention"  # whose parameters the others are matched to
ALLOWED = 0.01  # fraction by which parameters may differ
# What a token mixer is made of, by role.
MIXER = ("q", "k", "alpha", "v", "g", "out", "extra")
# Columns of parameters, and the roles that each adds up.
PARTS = {
    "embedding": ("embedding", "head"),
    "mixer": MIXER,
    "channel": ("channel",),
    "norm": ("norm",),
}
# What a model costs: field of a row, header, spelling, and which end is best, if any.
COSTS: dict[str, tuple[str, Callable[[int], str], int]] = {
    "flops_per_token": ("FLOPs/token", count, 0),
    "tokens_per_second": ("tokens/s", count, +1),
    "peak_memory_bytes": ("memory", spelling.size, -1),
    "state_bytes": ("state", spelling.size, -1),
}
SHARED = "process, since it began"  # memory of all runs of a process, so of no single one


def table(block: Block, others: Sequence[Block]) -> Table:
    """Parameters by role, their distance from the common number, then speed and memory."""
    away, shown = off(block), {line.name: summary(only(line)) for line in block.lines}
    top = {field: _top(block, field, list(shown.values())) for field in COSTS}
    body = []
    for line in block.lines:
        row = shown[line.name]
        sizes, inner = parts(row), row["inner"]
        texts = [number(sizes[part]) if part in sizes else DASH for part in (*PARTS, "total")]
        texts += [percent(away.get(line.name)), number(inner) if inner else DASH]
        cells = [Text(text) for text in (line.name, *texts)]
        for field, (_, spelt, _) in COSTS.items():
            value = row[field]
            mark = GROWS * (field == "state_bytes" and line.grows and value is not None)
            text = DASH if value is None else spelt(round(value))
            cells.append(Text(text, "", value is not None and value == top[field], mark))
        body.append(cells)
    title = f"Parameters and cost, {lm_words.title(block, others)}"
    grows = f"{GROWS} a KV cache, which grows with every token."
    notes = [grows] * any(line.grows for line in block.lines) + unequal(block)
    header = ["Model", *PARTS, "total", "off", "width", *(name for name, _, _ in COSTS.values())]
    sizes = (len(header) - 1 - len(COSTS), len(COSTS))
    return Table("cost", title, header, body, [], caption(block), notes, groups=sizes)


def _top(block: Block, field: str, shown: Sequence[Row]) -> float | None:
    """The value to print in bold; None where values were not measured alike, or there is one."""
    values = known(shown, field)
    compared = {"tokens_per_second": "device", "peak_memory_bytes": "peak_memory_kind"}
    kinds = {row.get(compared[field]) for row in block.rows} if field in compared else set()
    direction = COSTS[field][2]
    if not direction or len(values) < 2 or len(kinds) > 1 or SHARED in kinds:
        return None
    return direction * max(direction * value for value in values)


def summary(cell: Cell) -> Row:
    """Of the runs behind a number, or of all that there are: sizes, mean speed, most memory."""
    rows = cell.runs or cell.rows
    fields = ("inner", "state_bytes", "flops_per_token", "parameters", "parameters_by_role")
    made: Row = {field: next(iter(known(rows, field)), None) for field in fields}
    made["tokens_per_second"] = lm_words.mean(rows, "tokens_per_second")
    return made | {"peak_memory_bytes": max(known(rows, "peak_memory_bytes"), default=None)}


def known(rows: Sequence[Row], field: str) -> list[Any]:
    return [row[field] for row in rows if row.get(field) is not None]


def parts(row: Row) -> dict[str, int]:
    """Parameters by column; what is in no role that is known here still counts in the total."""
    roles = row["parameters_by_role"] or {}
    made = {name: sum(roles.get(role, 0) for role in of) for name, of in PARTS.items()}
    made = made if roles else {}
    return made | ({"total": row["parameters"]} if row["parameters"] is not None else {})


def body_of(line: Line) -> int | None:
    """Parameters that are matched: all but embedding and head."""
    sizes = parts(summary(only(line)))
    return sizes["total"] - sizes["embedding"] if {"total", "embedding"} <= set(sizes) else None


def off(block: Block) -> dict[str, float]:
    """How far a line's parameters are from the common number, as a fraction of it, by name."""
    sizes = {line.name: size for line in block.lines if (size := body_of(line)) is not None}
    made = {}
    for line in block.lines:
        if line.name in sizes and (goal := target(block, line, sizes)):
            made[line.name] = sizes[line.name] / goal - 1
    return made


def target(block: Block, line: Line, sizes: dict[str, int]) -> float | None:
    """Those of attention, if possible with the same short convolution; else the middle of all."""
    found = [other for other in block.lines if other.model == REFERENCE and other.name in sizes]
    found.sort(key=lambda other: _conv(other) != _conv(line))
    return sizes[found[0].name] if found else median(sizes.values()) if len(sizes) > 1 else None


def unequal(block: Block) -> list[str]:
    """Who is further away than allowed."""
    far = [f"{name} {percent(x)}" for name, x in off(block).items() if abs(x) > ALLOWED]
    return [f"Not of equal size, more than {ALLOWED:.0%} away: {'; '.join(far)}."] * bool(far)


def percent(fraction: float | None) -> str:
    if fraction is None:
        return DASH
    return f"{100 * fraction:+.2f} %".replace("-", "\N{MINUS SIGN}")


def caption(block: Block) -> list[str]:
    """What the columns are, and on what they were measured."""
    against = any(line.model == REFERENCE for line in block.lines)
    whose = "those of attention" if against else "the middle one of the models"
    devices = sorted({str(row["device"]) for row in block.rows if row.get("device")})
    kinds = sorted({str(kind) for kind in known(block.rows, "peak_memory_kind")})
    where = f" on {spelling.joined(devices)}" if devices else ""
    return [
        f"Off: parameters without embedding and head, beside {whose}. Width: of the channel mixer"
        " inside, which makes parameters equal.",
        f"Training{where}, runs at the chosen rate: mean of tokens per second; most bytes at once"
        f" ({' or '.join(kinds) or 'none measured'}).",
        f"State: kept between steps for one sequence of {number(block.setting.get('seq_len'))}"
        " tokens, all layers, measured.",
    ]


def _conv(line: Line) -> str:
    return str(own(only(line).rows[0], "conv") or "own")
