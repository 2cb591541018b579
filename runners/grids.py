"""Lists of runs from one run and the values of some of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeVar

from runners.base import Run

R = TypeVar("R", bound=Run)


def grid(base: R, **axes: Sequence[Any]) -> list[R]:
    """One run for every combination of the axes' values; the last axis varies fastest."""
    combinations = product(*axes.values())
    return [changed(base, **dict(zip(axes, values, strict=True))) for values in combinations]


def changed(base: R, **fields: Any) -> R:
    """A copy with other fields, validated (model_copy does not)."""
    return type(base).model_validate({**base.model_dump(), **fields})


def logspace(first: float, last: float, count: int) -> list[float]:
    """Powers of ten, equally spaced exponents, rounded to 4 digits so that names stay readable."""
    step = (last - first) / (count - 1)
    return [float(f"{10 ** (first + i * step):.3e}") for i in range(count)]
