"""A run of a second or less, for tests of how runs are trained together."""

from __future__ import annotations

from typing import Any

from runners.config import Mqar

TINY: dict[str, Any] = {
    "model": "gla",
    "vocabulary": 32,
    "length": 12,
    "pairs": 2,
    "d_model": 16,
    "batch": 8,
    "train_rows": 20,
    "valid_rows": 30,
    "test_rows": 30,
    "updates": 20,
    "evaluate_every": 5,
}


def tiny(**fields: Any) -> Mqar:
    return Mqar(**{**TINY, **fields})
