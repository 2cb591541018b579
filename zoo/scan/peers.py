"""What the adapters of other libraries share: whether one can run here, and its functions.

A peer is for cross-checks and timings: it is optional, loaded when it first runs, and taken only by
name. Where its version is known to be wrong or too old, its adapter refuses.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.scan import on_gpu
from zoo.scan.case import Case
from zoo.scan.chunks import least

# flash-linear-attention's oldest version that the adapters were checked with. Before it, a state's
# gradient could be written outside its memory (its issue 1262).
LEAST = (0, 6)


def fla_reason(case: Case) -> str:
    """Why flash-linear-attention's kernels cannot run here; empty when they can."""
    if said := on_gpu.reason(case):
        return said
    have = version("fla-core") or version("flash-linear-attention")
    if not have:
        return "needs `pip install flash-linear-attention`; other backends work without"
    if tuple(map(int, re.findall(r"\d+", have)[:2])) < LEAST:
        wanted = ".".join(map(str, LEAST))
        return f"needs flash-linear-attention {wanted} or newer, and {have} is installed"
    return ""


@functools.cache
def version(distribution: str) -> str:
    """Of what is installed; empty where it is not."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def function(module: str, name: str) -> Callable[..., Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries deprecate among themselves
        return getattr(importlib.import_module(module), name)


def exact(dtype: torch.dtype) -> bool:
    """Whether matmuls may not be rounded to TF32, which is what a chunked kernel of a peer does.

    float32, unless torch.set_float32_matmul_precision() says that less will do.
    """
    return dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"


def alike(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Tensor]:
    """q and k with all heads, b t h k, in the dtype of v: a kernel's matmuls take one dtype."""
    shape = (*v.shape[:3], q.shape[3])
    return {"q": q.expand(shape).to(v.dtype), "k": k.expand(shape).to(v.dtype), "v": v}


def gate(log: Tensor | None, v: Tensor, width: int) -> Tensor:
    """log alpha for every token, b t h width, at least what a chunk can hold; zeros for None."""
    shape = (*v.shape[:3], width)
    if log is None:
        dtype = torch.promote_types(torch.float32, v.dtype)
        return torch.zeros(shape, dtype=dtype, device=v.device)
    return log.clamp(min=least(log.dtype)).expand(shape)


def readable(q: Tensor, read: str, state: Tensor | None) -> Tensor:
    """q, in the dtype of a state that it reads directly: before the first token."""
    return q if state is None or read == "after" else q.to(state.dtype)
