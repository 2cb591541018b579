"""A decay per key channel or head by flash-linear-attention's GLA kernels, only by name.

chunk_gla (fla/ops/gla/chunk.py, version 0.6.0) has S_t = diag(exp g_t) S_{t-1} + k_t^T v_t and o_t
= scale q_t S_t, with chunks of 64 tokens; its float32 matmuls are TF32. fused_recurrent_gla
(fused_recurrent.py beside it) is the same token by token, in float32 throughout.
The dtype decides: float32 goes to the second, unless torch.set_float32_matmul_precision allows
TF32; everything else to the first. Neither the length nor the direction does: the first cannot run
backwards, so reverse flips what goes in and out.
"""

from __future__ import annotations

from torch import Tensor

from zoo.scan import peers
from zoo.scan.case import Case
from zoo.scan.chunks import in_order
from zoo.spec import Decay

NAME = "fla_gla"
OWN_DTYPE = True


def refuses(case: Case) -> str:
    return peers.fla_reason(case)


def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, *, read: str, reverse: bool, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan; q, k and v in any dtype, computed in that of v."""
    order = {"read": read, "reverse": reverse}
    return forwards(peers.readable(q, read, state), k, v, decay, **order, state=state)


@in_order
def forwards(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    exact = peers.exact(v.dtype)
    name, gate = ("fused_recurrent_gla", "gk") if exact else ("chunk_gla", "g")
    return peers.function("fla.ops.gla", name)(
        **peers.alike(q, k, v),
        **{gate: peers.gate(decay.log(), v, q.shape[3])},
        scale=1.0,  # a float: a kernel specialised for the integer 1 is another one
        initial_state=state,
        output_final_state=True,
    )
