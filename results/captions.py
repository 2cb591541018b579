"""The sentences under tables and figures: what was compared, how it was chosen, what made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .cells import Block, Cell, Row
from .spelling import fraction, joined, number, percent, rate, statuses

# Named in a title only where nothing else tells two comparisons apart.
MINOR = {"warmup", "evaluate_every", "train_rows", "valid_rows", "test_rows"}


def title(block: Block, others: Sequence[Block] = ()) -> str:
    return f"MQAR, {setting(block, others)}"


def setting(block: Block, others: Sequence[Block] = ()) -> str:
    """The setting in a few words, and whatever else tells it from the blocks shown with it."""
    setting = block.setting
    if _mixed(block):
        words = [f"mixture {setting['mixture']}"]
    else:
        words = [f"length {number(setting['length'])}", f"{number(setting['pairs'])} pairs"]
    words.append(f"vocabulary {number(setting['vocabulary'])}")
    told = {"length", "pairs", "vocabulary", "mixture"}
    differ = {
        name: f"{name.replace('_', ' ')} {number(value)}"
        for name, value in setting.items()
        if name not in told and any(other.setting.get(name) != value for other in others)
    }
    main = [said for name, said in differ.items() if name not in MINOR]
    differ = main or differ.values()
    return ", ".join([*words, *differ])


def caption(block: Block, command: str) -> list[str]:
    """Everything a reader needs to judge a block, in sentences. command: what made the table."""
    return [
        f"Test accuracy in percent. {spread(cells(block))}",
        rule(block),
        f"{architecture(block)} {budget(block)}".strip(),
        f"{level(block)} {runs(block.rows)}".strip(),
        provenance(block.rows, command),
    ]


def spread(found: Sequence[Cell]) -> str:
    """What stands behind one number."""
    counts = {len(cell.runs) for cell in found if cell.runs}
    if not counts:
        return "No run has finished."
    if counts == {1}:
        return "n = 1 seed, so the spread over seeds is not known."
    low, high = min(counts), max(counts)
    seeds = f"{high} seeds" if low == high else f"{low} to {high} seeds"
    return f"Mean ± standard deviation, n = {seeds}."


def brief(block: Block, bars: bool) -> list[str]:
    """A figure's caption, which has less room. bars: whether it draws deviations over seeds."""
    counts = {len(cell.runs) for cell in cells(block) if cell.runs} or {0}
    seeds = " to ".join(str(n) for n in sorted({min(counts), max(counts)}))
    drawn = "Bars: standard deviation, n =" if bars and max(counts) > 1 else "n ="
    tested = block.setting.get("selection") == "test"
    chosen = "test set itself (†, published protocol)" if tested else "validation set"
    rates = len({row["lr"] for row in block.rows})
    conv = convolution(str(block.setting.get("conv", "own")))
    return [
        f"{drawn} {seeds} seed{'s' * (max(counts) > 1)}.",
        f"Best of {rates} learning rates on the {chosen}.",
        f"{conv[0].upper()}{conv[1:]}.",
        budget(block),
    ]


def rule(block: Block) -> str:
    """How the learning rate was chosen, with the grid."""
    rates = sorted({row["lr"] for row in block.rows})
    grid = ", ".join(rate(lr) for lr in rates)
    if len(rates) == 1:
        return f"One learning rate, {grid}: nothing was chosen."
    if block.setting.get("selection") == "test":
        return (
            f"† Learning rate of {grid}: the best on the test set itself, as in the published "
            "protocol, which makes the numbers optimistic."
        )
    return (
        f"Learning rate of {grid}: per model and width the one with the best mean validation "
        "accuracy; nothing was chosen on the test set."
    )


def architecture(block: Block) -> str:
    """Depth, channel mixer, and whose short convolution it is."""
    depth = block.setting.get("depth")
    words = [f"{depth} layer{'s' * (depth != 1)}"] if depth else []
    mixer = block.usual.get("channel_mixer")
    if mixer:
        special = {"none": "no channel mixer", "own": "each model with its authors' channel mixer"}
        words.append(special.get(mixer, f"channel mixer {mixer}"))
    norm = block.usual.get("norm")
    if norm == "own":
        words.append("its authors' block norm")
    if block.usual.get("initialisation") == "authors":
        words.append("its authors' initialisation")
    if block.usual.get("dropout"):
        words.append(f"dropout {block.usual['dropout']:g}")
    words.append(convolution(str(block.setting.get("conv", "own"))))
    text = ", ".join(words) + "."
    return text[0].upper() + text[1:]


def convolution(conv: str) -> str:
    """`k2-silu` in words."""
    if conv == "own":
        return "each model with its own short convolution or token shift"
    if conv == "none":
        return "no short convolution and no token shift in any model"
    kernel, _, activation = conv.partition("-")
    after = {"": "no activation", "silu": "SiLU"}.get(activation, activation)
    return (
        f"the same short convolution {conv} (kernel {kernel[1:]}, {after}) in every model, "
        "in place of its own"
    )


def budget(block: Block) -> str:
    updates, batch, stop = (block.setting.get(name) for name in ("updates", "batch", "stop_at"))
    if updates is None or batch is None:
        return ""
    text = f"Budget {number(updates)} updates of batch {number(batch)}"
    return f"{text}; a run ends above {100 * stop:g}%." if stop and stop < 1 else f"{text}."


def level(block: Block) -> str:
    """Chance: a guess among the values of the row, where recall stays until it is learnt."""
    if block.chance is None:
        return ""
    return f"Chance {fraction(block.chance)}{percent(block.chance)}%."


def memory(block: Block) -> str:
    """Whose bytes a state size counts."""
    tokens = number(block.setting.get("length"))
    length = "the longest test length" if _mixed(block) else f"{tokens} tokens"
    return f"State kept between steps for one sequence of {length}, all layers"


def runs(rows: Sequence[Row]) -> str:
    """`96 runs, 3 of them without result: 2 diverged, 1 out of memory.`"""
    total = f"{number(len(rows))} run{'s' * (len(rows) != 1)}"
    failed = Counter(row["status"] for row in rows if row["status"] != "ok")
    if not failed:
        return f"{total}."
    return f"{total}, {sum(failed.values())} of them without result: {statuses(failed)}."


def commands(rows: Sequence[Row]) -> str:
    """What made the rows, in backticks, as far as their presets tell."""
    presets = sorted({(row["task"], str(row.get("preset") or "")) for row in rows})
    return joined(
        f"`lazoo {task}" + f" --preset {name}" * bool(name) + "`" for task, name in presets
    )


def provenance(rows: Sequence[Row], command: str) -> str:
    """Commands, devices and versions."""
    parts = [f"Runs by {commands(rows)}"] if rows else []
    devices = sorted({str(row["device"]) for row in rows if row.get("device")})
    if devices:
        parts.append(f"on {joined(devices)}")
    versions = []
    for field, name in (("torch", "torch"), ("version", "linear-attention-zoo"), ("git", "commit")):
        found = sorted({str(row[field]) for row in rows if row.get(field)})
        if found:
            versions.append(f"{name} {joined(value[:13] for value in found)}")
    if versions:
        parts.append(f"({', '.join(versions)})")
    return " ".join(parts) + "; " * bool(parts) + f"{'t' if parts else 'T'}able by `{command}`."


def cells(block: Block) -> list[Cell]:
    return [cell for line in block.lines for cell in line.cells.values()]


def _mixed(block: Block) -> bool:
    """Whether rows of several lengths are trained and tested together."""
    return block.setting.get("mixture") not in (None, "none")
