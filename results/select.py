"""From rows to cells: which runs belong together, and which learning rate speaks for a model.

The rule, printed under every table: the rate with the best mean validation metric over seeds. Rates
compete only if as many of their runs finished as of any other rate, so a rate at which one seed
diverged does not win by the luck of the rest. Exact ties go to the rate further inside the grid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .cells import Block, Cell, Line, Rate, Row, seed_of, sign
from .styles import rank

# What a run found out, and where it ran. Every other field of a row is part of its configuration.
MEASURED = frozenset(
    """key task preset label family metric higher_is_better value value_by_setting valid chance
    left_plateau left_plateau_at left_plateau_above steps stop curve_steps curve_valid curve_loss
    train_loss parameters parameters_embedding parameters_by_role state_bytes epoch_updates seconds
    step_seconds tokens_per_second peak_memory_bytes peak_memory_kind status error device backends
    threads torch numpy python version git time data_sha256 stacked step_form""".split()  # noqa: SIM905
)
# What is varied within a cell or names it.
VARIED = frozenset({"model", "d_model", "lr", "seed", "data_seed"})
# What all models of a comparison share. The rest may differ between models, and is then named.
SETTING = """length pairs vocabulary filler mixture task_version train_rows valid_rows test_rows
    shuffle conv depth batch updates schedule warmup weight_decay decay_all clip stop_at
    evaluate_every selection precision""".split()  # noqa: SIM905  as words


def blocks(rows: Iterable[Row]) -> list[Block]:
    """All comparisons in the rows, in an order that does not depend on the order of the rows."""
    grouped: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["key"]):
        grouped.setdefault(repr([row.get(name) for name in SETTING]), []).append(row)
    return sorted((make_block(group) for group in grouped.values()), key=_place)


def make_block(rows: Sequence[Row]) -> Block:
    """Rows of one setting as lines and cells, in the zoo's order of models."""
    free = sorted({name for row in rows for name in row} - MEASURED - VARIED - set(SETTING))
    usual = {name: most_common([row.get(name) for row in rows]) for name in free}
    seeds = len({seed_of(row) for row in rows})
    grids: dict[int, set[float]] = {}
    for row in rows:
        grids.setdefault(row["d_model"], set()).add(row["lr"])
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row["model"], *(repr(row.get(name)) for name in free)), []).append(row)
    named = _names([group[0] for group in found.values()], free)
    lines = [
        Line(
            group[0]["model"],
            named[i],
            str(group[0].get("family", "")),
            {name: group[0].get(name) for name in free if group[0].get(name) != usual[name]},
            {
                d: make_cell([row for row in group if row["d_model"] == d], seeds, len(grids[d]))
                for d in sorted({row["d_model"] for row in group})
            },
        )
        for i, group in enumerate(found.values())
    ]
    lines.sort(key=lambda line: (rank(line.model), line.name))
    return Block({name: rows[0].get(name) for name in SETTING}, usual, tuple(lines), tuple(rows))


def make_cell(rows: Sequence[Row], seeds: int, searched: int) -> Cell:
    """All runs of one model at one width, and the learning rate that the rule chooses."""
    rates = tuple(
        Rate(lr, tuple(row for row in rows if row["lr"] == lr))
        for lr in sorted({row["lr"] for row in rows})
    )
    selection = str(rows[0].get("selection", "validation"))
    field = "value" if selection == "test" else "valid"
    best = choose(rates, field, sign(rows[0]))
    return Cell(rows[0]["d_model"], rates, best, seeds, searched, selection)


def choose(rates: Sequence[Rate], field: str, direction: int) -> Rate | None:
    """The rule above. field: `valid`, or `value` where the published protocol chooses on test."""
    finished = max((len(rate.ok) for rate in rates), default=0)
    means = [rate.mean(field) if len(rate.ok) == finished else None for rate in rates]
    scores = [(direction * mean, i) for i, mean in enumerate(means) if mean is not None]
    if not scores:
        return None
    top, last = max(scores)[0], len(rates) - 1
    tied = [i for score, i in scores if score == top]
    return rates[max(tied, key=lambda i: (min(i, last - i), -i))]


def _names(lines: Sequence[Row], free: Sequence[str]) -> list[str]:
    """Short names, all different: the label, and only where two share one, what sets them apart."""
    labels = [str(row.get("label") or row["model"]) for row in lines]
    names = []
    for row, label in zip(lines, labels):
        same = [other for other, at in zip(lines, labels) if at == label]
        parts = [label]
        if len({other["model"] for other in same}) > 1:
            parts.append(variant(row["model"], [other["model"] for other in same]))
        odd = [name for name in free if len({repr(other.get(name)) for other in same}) > 1]
        parts += [words(name, row.get(name)) for name in odd]
        names.append(", ".join(part for part in parts if part))
    return names


def variant(model: str, others: Sequence[str]) -> str:
    """What of `metala:mqar+conv2` other variants lack: `conv2`; the model where bases differ."""
    if len({other.partition(":")[0] for other in others}) > 1:
        return model
    variants = [other.partition(":")[2].split("+") for other in others]
    return "+".join(
        v for v in model.partition(":")[2].split("+") if any(v not in o for o in variants)
    )


def words(name: str, value: Any) -> str:
    """A field and its value in a sentence: `dropout 0.1`."""
    if name == "plugin_sha256":
        return f"plugin {str(value)[:8]}"
    return f"{name.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value}"


def most_common(values: Sequence[Any]) -> Any:
    """Of equally common values, the first in the order of their spelling."""
    spelt = {repr(value): value for value in values}
    counts = Counter(map(repr, values))
    return spelt[min(spelt, key=lambda text: (-counts[text], text))]


def _place(block: Block) -> list[tuple[bool, str, Any]]:
    return [(v is None, type(v).__name__, v) for v in block.setting.values()]
