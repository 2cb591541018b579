"""Random numbers of the Pathfinder generator: a splitmix64 stream (Steele et al. 2014) an image."""

from __future__ import annotations

import numpy as np
from numba import njit

# Only draw_images is called from Python; without wrappers the rest compiles in half the time.
inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # pyright: ignore


@inner
def start(state, key, index):
    state[0] = index
    state[0] = following(state) ^ key
    state[0] = following(state)


@inner
def following(state):
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inner
def uniform(state):
    return float(following(state) >> np.uint64(11)) * 2.0**-53


@inner
def below(state, n):
    """An integer 0..n-1; nothing is drawn where there is no choice."""
    return int(uniform(state) * n) if n > 1 else 0
