"""One decay per head, or none, by flash-linear-attention's simple GLA kernels, only by name.

S_t = exp(g_t) S_{t-1} + k_t^T v_t, o_t = scale q_t S_t (fla/ops/simple_gla, version 0.6.0), with a
scalar g per token and head, or g_gamma per head, which gets no gradient. As in fla_gla, float32
goes to fused_recurrent_simple_gla unless TF32 is allowed, everything else to
fused_chunk_simple_gla. Of the chunked forms that is the one without a guard: chunk_simple_gla(g)
refuses its backward pass on Hopper with triton from 3.4 up to 3.7.1 (fla/ops/common/chunk_o.py).
"""

from __future__ import annotations

from torch import Tensor

from zoo.scan import peers
from zoo.scan.case import Case
from zoo.scan.chunks import in_order, least
from zoo.spec import Decay

NAME = "fla_simple_gla"
OWN_DTYPE = True


def refuses(case: Case) -> str:
    if said := peers.fla_reason(case):
        return said
    if case.decay.kind in ("channel", "ssm"):
        return f"needs one decay per head or none, and this one is of kind {case.decay.kind!r}"
    return ""


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
    name = "fused_recurrent_simple_gla" if exact else "fused_chunk_simple_gla"
    return peers.function("fla.ops.simple_gla", name)(
        **peers.alike(q, k, v),
        **gates(decay, v, exact),
        scale=1.0,  # a float: a kernel specialised for the integer 1 is another one
        initial_state=state,
        output_final_state=True,
    )


def gates(decay: Decay, v: Tensor, exact: bool) -> dict[str, Tensor]:
    """g (b t h), or g_gamma (h) for a decay that is fixed and not learned, or nothing.

    The chunked kernel raises gamma to the number of tokens that a last, shorter chunk lacks, with
    the wrong sign; that may overflow, and infinity times an empty token is NaN. There g stands in.
    """
    if decay.kind == "keep":
        return {}
    rate = decay.rate
    if decay.step is None and rate is not None and not rate.requires_grad:
        chunk = min(64, max(16, 1 << (v.shape[1] - 1).bit_length()))
        if exact or v.shape[1] % chunk == 0:
            return {"g_gamma": (-rate).clamp(min=least(rate.dtype)).squeeze(-1)}
    return {"g": peers.gate(decay.log(), v, 1).squeeze(-1)}
