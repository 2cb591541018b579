"""From rows of language models to comparisons: one for each corpus, budget and shape of model.

Which fields all models of a comparison share and which are a model's own is listed here, so a
column that is in neither list never tells two runs apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .cells import Block, Cell, Line, Row, seed_of
from .select import make_cell, most_common, variant, words
from .styles import rank

# What all models of a comparison share. Runs that differ in any of it are never in one table.
SETTING = """corpus tokeniser text_sha256 d_model depth seq_len batch updates channel_mixer norm
    match tied schedule lr_end decay_share warmup weight_decay decay_all beta2 clip dropout
    precision shuffle evaluate_every valid_tokens test_tokens task_version""".split()  # noqa: SIM905  as words
# What may differ between lines, which are then named by it or have a note.
OWN = """conv positions initialisation attention_dropout d_channel accumulate backend
    plugin_sha256""".split()  # noqa: SIM905  as words
# What is varied within a cell, or says whose it is.
VARIED = frozenset({"model", "lr", "seed", "data_seed"})


def blocks(rows: Iterable[Row]) -> list[Block]:
    """All comparisons in the rows, in an order that does not depend on the order of the rows."""
    grouped: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["key"]):
        # A row that lost its direction must not turn the choice of rates around.
        directed = row if "higher_is_better" in row else row | {"higher_is_better": False}
        grouped.setdefault(repr([row.get(name) for name in SETTING]), []).append(directed)
    return sorted((make_block(group) for group in grouped.values()), key=_place)


def make_block(rows: Sequence[Row]) -> Block:
    """Rows of one setting as lines of one cell each, in the zoo's order of models."""
    usual = {name: _usual(name, [own(row, name) for row in rows]) for name in OWN}
    split: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        told = (repr(own(row, name)) for name in OWN)
        split.setdefault((row["model"], *told), []).append(row)
    found = list(split.values())
    named = _names([group[0] for group in found], usual)
    seeds = len({seed_of(row) for row in rows})
    searched = max(len({row["lr"] for row in group}) for group in found)
    lines = [
        Line(
            group[0]["model"],
            name,
            str(group[0].get("family", "")),
            departs(group[0], usual),
            {group[0].get("d_model", 0): _cell(group, seeds, searched)},
        )
        for name, group in zip(named, found)
    ]
    lines.sort(key=lambda line: (rank(line.model), line.name))
    return Block({name: rows[0].get(name) for name in SETTING}, usual, tuple(lines), tuple(rows))


def only(line: Line) -> Cell:
    """The cell of a line: a comparison has models of one width."""
    (cell,) = line.cells.values()
    return cell


def best(block: Block) -> set[str]:
    """Names of the lines to print in bold; none where there is nothing to compare."""
    known = [line for line in block.lines if only(line).mean is not None]
    return {name for d in block.widths for name in block.best(d)} if len(known) > 1 else set()


def own(row: Row, name: str) -> Any:
    """A field of a run's own. Nothing, zero and a column that is not there are the same."""
    value = row.get(name)
    return value or None


def by_position(row: Row) -> tuple[list[int], list[float | None]]:
    """Edges of spans of positions in the window, and bits per byte in each; empty where unknown."""
    found = row.get("by_position")
    return (found["edges"], found["bits_per_byte"]) if found else ([], [])


def departs(row: Row, usual: dict[str, Any]) -> dict[str, Any]:
    """Fields in which a run is not what most others are."""
    return {name: own(row, name) for name in OWN if own(row, name) != usual[name]}


def _cell(rows: Sequence[Row], seeds: int, searched: int) -> Cell:
    return make_cell([{"d_model": 0} | row for row in rows], seeds, searched)


def _usual(name: str, values: Sequence[Any]) -> Any:
    """What most have; of short convolutions `own`, wherever a model keeps its own."""
    return "own" if name == "conv" and "own" in values else most_common(values)


def _names(lines: Sequence[Row], usual: dict[str, Any]) -> list[str]:
    """The label, and what is unusual about a line where that tells it from others of the model.

    An unusual short convolution is always named: it decides more than most token mixers do.
    """
    labels = [str(row.get("label") or row["model"]) for row in lines]
    names = []
    for row, label in zip(lines, labels):
        same = [other for other, at in zip(lines, labels) if at == label]
        models = sorted({other["model"] for other in same})
        parts = [label, variant(row["model"], models) if len(models) > 1 else ""]
        for name, value in departs(row, usual).items():
            several = len({repr(own(other, name)) for other in same}) > 1
            parts.append(words(name, value) if several or name == "conv" else "")
        names.append(", ".join(filter(None, parts)))
    return names


def _place(block: Block) -> list[tuple[bool, str, Any]]:
    return [(v is None, type(v).__name__, v) for v in block.setting.values()]
