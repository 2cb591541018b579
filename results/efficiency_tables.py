"""Tables of training throughput and memory at equal parameters, models in lines, lengths across."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import bench_growth, captions
from .bench_blocks import Block, blocks, where
from .bench_words import failures, memory_kinds, name_of, reason, spread
from .cells import Row
from .spelling import DASH, number, size
from .styles import rank
from .writers import Table, Text

KINDS = ("efficiency",)
PAPER = (
    "MetaLA (arXiv 2411.10741) shows the like in Figure A2, whose numbers are in no table, so none"
    " stand beside ours."
)


def make(rows: Sequence[Row], command: str) -> list[Table]:
    """Throughput, memory and the models' sizes, for each comparison in the rows."""
    return [
        table
        for block in blocks(rows, KINDS)
        for table in (throughput(block, command), memory(block, command), models(block))
    ]


def throughput(block: Block, command: str) -> Table:
    said = [
        f"Tokens per second of training, in thousands: {step(block)} {spread(block)}",
        "Last column: cost of one row of length T as T^e, by least squares over the lengths"
        f" {spans(block)}; 1 is linear.",
        setting(block),
        PAPER,
        captions.provenance(block.rows, command),
    ]
    title = f"Training throughput, {where(block)}"
    table = across(block, title, lambda row: row["tokens_per_second"], thousands, most=True)
    header = [*table.header, "e"]
    body = [[*line, Text(growth(same))] for line, same in zip(table.body, lines(block).values())]
    return Table("efficiency", title, header, body, [], said, failures(block))


def memory(block: Block, command: str) -> Table:
    said = [
        f"Most bytes at once while training: {memory_kinds(block)}; {step(block)}",
        captions.provenance(block.rows, command),
    ]
    title = f"Training memory, {where(block)}"
    table = across(block, title, lambda row: row["peak_memory_bytes"], size_of, most=False)
    return Table("memory", title, table.header, table.body, [], said, [])


def models(block: Block) -> Table:
    """What made the parameters equal."""
    body = []
    for name, same in lines(block).items():
        row = same[-1]
        ran = sorted({backend for each in same for backend in each["backends"] or []})
        body.append(
            [
                Text(name),
                Text(number(row["inner"])),
                Text(number(row["parameters"])),
                Text(f"{100 * row['deviation']:+.2f} %".replace("-", "\N{MINUS SIGN}")),
                Text(", ".join(ran) or DASH),
            ]
        )
    target = number(block["target_parameters"])
    said = [f"Parameters without embedding and head, and their distance from {target}."]
    header = ["Model", "inner width", "parameters", "off by", "backends"]
    return Table("sizes", f"Equal parameters, {where(block)}", header, body, [], said, [])


def across(
    block: Block,
    title: str,
    value: Callable[[Row], float | None],
    spelt: Callable[[float], str],
    most: bool,
) -> Table:
    """A value by length. most: whether the largest is best, which is in bold."""
    spans = lengths(block)
    top: dict[int, float] = {}
    for row in block.rows:
        if (x := value(row)) is not None:
            known = top.get(row["length"], x)
            top[row["length"]] = max(known, x) if most else min(known, x)
    body = []
    for name, same in lines(block).items():
        at = {row["length"]: row for row in same}
        body.append([Text(name), *(entry(at.get(n), value, spelt, top.get(n)) for n in spans)])
    return Table("efficiency", title, ["Model", *map(number, spans)], body, [], [], [])


def entry(
    row: Row | None,
    value: Callable[[Row], float | None],
    spelt: Callable[[float], str],
    top: float | None,
) -> Text:
    if row is None:
        return Text(DASH)
    x = value(row)
    return Text(reason(row)) if x is None else Text(spelt(x), best=x == top)


def lines(block: Block) -> dict[str, list[Row]]:
    """Rows of each model by its name, in the zoo's order and by length."""
    order = sorted(block.rows, key=lambda row: (rank(row["model"]), row["length"]))
    found: dict[str, list[Row]] = {}
    for row in order:
        found.setdefault(name_of(row), []).append(row)
    return found


def lengths(block: Block) -> list[int]:
    return sorted({row["length"] for row in block.rows})


def growth(rows: Sequence[Row]) -> str:
    found = bench_growth.exponent(per_token(rows))
    return DASH if found is None else f"{found:.2f}"


def per_token(rows: Sequence[Row]) -> dict[int, float]:
    """Seconds by length."""
    return {r["length"]: 1 / r["tokens_per_second"] for r in rows if r["tokens_per_second"]}


def spans(block: Block) -> str:
    """The lengths of the fit, as far as the longest line tells."""
    used = max((bench_growth.fitted(per_token(same)) for same in lines(block).values()), key=len)
    return f"{used[0]:,} to {used[-1]:,}" if used else "that ran"


def setting(block: Block) -> str:
    """Everything that all models share, in sentences."""
    tokens = max(row["batch"] * row["length"] for row in block.rows)
    depth = block["depth"]
    return (
        f"Width {number(block['d_model'])}, {depth} layer{'s' * (depth != 1)}, RMSNorm, SwiGLU"
        f" whose inner width makes parameters equal ({number(block['target_parameters'])} without"
        f" embeddings), vocabulary {number(block['vocabulary'])}, RoPE for softmax attention,"
        " otherwise no positions; each model's own short convolution or token shift."
        f" {number(tokens)} tokens in a batch at every length."
    )


def step(block: Block) -> str:
    how = {"bf16": "bf16 autocast", "fp32": "float32"}[block["dtype"]]
    return f"forward, next-token loss on every token, backward and AdamW, {how}."


def thousands(value: float) -> str:
    return f"{value / 1000:,.0f}" if value >= 1e5 else f"{value / 1000:#.3g}"


def size_of(value: float) -> str:
    return size(round(value))
