"""The rank-one erase by flash-linear-attention's Triton kernel, on an NVIDIA GPU, by name only.

chunk_dplr_delta_rule (fla/ops/generalized_delta_rule/dplr/chunk.py at bc3b101d, the kernel below
RWKV-7) has S_t = (diag(exp gk) + b^T a) S_{t-1} + k^T v, so a = -read and b = write with scale 1.
Its float32 products are TF32. Written from that file; no run of it on a GPU is on record here.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.chunks import in_order, least
from zoo.spec import Decay, Erase

NAME = "fla_delta"
ERASES = True


def refuses(case: Case) -> str:
    if case.erase is None:
        return "is for a rank-one erase, and there is none"
    if not case.v.is_cuda:
        return f"needs an NVIDIA GPU, and v is on {case.v.device}"
    if case.dtype == torch.float64:
        return "computes in float32 at most, and an input is float64"
    if importlib.util.find_spec("fla") is None:
        return "needs `pip install flash-linear-attention`; backend delta works without"
    return ""


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None, erase: Erase | None = None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update."""
    assert erase is not None
    shape, log = (*v.shape[:3], k.shape[3]), decay.log()
    log = k.new_zeros(shape) if log is None else log.clamp(min=least(log.dtype)).expand(shape)
    tokens = {"q": q, "k": k, "a": -erase.read, "b": erase.write}
    tokens = {name: x.expand(shape).contiguous() for name, x in tokens.items()}
    kernel = importlib.import_module("fla.ops.generalized_delta_rule").chunk_dplr_delta_rule
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it warns of float32 on some GPUs
        return kernel(
            **tokens,
            v=v.contiguous(),
            gk=log.contiguous(),
            scale=1.0,
            initial_state=state,
            output_final_state=True,
        )
