"""A small classifier of the Long Range Arena, and rows for it."""

from typing import Any

import torch

import zoo
from zoo.encoder import Encoder

LENGTHS = torch.tensor([5, 13, 9, 1])


def untouched(name, **options) -> Any:
    shape = {"inputs": "tokens", "vocabulary": 17, "classes": 3, "documents": 1, "max_length": 26}
    spec = zoo.load(name) if isinstance(name, str) else name
    return Encoder(spec, **{**shape, "d_model": 32, "depth": 2, **options})


def encoder(name="gla", **options) -> Any:
    """Every parameter off its initial value, so that a matrix of zeros hides nothing."""
    net = untouched(name, **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.double()


def rows(inputs="tokens", documents=1):
    """Four rows b t or b 2 t with anything as pads, and their lengths."""
    shape = (4, 13) if documents == 1 else (4, 2, 13)
    x = torch.randint(1, 17, shape) if inputs == "tokens" else torch.randn(shape).double()
    return x, LENGTHS if documents == 1 else torch.stack([LENGTHS, LENGTHS.flip(0)], 1)
