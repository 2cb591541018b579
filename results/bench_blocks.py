"""Which timings stand in one table: the same kind, on the same device, in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .cells import Row

SAME = ("kind", "device", "threads", "dtype")
# What models of one kind of timing share. Shapes of the operator stand in one table.
SETTING = {
    "op": ("step_form",),
    "mixer": ("step_form", "d_model", "batch", "length"),
    "step": ("d_model", "length", "pairs", "batch", "vocabulary"),
    "sweep": ("d_model", "length", "pairs", "batch", "vocabulary"),
    "efficiency": (
        *("step_form", "d_model", "depth"),
        *("vocabulary", "target_parameters", "backend"),
    ),
}


@dataclass(frozen=True)
class Block:
    """rows: in the order in which they were measured."""

    kind: str
    rows: tuple[Row, ...]

    def __getitem__(self, name: str) -> Any:
        """What all rows share."""
        return self.rows[0][name]


def blocks(rows: Sequence[Row], kinds: Sequence[str]) -> list[Block]:
    """All comparisons of those kinds, in an order that does not depend on that of the rows."""
    grouped: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (str(row.get("time", "")), row["key"])):
        if row["kind"] in kinds:
            fields = [row.get(name) for name in (*SAME, *SETTING[row["kind"]])]
            tokens = row["batch"] * row["length"] if row["kind"] == "efficiency" else None
            grouped.setdefault(repr([kinds.index(row["kind"]), *fields, tokens]), []).append(row)
    return [Block(grouped[key][0]["kind"], tuple(grouped[key])) for key in sorted(grouped)]


def where(block: Block) -> str:
    """`fp32 on cpu x86_64, 1 thread`; on a GPU with how the calls were launched."""
    threads = f"{block['threads']} thread{'s' * (block['threads'] != 1)}"
    if str(block["device"]).startswith("cpu"):
        return f"{block['dtype']} on {block['device']}, {threads}"
    forms = {row["step_form"] for row in block.rows}
    launched = f", {forms.pop()}" if len(forms) == 1 else ""
    return f"{block['dtype']} on {block['device']}{launched}"
