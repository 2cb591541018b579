"""A probe's value with its standard error, what chance gives, and the number of questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

Found = dict[str, Any]


def fraction(right: Sequence[bool], chance: float) -> Found:
    p = fmean(right) if right else None
    stderr = None if p is None else math.sqrt(p * (1 - p) / len(right))
    return {"value": p, "stderr": stderr, "chance": chance, "n": len(right)}


def mean(values: Sequence[float], chance: float | None) -> Found:
    n = len(values)
    value = fmean(values) if values else None
    stderr = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else None
    return {"value": value, "stderr": stderr, "chance": chance, "n": n}


def pooled(parts: Sequence[Found], chance: float) -> Found:
    """The mean of fractions, each counting as much as another whatever its n."""
    known = [part for part in parts if part["n"]]
    if not known:
        return fraction([], chance)
    value = fmean(part["value"] for part in known)
    stderr = math.sqrt(sum(part["stderr"] ** 2 for part in known)) / len(known)
    return {"value": value, "stderr": stderr, "chance": chance, "n": sum(p["n"] for p in known)}
