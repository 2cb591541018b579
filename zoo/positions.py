"""Fixed sinusoidal positions, which are added to an embedding."""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoids(length: int, d: int) -> Tensor:
    """length d: sin(p w_i) in channel 2i and cos(p w_i) in 2i + 1, w_i = 10000^(-2i/d), p from 0.

    As in google-research/long-range-arena (sinusoidal_init) and OpenNLPLab/lra
    (PositionalEncoder); neither scales the embedding that they are added to.
    """
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    rate = 10_000 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)  # ceil(d/2)
    angle = position * rate  # length ceil(d/2)
    both = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # length 2 ceil(d/2)
    return both[:, :d].to(torch.get_default_dtype())
