"""Why a Triton kernel cannot run on the tensors at hand, found out without loading Triton."""

from __future__ import annotations

import functools
import importlib.util

import torch
from torch import Tensor

from zoo.scan.case import Case

LEAST = (8, 0)  # Ampere: bfloat16 matmuls and asynchronous copies


def reason(case: Case) -> str:
    """Why Triton cannot run here; empty when it can."""
    return missing(case.v, case.dtype)


def missing(v: Tensor, dtype: torch.dtype) -> str:
    """The same of a tensor and the dtype of the result that is wanted."""
    if not v.is_cuda or torch.version.hip is not None:
        return f"needs an NVIDIA GPU, and v is on {v.device}"
    if importlib.util.find_spec("triton") is None:
        return "needs `pip install triton`"
    if (have := capability(v.device)) < LEAST:
        wanted, found = (".".join(map(str, x)) for x in (LEAST, have))
        return f"needs compute capability {wanted}, and this GPU has {found}"
    if dtype == torch.float64:
        return "computes in float32, and an input is float64"
    return ""


@functools.cache
def capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)
