"""d_k = 1, the vector state, on a GPU: one pass over time that keeps the states in registers.

The kernels are in zoo/kernels/vector*.py; they read q, k and v in their own dtype and form
log alpha, and a tied key, where they need them.
"""

from __future__ import annotations

import functools
from functools import partial

from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.scan.on_gpu import reason
from zoo.spec import Decay

NAME = "triton_vector"
STATIC = True
TIES = True
OWN_DTYPE = True
WIDEST = 16  # value channels of a head: all of them are in one tile


def refuses(case: Case) -> str:
    d_k, d_v = case.q.shape[3], case.v.shape[3]
    if why := reason(case):
        return why
    if d_k != 1:
        return f"needs one key channel per head, not {d_k}"
    if d_v > WIDEST:
        return f"takes up to {WIDEST} value channels per head, not {d_v}: see triton_matrix"
    return ""


def scan(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    decay: Decay,
    *,
    read: str,
    reverse: bool,
    state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan with k = 1, 1 1 h 1 among them; k None: 1 - alpha."""
    o, end = differentiable(
        kernel(0 if read == "after" else 1, reverse),
        narrow(q).squeeze(3),  # (b or 1) (t or 1) (h or 1)
        None if k is None else narrow(k).squeeze(3),
        v,
        None if decay.step is None else decay.step.squeeze(3),  # b t h
        None if decay.rate is None else decay.rate.T.unsqueeze(0),  # 1 1 h
        None if state is None else state.squeeze(2),  # b h v
    )
    return o, end.unsqueeze(2)


def narrow(x: Tensor) -> Tensor:
    """Length 1 for every axis along which x was expanded, so that its gradient is a few sums. Not
    where x wants one, which may differ along such an axis. (Under vmap a tensor may hide that it
    does; what x was expanded from gets the right sum in any case.)"""
    if x.requires_grad:
        return x
    return x[tuple(slice(1) if stride == 0 else slice(None) for stride in x.stride())]


@functools.cache
def kernel(lag: int, reverse: bool) -> Kernel:
    order = {"lag": lag, "reverse": reverse}
    return Kernel(partial(forward, **order), partial(backward, **order), inputs=6)


def forward(*inputs: Tensor | None, lag: int, reverse: bool) -> Tensors:
    from zoo.kernels import vector_forward

    return vector_forward.forward(inputs, lag=lag, reverse=reverse)


def backward(
    d_o: Tensor | None,
    d_end: Tensor | None,
    inputs: Tensors,
    kept: Tensors,
    *,
    lag: int,
    reverse: bool,
) -> Tensors:
    from zoo.kernels import vector_backward

    return vector_backward.backward(d_o, d_end, inputs, kept, lag=lag, reverse=reverse)
