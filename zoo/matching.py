"""Models of equal size: the channel mixer's width makes up for what a token mixer has more or less.

In a comparison at equal parameters, embedding and head aside, the width of the residual stream and
the number of layers stay the same, so that only mixer and channel width differ.
"""

from __future__ import annotations

from functools import lru_cache

import torch

import zoo
from zoo.model import Model, parameters_by_role

# What all others are matched to: 4 d^2 in the mixer, 8 d^2 in a SwiGLU of the usual width.
REFERENCE = "attention"
# Widths in steps of so many channels, which suit a GPU, where that is fine enough.
STEP = 8
FINE = 0.01  # of the parameters; a step may be as much, so that no model is off by more than half


@lru_cache(maxsize=1024)
def matched_width(
    model: str, d_model: int, depth: int, conv: str, channel_mixer: str, norm: str, positions: str
) -> int:
    """Inner width of the channel mixer with which a model has as many parameters as attention.

    Attention has the channel mixer's own width and no short convolution. Embeddings, positions and
    head are not counted. Raises: ValueError where the token mixer alone has more.
    """
    base = _count(REFERENCE, d_model, depth, "none", channel_mixer, norm, "none", 0)
    shape = (model, d_model, depth, conv, channel_mixer, norm, positions)
    first, second = _count(*shape, 1), _count(*shape, 2)
    each = second - first
    step = STEP if STEP * each <= FINE * base else 1
    width = round((base - first + each) / (each * step)) * step
    if width < 1:
        raise ValueError(
            f"{model} has {first - each:,} parameters before its channel mixer, {REFERENCE} with"
            f" one {base:,}: they cannot be matched; type match none"
        )
    return width


def _count(
    model: str,
    d_model: int,
    depth: int,
    conv: str,
    channel_mixer: str,
    norm: str,
    positions: str,
    inner: int,
) -> int:
    """Parameters of all blocks, without memory for them."""
    with torch.device("meta"):
        built = Model(
            zoo.load(model),
            vocabulary=1,
            d_model=d_model,
            depth=depth,
            conv=conv,
            channel_mixer=channel_mixer,
            d_channel=inner,
            norm=norm,
            positions=positions,
            max_length=1,
        )
    roles = parameters_by_role(built)
    return sum(roles.values()) - roles["embedding"] - roles["head"]
