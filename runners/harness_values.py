"""From the items of an evaluation to its numbers: value, standard error, chance, what was asked."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

RESAMPLED = 1000  # items up to which a metric without a formula gets a standard error


class Value(NamedTuple):
    """One metric of a task. n: items behind it. stderr: None where it is not known."""

    metric: str
    value: float | None
    stderr: float | None
    n: int
    higher_is_better: bool | None


def values(results: dict[str, Any], task: Any) -> list[Value]:
    """Every metric of one task, from what the harness' `evaluate` returns."""
    (name,) = results["results"]
    better, samples = results["higher_is_better"][name], results["samples"][name]
    found = []
    for title, value in results["results"][name].items():
        metric, _, filtered = title.partition(",")
        if not filtered or metric.endswith("_stderr"):
            continue
        scores = [s[metric] for s in samples if s["filter"] == filtered and metric in s]
        told = metric if filtered == "none" else f"{metric},{filtered}"
        aggregate = task.aggregation()[metric]
        error = standard_error(scores, aggregate)
        found.append(Value(told, number(value), error, len(scores), better.get(metric)))
    return found


def number(value: Any) -> float | None:
    known = isinstance(value, int | float) or hasattr(value, "__float__")
    return float(value) if known and math.isfinite(float(value)) else None


def standard_error(scores: Sequence[Any], aggregate: Callable[[Any], Any]) -> float | None:
    """Of the aggregate, over the items.

    The mean's own formula; for a perplexity that of the mean of its logarithms, times its slope;
    for others the jackknife: how the number moves as each item in turn is left out.
    """
    n = len(scores)
    if n < 2:
        return None
    name = getattr(aggregate, "__name__", "")
    if name in ("mean", "perplexity"):
        spread = statistics.stdev(map(float, scores)) / math.sqrt(n)
        return spread * (number(aggregate(scores)) or 0.0) if name == "perplexity" else spread
    if n > RESAMPLED:
        return None
    without = [number(aggregate([*scores[:i], *scores[i + 1 :]])) for i in range(n)]
    known = [value for value in without if value is not None]
    if len(known) < n:
        return None
    middle = statistics.fmean(known)
    return math.sqrt((n - 1) / n * sum((value - middle) ** 2 for value in known))


def chance(samples: Sequence[dict[str, Any]], kind: str) -> float | None:
    """Accuracy of a guess among the choices of each item; None where there are no choices."""
    if kind != "multiple_choice" or not samples:
        return None
    return statistics.fmean(1 / len(sample["arguments"]) for sample in samples)


def items_sha256(samples: Sequence[dict[str, Any]]) -> str:
    """Of everything the model was asked, in order: equal for two models on the same items."""
    found = hashlib.sha256()
    for sample in samples:
        found.update(repr((sample["arguments"], sample["target"])).encode())
    return found.hexdigest()
