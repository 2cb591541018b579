"""log alpha = -step_t[h] rate[h, k], one value channel, on a GPU: zoo.kernels.ssm_forward and
zoo.kernels.ssm_backward."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.scan.on_gpu import reason
from zoo.spec import Decay

NAME = "triton_ssm"
TIES = True
OWN_DTYPE = True
MOST = 64  # key channels of a head, each a state in a register


def refuses(case: Case) -> str:
    if why := reason(case):
        return why
    d_k, d_v = case.q.shape[3], case.v.shape[3]
    if case.decay.kind != "ssm":
        return f"needs a step per head times a rate per head and key, not kind {case.decay.kind!r}"
    if d_v != 1:
        return f"needs one value channel per head, not {d_v}"
    return "" if d_k <= MOST else f"takes at most {MOST} key channels per head, not {d_k}"


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
    """Shapes as in zoo.scan.scan; heads of q and k may be one. k None: 1 - alpha."""
    step, rate = decay.step, decay.rate
    assert step is not None
    assert rate is not None
    order = {"before": read == "before", "reverse": reverse}
    # Nobody can ask for gradients later: then no states are kept for them.
    run = partial(forward, **order, keep=torch.is_grad_enabled())
    o, end = differentiable(
        Kernel(run, partial(backward, **order), inputs=6),
        q,  # b t h n, or b t 1 n
        k,
        v.squeeze(3),  # b t h
        step.squeeze(3),
        rate.unsqueeze(0),  # 1 h n
        None if state is None else state.squeeze(3),  # b h n
    )
    return o.unsqueeze(3), end.unsqueeze(3)


def forward(*inputs: Tensor | None, before: bool, reverse: bool, keep: bool) -> Tensors:
    from zoo.kernels import ssm_forward

    order = {"before": before, "reverse": reverse, "keep": keep}
    return ssm_forward.forward(*inputs, **order)  # pyright: ignore[reportArgumentType]


def backward(
    do: Tensor | None,
    later: Tensor | None,
    inputs: Tensors,
    kept: Tensors,
    *,
    before: bool,
    reverse: bool,
) -> Tensors:
    from zoo.kernels import ssm_backward

    return ssm_backward.backward(do, later, inputs, kept, before=before, reverse=reverse)
