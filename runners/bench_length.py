"""What a call at the next length would take, so that one without hope is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping


def expected(seconds: Mapping[int, float], length: int) -> float:
    """Seconds that a call at `length` may take, from those at shorter lengths; 0 for the first.

    The growth between the last two goes on, and is at least none: a call has as many tokens at
    every length, so a linear cost stays the same.
    """
    before = sorted(n for n in seconds if n < length)
    if not before:
        return 0.0
    last = before[-1]
    slope = 0.0
    if len(before) > 1:
        ratio = seconds[last] / seconds[before[-2]]
        slope = max(0.0, math.log(ratio) / math.log(last / before[-2]))
    return seconds[last] * (length / last) ** slope
