"""How numbers and names are spelt in tables and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

DASH = "\N{EN DASH}"
FAILURES = {"oom": "out of memory", "timeout": "timed out"}


def statuses(failed: Counter[str]) -> str:
    return ", ".join(f"{n} {FAILURES.get(status, status)}" for status, n in sorted(failed.items()))


def fraction(chance: float) -> str:
    """`1/16 = `, or nothing for the mean over several settings."""
    pairs = round(1 / chance)
    return f"1/{pairs} = " if abs(1 / pairs - chance) < 1e-9 else ""


def percent(chance: float | None) -> str:
    """A level that is known exactly: three digits, `6.25`."""
    return DASH if chance is None else f"{100 * chance:.3g}"


def joined(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = list(words)
    return f"{', '.join(most)} and {last}" if most else last


def number(value: Any) -> str:
    """Thousands separated; everything that is no integer as it is."""
    if isinstance(value, bool) or not isinstance(value, int):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return f"{value:,}"


def rate(lr: float) -> str:
    """A learning rate in the shortest usual spelling: 0.02, 0.0022, 1e-4."""
    return f"{lr:.2g}" if lr >= 0.001 else f"{lr:.1e}".replace(".0e", "e").replace("e-0", "e-")


def size(n: int | None) -> str:
    """Bytes with a binary unit, three digits at most: `640 B`, `8.25 KiB`, `16 MiB`."""
    if n is None:
        return DASH
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= scale:
            return f"{n / scale:.3g} {unit}" if n < 1000 * scale else f"{n / scale:.0f} {unit}"
    return f"{n} B"
