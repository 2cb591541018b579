"""Language models as flat lines for CSV: full precision, settings, and the keys of the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from . import lm_cost, lm_probes, lm_ranks, lm_words
from .cells import Block, Line, Row
from .lm_blocks import OWN, best, by_position, only, own
from .tidy import search

NUMBERS = ("value_nats", "token_perplexity", "word_perplexity")


def cells(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """One line per model; bits per byte, accuracies of probes as fractions, sizes in bytes."""
    return [_cell(block, line) for block in blocks for line in block.lines]


def positions(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """One line per run at the chosen rate and span of positions in the window."""
    return [
        _run(line, row) | {"from": edges[i], "to": edges[i + 1], "bits_per_byte": value}
        for line, row in _runs(blocks)
        for edges, values in [by_position(row)]
        for i, value in enumerate(values)
    ]


def curves(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """One line per run at the chosen rate and validation. seconds: of updates alone."""
    made = []
    for line, row in _runs(blocks):
        steps = row.get("curve_steps") or []
        losses = row.get("curve_loss") or [None] * len(steps)
        each = lm_words.tokens_of_update(row)
        for update, valid, nats in zip(steps, row.get("curve_valid") or [], losses):
            made.append(
                _run(line, row)
                | {
                    "update": update,
                    "tokens": each and update * each,
                    "seconds": row.get("step_seconds") and update * row["step_seconds"],
                    "valid_bits_per_byte": valid,
                    "train_nats": nats,
                }
            )
    return made


def _cell(block: Block, line: Line) -> dict[str, Any]:
    cell = only(line)
    row: Row = (cell.runs or cell.rows)[0]
    cost = lm_cost.summary(cell)
    made = {"model": line.model, "name": line.name}
    made |= {"value": cell.mean, "std": cell.std, "n": len(cell.runs), "seeds_planned": cell.seeds}
    made |= {"valid": cell.best.mean("valid") if cell.best else None}
    made |= {"best": line.name in best(block)}
    made |= {"beside_best": lm_ranks.beside_best(block).get(line.name, "")}
    made |= {name: lm_words.mean(cell.runs, name) for name in NUMBERS}
    made |= search(cell)
    made |= {f"parameters_{name}": n for name, n in lm_cost.parts(cost).items()}
    made |= {"parameters_off": lm_cost.off(block).get(line.name), "inner": cost["inner"]}
    made |= {name: cost[name] for name in lm_cost.COSTS}
    for name in lm_probes.named(block):
        found = lm_probes.probe(cell, name)
        made[f"probe_{name}"] = found and found.value
        made[f"probe_{name}_stderr"] = found and found.stderr
        for what in ("chance", "n"):
            made[f"probe_{name}_{what}"] = lm_probes.fact(block, name, what)
    for name, level in (row.get("baselines") or {}).items():
        made[f"baseline_{name}"] = level
    made |= {"tokens": lm_words.tokens(block), "data_source": row.get("data_source")}
    made |= {"data_sha256_test": (row.get("data_sha256") or {}).get("test")}
    return made | {name: own(row, name) for name in OWN} | block.setting


def _run(line: Line, row: Row) -> dict[str, Any]:
    names = ("corpus", "lr", "seed", "data_seed", "key")
    return {"model": line.model, "name": line.name} | {name: row.get(name) for name in names}


def _runs(blocks: Sequence[Block]) -> Iterator[tuple[Line, Row]]:
    for block in blocks:
        for line in block.lines:
            for row in only(line).runs:
                yield line, row
