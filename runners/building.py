"""From the shape of a run to its model, and whether there can be one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import nn

import zoo

M = TypeVar("M", bound=nn.Module)
# Arguments of a model's class, and `model`, the name in the zoo; sorted.
Shape = tuple[tuple[str, object], ...]


def built(kind: type[M], shape: Shape, **rest: Any) -> M:
    """A model of that class. rest: arguments that are not in the shape."""
    arguments: dict[str, Any] = dict(shape)
    spec = zoo.load(arguments.pop("model"))
    return kind(spec, **arguments, **rest)


@lru_cache(maxsize=1024)
def check(kind: type[nn.Module], shape: Shape) -> None:
    """Builds the model without memory, so that an impossible shape is refused before training."""
    with torch.device("meta"):
        built(kind, shape)
