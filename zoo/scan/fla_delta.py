"""The rank-one erase by flash-linear-attention's Triton kernel, on an NVIDIA GPU, by name only.

chunk_dplr_delta_rule (fla/ops/generalized_delta_rule/dplr/chunk.py at bc3b101d, the kernel below
RWKV-7) has S_t = (diag(exp gk) + b^T a) S_{t-1} + k^T v, so a = -read and b = write with scale 1.
Its float32 products are TF32. Written from that file; no run of it on a GPU is on record here.
"""

from __future__ import annotations

import warnings

from torch import Tensor

from zoo.scan import peers
from zoo.scan.case import Case
from zoo.scan.chunks import in_order, least
from zoo.spec import Decay, Erase

NAME = "fla_delta"
ERASES = True


def refuses(case: Case) -> str:
    if case.erase is None:
        return "is for a rank-one erase, and there is none"
    return peers.fla_reason(case)


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
    kernel = peers.function("fla.ops.generalized_delta_rule", "chunk_dplr_delta_rule")
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
