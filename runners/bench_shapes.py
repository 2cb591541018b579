"""The shapes at which the scan operator is timed, and inputs for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import zoo

Tensors = dict[str, Tensor]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FLOAT32 = ("step", "rate", "angle")  # inputs that no dtype changes


@dataclass(frozen=True)
class Shape:
    """Sizes of one timing. kind: of the decay; q and k have one head for all where it is `ssm`, and
    are the same at every token where it is `static`, a complex one. erases: A_t is less rank one.
    tied: k = 1 - alpha, and no keys are given.
    """

    name: str
    kind: str
    b: int
    t: int
    h: int
    d_k: int
    d_v: int
    erases: bool = False
    tied: bool = False


SHAPES = (
    Shape("matrix", "channel", 8, 256, 2, 64, 64),
    Shape("scalar", "head", 8, 256, 2, 64, 64),
    Shape("vector", "head", 8, 512, 128, 1, 1),
    Shape("ssm", "ssm", 8, 512, 128, 16, 1),
    Shape("fft", "static", 4, 256, 64, 64, 1),
    Shape("delta", "keep", 8, 256, 4, 32, 32, erases=True),
    Shape("delta-head", "head", 8, 256, 4, 32, 32, erases=True),
    Shape("delta-channel", "channel", 8, 256, 4, 32, 32, erases=True),
    # What a model of width 64 asks for at the quick preset's length.
    Shape("matrix-quick", "channel", 32, 32, 2, 32, 32),
    Shape("keep-quick", "keep", 32, 32, 1, 273, 65),
    Shape("vector-quick", "head", 32, 32, 64, 1, 2),
    Shape("ssm-quick", "ssm", 32, 32, 128, 16, 1),
)
# A layer of width 1024 at the batch and length of a language model: what fills a GPU.
LARGE = (
    Shape("matrix-tied-large", "channel", 8, 2048, 4, 128, 256, tied=True),
    Shape("matrix-large", "channel", 8, 2048, 4, 128, 256),
    Shape("vector-large", "head", 8, 2048, 1024, 1, 1),
    Shape("ssm-large", "ssm", 8, 2048, 1024, 16, 1),
)
BY_NAME = {shape.name: shape for shape in (*SHAPES, *LARGE)}


def named(name: str) -> Shape:
    if name not in BY_NAME:
        hint = zoo.suggest(name, list(BY_NAME)) or "."
        raise ValueError(f"shape {name!r} is unknown{hint} It is one of {', '.join(BY_NAME)}")
    return BY_NAME[name]


def at_length(shape: Shape, length: int, tokens: int) -> Shape:
    """The same shape with rows of `length` tokens, `tokens` of them in all rows together."""
    return replace(shape, t=length, b=max(1, tokens // length))


def inputs(
    shape: Shape,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Tensors:
    """Normal q, k, v; steps whose log decays are logsigmoid of a normal; rates 1, 2 ... for ssm.

    static: rates of 1/1000 to 1/10 and angles up to pi (S4D). erases: keys of length 1 and a write
    strength between 0 and 1 (DeltaNet). dtype: of all but the decay, which stays in float32.
    """
    torch.manual_seed(seed)
    b, t, h, d_k = shape.b, shape.t, shape.h, shape.d_k
    size = {"ssm": (b, t, 1), "static": (1, 1, h)}.get(shape.kind, (b, t, h))
    with torch.device(device):
        x = {"q": torch.randn(*size, d_k), "k": torch.randn(*size, d_k)}
        x["v"] = torch.randn(b, t, h, shape.d_v)
        if shape.kind == "static":
            x["rate"] = torch.logspace(-3, -1, d_k // 2).repeat(h, 2)
            x["angle"] = torch.linspace(0, math.pi, d_k // 2).repeat(h, 1)
        elif shape.kind != "keep":
            width = d_k if shape.kind == "channel" else 1
            x["step"] = torch.nn.functional.softplus(torch.randn(b, t, h, width))
        if shape.kind == "ssm":
            x["step"] = 0.1 * x["step"]
            x["rate"] = torch.arange(1.0, d_k + 1).repeat(h, 1)
        if shape.erases:
            x["read"] = torch.nn.functional.normalize(x["k"], dim=-1)
            x["write"] = torch.rand(b, t, h, 1) * x["read"]
            x["k"] = x["write"].clone()
    if shape.tied:
        del x["k"]
    x = {name: y if name in FLOAT32 else y.to(dtype) for name, y in x.items()}
    return {name: y.requires_grad_() for name, y in x.items()}
