"""What comes of a trained language model: its columns in the row, and its folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from runners import lm, lm_probes, trained
from runners.lm_config import Lm
from runners.team import Team
from tasks.lm import corpora
from tasks.lm.data import Data
from zoo.model import Model


def tested(model: Model, config: Lm, data: Data, team: Team) -> dict[str, Any]:
    """Columns of the test split and the probes. The model must be in eval mode."""
    tokeniser, split = data.tokeniser, data.test
    found = lm.score(
        model, config, split, tokeniser.token_bytes, config.test_tokens, team.device, team=team
    )
    nats, scored = found.nats.sum().item(), int(found.bytes.sum())
    words = split.words + split.lines * corpora.corpus(config.corpus).counts_lines
    return {
        "value": found.bits_per_byte,
        "value_nats": found.nats_per_token,
        "token_perplexity": perplexity(found.nats_per_token),
        "word_perplexity": perplexity(nats / scored * split.bytes / words) if words else None,
        "test_bytes": scored,
        "test_scored_tokens": int(found.tokens.sum()),
        "by_position": lm.by_position(found),
        "probes": lm_probes.probe(model, data, config, team.device) if team.leads else {},
    }


def perplexity(nats: float) -> float | None:
    """None for what no number can hold."""
    return math.exp(nats) if nats < 700 else None


def keep(
    model: Model, config: Lm, data: Data, row: dict[str, Any], models: Path, team: Team
) -> str:
    """Stores the trained model. Returns: its folder, or what prevented it.

    A full disk costs the folder, not the row.
    """
    whole = team.whole(model)
    if not team.leads:
        return ""
    names = ("key", "preset", "label", "corpus", "steps", "value", "valid", "data_sha256", "git")
    about = {name: row[name] for name in (*names, "version", "plugin_sha256", "parameters")}
    about |= {"tokens": row["steps"] * config.batch * config.seq_len}
    folder = models / config.key
    try:
        trained.save(folder, whole, config, data.tokeniser, about)
    except OSError as error:
        return f"not kept: {error.strerror or error}"
    return folder.name
