"""Models of equal width, depth and parameters: the channel mixer takes up what is left."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import nn

import zoo
from zoo.blocks import GLU
from zoo.model import Model, parameters_by_role

MULTIPLE = 8  # of the inner width, as in GLU
ALLOWED = 0.05  # fraction by which the parameters may miss their number


@dataclass(frozen=True)
class Size:
    """inner: width of the SwiGLU in every block. parameters: of all but embedding and head."""

    model: str
    d_model: int
    depth: int
    inner: int
    parameters: int
    target: int

    @property
    def deviation(self) -> float:
        """A fraction, above 0 for more parameters than asked."""
        return self.parameters / self.target - 1


@functools.cache
def sized(model: str, d_model: int, depth: int, target: int) -> Size:
    """The inner width that comes nearest to `target` parameters; 0 for those of attention.

    Attention has the usual inner width, 8d/3. Raises: ValueError where even the narrowest channel
    mixer leaves more than `target` by more than 5 %, with both numbers.
    """
    target = target or body(blank("attention", d_model, depth))
    each = 3 * d_model * depth  # parameters of one unit of inner width
    bare = blank(model, d_model, depth)
    own = body(bare) - each * inner_width(bare)
    inner = max(1, round((target - own) / each / MULTIPLE)) * MULTIPLE
    found = Size(model, d_model, depth, inner, own + each * inner, target)
    if abs(found.deviation) > ALLOWED:
        raise ValueError(
            f"{model} at width {d_model} and depth {depth} has {found.parameters:,} parameters with"
            f" the nearest channel mixer, {found.deviation:+.0%} from {target:,}; type another"
            " --d-model or --parameters"
        )
    return found


def build(
    size: Size, vocabulary: int, device: torch.device | str = "cpu", backend: str = "auto"
) -> Model:
    """The model with that inner width, drawn from torch's global generator on the CPU."""
    model = made(size.model, size.d_model, size.depth, vocabulary, backend)
    for channel in channels(model):
        channel.up = nn.Linear(size.d_model, 2 * size.inner, bias=False)
        channel.down = nn.Linear(size.inner, size.d_model, bias=False)
    return model.to(device)


def made(name: str, d_model: int, depth: int, vocabulary: int, backend: str = "auto") -> Model:
    """RMSNorm and SwiGLU for all, RoPE for softmax attention, as in Llama."""
    spec = zoo.load(name)
    return Model(
        spec,
        vocabulary=vocabulary,
        d_model=d_model,
        depth=depth,
        channel_mixer="swiglu",
        norm="rms",
        positions="rope" if spec.mix == "softmax" else "none",
        backend=backend,
    )


def blank(name: str, d_model: int, depth: int) -> Model:
    """The model without memory, to count."""
    with torch.device("meta"):
        return made(name, d_model, depth, vocabulary=1)


def body(model: Model) -> int:
    """Parameters without embedding and head."""
    counts = parameters_by_role(model)
    return sum(n for role, n in counts.items() if role not in ("embedding", "head"))


def channels(model: Model) -> list[GLU]:
    return [block.channel for block in model.blocks if isinstance(block.channel, GLU)]  # pyright: ignore


def inner_width(model: Model) -> int:
    return channels(model)[0].down.in_features
