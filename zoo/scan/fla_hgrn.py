"""The vector state by flash-linear-attention's HGRN kernel, only by name.

fused_recurrent_hgrn (fla/ops/hgrn/fused_recurrent.py, version 0.6.0) has h_t = exp(g_t) h_{t-1} +
x_t, token by token in float32: x = k v, and o = q h is formed outside. Its faster chunk_hgrn is not
used: its backward pass (chunk.py beside it) ignores the gradient of the last state and returns none
for the first, and a scan always hands both over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.scan import peers
from zoo.scan.case import Case
from zoo.scan.chunks import in_order
from zoo.spec import Decay

NAME = "fla_hgrn"


def refuses(case: Case) -> str:
    if said := peers.fla_reason(case):
        return said
    d_k = case.q.shape[3]
    return "" if d_k == 1 else f"needs one key channel per head, not {d_k}"


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan with k = 1, forwards, read after the update."""
    b, t, h, d_v = v.shape
    x, log = k * v, decay.log()  # b t h v
    log = torch.zeros_like(x) if log is None else log.expand(b, t, h, d_v)
    states, end = peers.function("fla.ops.hgrn", "fused_recurrent_hgrn")(
        x.flatten(2),  # b t hv
        log.flatten(2),
        initial_state=None if state is None else state.flatten(1),  # b hv
        output_final_state=True,
    )
    return q * states.unflatten(2, (h, d_v)), end.view(b, h, 1, d_v)
