"""How cost grows with length: the exponent of a fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SINCE = 4096  # tokens: shorter rows leave a GPU partly idle, which is not the cost's growth


def exponent(per_token: Mapping[int, float]) -> float | None:
    """e of cost ~ length^e for one row; 1 is linear. None for fewer than two lengths.

    per_token: seconds per token by length, at about as many tokens in a call. The cost of a row
    is length times that, so e is 1 plus the slope of its logarithm over that of the length, by
    least squares over lengths from SINCE on where there are two of them, else over all.
    """
    chosen = fitted(per_token)
    if len(chosen) < 2:
        return None
    x, y = np.log(chosen), np.log([per_token[length] for length in chosen])
    return 1 + float(np.polyfit(x, y, 1)[0])


def fitted(per_token: Mapping[int, float]) -> list[int]:
    """The lengths that the fit uses."""
    long = [length for length in sorted(per_token) if length >= SINCE]
    return long if len(long) > 1 else sorted(per_token)
