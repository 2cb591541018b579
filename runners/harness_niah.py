"""The needle in a haystack as a task of `lazoo eval`: its numbers by the columns of Table A8."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results.harness_columns import NEEDLE
from runners import niah
from runners.harness_values import Value, number
from runners.trained import Trained
from tasks.lm import corpora, needle
from tasks.lm import niah as grids

DETAILS = ("score", "recall", "alpha", "mode", "seed", "lengths", "depths", "grid")
THOUSAND = re.compile(r"acc_(le_)?(\d+)k")
HAYSTACK = "classics"  # where the text of a model's own corpus is not here


def about() -> dict[str, Any]:
    """Columns of the task that are known beforehand."""
    files = [Path(str(module.__file__)) for module in (niah, grids, needle)]
    found = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    return {
        "harness_version": "",
        "harness_sha256": found.hexdigest(),
        "harness_source": "linear-attention-zoo",
        "data_source": "",  # known once it is read
    }


def measured(
    trained: Trained, limit: int, tell: Callable[[str], None]
) -> tuple[list[Value], dict[str, Any]]:
    """One value for each column, as fractions, and what else is known. limit: prompts, 0 for all.

    At a limit there are fewer depths; every length has one at least.
    """
    lengths, depths = grids.LENGTHS, list(grids.DEPTHS)
    if limit:
        kept = max(1, min(len(depths), limit // len(lengths)))
        depths = depths[:: math.ceil(len(depths) / kept)]
    corpus, texts = haystack(str(trained.about.get("corpus") or HAYSTACK), tell)
    tell(f"niah: {len(lengths) * len(depths):,} prompts of up to {max(lengths):,} tokens")
    found = niah.niah(
        trained.model,
        trained.tokeniser,
        lengths=lengths,
        depths=depths,
        haystack_texts=texts,
        device=trained.model.embedding.weight.device,
    )
    values = [value(name, number(found.get(name)), found) for name in NEEDLE]
    return [v for v in values if v.value is not None], {
        "details": {name: found.get(name) for name in DETAILS},
        "data_source": f"test split of {corpus}",
    }


def value(name: str, share: float | None, found: dict[str, Any]) -> Value:
    """A column with the error of a share of so many prompts; a weighted mean has none here."""
    lengths, depths = found["lengths"], found["depths"]
    part = THOUSAND.fullmatch(name)
    count = len(lengths) * len(depths)
    if part:
        below = sum(length <= 1000 * int(part[2]) for length in lengths)
        count = len(depths) * (below if part[1] else 1)
    if share is None or name == "weighted_avg" or count < 2:
        return Value(name, share, None, count, True)
    return Value(name, share, math.sqrt(share * (1 - share) / count), count, True)


def haystack(corpus: str, tell: Callable[[str], None]) -> tuple[str, list[str]]:
    """Text that the model was not trained on, and of which corpus: its own, or the embedded one
    where that is not here."""
    try:
        return corpus, list(corpora.documents(corpus, "test"))
    except (ValueError, OSError) as error:
        tell(f"niah: the text of {corpus} is not here, that of {HAYSTACK} is read ({error})")
        return HAYSTACK, list(corpora.documents(HAYSTACK, "test"))
