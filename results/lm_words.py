"""How language models are spelt: numbers, titles, and the sentences under tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import captions, spelling
from .cells import Block, Row
from .spelling import DASH, joined, number

BITS = "bits per byte"
MEANS = (
    "Bits per byte: what the model takes to encode the test text, in bits, per byte of UTF-8; lower"
    " is better, whatever the tokeniser."
)
BASELINES = {
    "xz": "xz -9e",
    "unigram": "byte frequencies",
}
# Told in every title, or named there only where nothing else tells two comparisons apart.
TOLD = ("corpus", "tokeniser", "d_model", "depth")
MINOR = ("text_sha256", "evaluate_every", "valid_tokens", "test_tokens", "task_version", "warmup")


def title(block: Block, others: Sequence[Block] = ()) -> str:
    """Corpus, budget and size, and whatever else tells it from the comparisons shown with it."""
    setting = block.setting
    words = [f"{setting['corpus']} as {setting['tokeniser']}"]
    words += [f"{count(total)} tokens"] if (total := tokens(block)) else []
    words += [f"d_model {setting['d_model']}", f"depth {setting['depth']}"]
    differ = {
        name: f"{name.replace('_', ' ')} {spelt(name, value)}"
        for name, value in setting.items()
        if name not in TOLD and any(other.setting.get(name) != value for other in others)
    }
    main = [said for name, said in differ.items() if name not in MINOR]
    return ", ".join([*words, *(main or differ.values())])


def caption(block: Block) -> list[str]:
    """What a comparison is of, in sentences."""
    return [data(block), training(block), rule(block)]


def data(block: Block) -> str:
    """Which text, in which tokens; who had other text, if not all had the same."""
    users: dict[tuple[str, str], list[str]] = {}
    for line in block.lines:
        for row in (row for cell in line.cells.values() for row in cell.rows):
            if source := str(row.get("data_source") or ""):  # a run that was killed has none
                version = str((row.get("data_sha256") or {}).get("test"))[:8]
                users.setdefault((source, version), []).append(line.name)
    setting = block.setting
    what = f"Text: {setting['corpus']}; tokeniser: {setting['tokeniser']}"
    if len(users) < 2:
        return what + "".join(f"; source: {source}" for source, _ in users) + "."
    each = [
        f"{source} (test sha256 {version}) for {joined(dict.fromkeys(who))}"
        for (source, version), who in sorted(users.items())
    ]
    return f"{what}. The text is not the same for all: {'; '.join(each)}."


def training(block: Block) -> str:
    """Budget and what all blocks are made of."""
    get = block.setting.get
    words = [f"{number(get('updates'))} updates of {number(get('batch'))} windows"]
    words[0] += f" of {number(get('seq_len'))} tokens"
    words[0] += f", {number(total)} in all" if (total := tokens(block)) else ""
    parts = [
        f"d_model {get('d_model')}, depth {get('depth')}",
        f"channel mixer {get('channel_mixer')}",
        f"{get('norm')} norm",
        f"schedule {get('schedule')}",
        str(get("precision")),
        captions.convolution(str(block.usual["conv"] or "own")),
    ]
    exact = "The same batches in the same order for all."
    return f"{words[0]}; {', '.join(parts)}. {exact}"


def rule(block: Block) -> str:
    """How learning rates were chosen."""
    cells = captions.cells(block)
    tried = {tuple(rate.lr for rate in cell.rates) for cell in cells}
    if all(len(rates) == 1 for rates in tried):
        return "One learning rate for each model: none was chosen."
    grid = f" of {', '.join(map(spelling.rate, *tried))}" if len(tried) == 1 else ""
    return (
        f"Learning rate{grid}: per model the one with the lowest mean bits per byte of the"
        " validation set; nothing was chosen on the test set."
    )


def tokens(block: Block) -> int | None:
    """Of a whole training."""
    each, updates = tokens_of_update(block.setting), block.setting.get("updates")
    return None if each is None or updates is None else each * updates


def tokens_of_update(fields: dict[str, Any]) -> int | None:
    """fields: of a row, or of a setting."""
    batch, seq_len = fields.get("batch"), fields.get("seq_len")
    return None if batch is None or seq_len is None else batch * seq_len


def spelt(name: str, value: Any) -> str:
    """A field of the setting; hashes are cut, they are compared and not read."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)[:8] if name.endswith("sha256") else number(value)


def plain(name: str) -> str:
    """A name of a field or a probe as words."""
    return name.replace("_", " ")


def bits(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def count(value: float | None) -> str:
    """Three digits and a unit of a thousand, a million, ...: `1.23 M`; below 10,000 as it is."""
    if value is None:
        return DASH
    three = float(f"{value:.3g}")
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if three >= scale and value >= 1e4:
            return f"{three / scale:.4g} {unit}"
    return number(round(value))


def tick(value: float) -> str:
    """A round number of an axis: `5 k`, `1.5 M`."""
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:g} {unit}"
    return f"{value:g}"


def perplexity(value: float | None) -> str:
    """Three digits: `5.27`, `12,300`."""
    if value is None:
        return DASH
    if value >= 1e6:
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    three = float(f"{value:.3g}")
    return f"{three:,.0f}" if three >= 100 else f"{three:#.3g}"


def mean(rows: Sequence[Row], field: str) -> float | None:
    """Over those that have the field."""
    found = [row[field] for row in rows if row.get(field) is not None]
    return sum(found) / len(found) if found else None
