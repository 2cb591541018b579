"""log alpha_t = -step_t[h] rate[h, k], one value channel, by mamba-ssm's CUDA kernel, only by name.

selective_scan_fn (mamba_ssm/ops/selective_scan_interface.py and csrc/selective_scan of
state-spaces/mamba at e9594ce1, version 2.3.2.post1) has h_t = exp(delta_t A) h_{t-1} + delta_t u_t
B_t and y_t = C_t h_t. It takes no first state and drops the gradient of the last one. Here the step
is already in v, and u = v / step is no way back: a step may be 0, and the gradient of a small one
would be a difference of two large numbers. So every token becomes two: one decays (delta = step, u
= 0), one adds (delta = 2^-60, u = v 2^60, which is exact, and exp(delta A) = 1). In the same way
tokens in front write the first state, a channel each, and tokens behind read the last.
That is exact, for cross-checks; it takes more than twice the time of the kernel in its own terms.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from zoo.scan import on_gpu, peers
from zoo.scan.case import Case
from zoo.scan.chunks import in_order
from zoo.spec import Decay

NAME = "mamba_ssm"
NONDETERMINISTIC = "adds up the gradients of q, k and rate with atomics, in any order"
MOST = 256  # key channels, in csrc/selective_scan/selective_scan.cpp
STILL = 2.0**-60  # a step in which nothing decays, at any rate below 2^35


def refuses(case: Case) -> str:
    if said := on_gpu.reason(case):
        return said
    if importlib.util.find_spec("mamba_ssm") is None:
        return "needs `pip install --no-build-isolation mamba-ssm`; backend ssm works without"
    if importlib.util.find_spec("selective_scan_cuda") is None:
        return "needs mamba-ssm with its CUDA kernel, and this one was built without"
    if case.decay.kind != "ssm":
        return f"needs a step per head times a rate per head and key, not kind {case.decay.kind!r}"
    if case.v.shape[3] != 1:
        return f"needs one value channel per head, not {case.v.shape[3]}"
    d_k = case.q.shape[3]
    return "" if d_k <= MOST else f"takes up to {MOST} key channels, not {d_k}"


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update; heads of q and k may be one."""
    b, t, h, _ = v.shape
    n, heads = k.shape[3], max(q.shape[2], k.shape[2])
    step, rate, v = decay.step, decay.rate, v.squeeze(3)  # b t h
    assert step is not None
    assert rate is not None
    q, k = (x.expand(b, t, heads, n) for x in (q, k))
    first = v.new_zeros(b, n, h) if state is None else state.squeeze(3).transpose(1, 2)
    each = torch.eye(n, dtype=v.dtype, device=v.device).view(1, n, 1, n).expand(b, n, heads, n)
    none, still = torch.zeros_like(first), torch.full_like(first, STILL)
    u = [first / STILL, pairs(torch.zeros_like(v), v / STILL), none]  # b .. h
    delta = [still, pairs(step.squeeze(3), torch.full_like(v, STILL)), still]
    B = [each, pairs(torch.zeros_like(k), k), torch.zeros_like(each)]  # b .. heads n
    C = [torch.zeros_like(each), pairs(torch.zeros_like(q), q), each]
    y = peers.function("mamba_ssm.ops.selective_scan_interface", "selective_scan_fn")(
        *(torch.cat(x, dim=1).transpose(1, 2).contiguous() for x in (u, delta)),  # b h l
        -rate,  # h n
        *(torch.cat(x, dim=1).permute(0, 2, 3, 1).contiguous() for x in (B, C)),  # b heads n l
    )
    o, end = y[:, :, n + 1 : n + 2 * t : 2], y[:, :, n + 2 * t :]  # b h t, b h n
    return o.transpose(1, 2).unsqueeze(3), end.unsqueeze(3)


def pairs(x: Tensor, y: Tensor) -> Tensor:
    """x and y, b t ..., in turns: b 2t ..."""
    return torch.stack([x, y], dim=2).flatten(1, 2)
