"""Matrix states on an NVIDIA GPU: own Triton kernels over chunks, with any decay or none.

Reads in either direction, before or after the update, in registers; k = 1 - alpha is formed there.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable

import torch
from torch import Tensor

from zoo.scan import triton_vector
from zoo.scan.case import Case
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.scan.on_gpu import reason
from zoo.spec import Decay

NAME = "triton_matrix"
TIES = True
OWN_DTYPE = True


def refuses(case: Case) -> str:
    if why := reason(case):
        return why
    if case.decay.kind == "ssm" and case.v.shape[3] == 1:
        return "would build step x rate for every token, which is larger than everything else"
    if case.q.shape[3] == 1 and case.v.shape[3] <= triton_vector.WIDEST:
        return "leaves one key channel to triton_vector"
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
    """Shapes as in zoo.scan.scan; q and k b t (h or 1) k."""
    b, _, h, _ = v.shape
    fall = falls(decay)
    if k is None and fall is not None and fall.shape[3] != q.shape[3]:
        k = -torch.expm1(-fall).expand(b, v.shape[1], h, q.shape[3])  # one decay, all channels
    # In 16 bits only bfloat16: states outgrow float16. What a float32 step has widened, Mamba-2's
    # values for example, is no more exact than the rest.
    narrow = q.dtype == torch.bfloat16
    narrow &= any(x is not None and x.dtype == torch.bfloat16 for x in (k, v))
    dtype = torch.bfloat16 if narrow else torch.float32
    keys_and_values = (None if x is None else x.to(dtype).expand(b, -1, -1, -1) for x in (q, k, v))
    state = None if state is None else state.expand(b, -1, -1, -1)
    return differentiable(kernel(reverse, read == "before"), *keys_and_values, fall, state)


def falls(decay: Decay) -> Tensor | None:
    """-log alpha >= 0: (b or 1) (t or 1) h (k or 1)."""
    if decay.step is None:
        return None if decay.rate is None else decay.rate[None, None]
    return decay.step if decay.rate is None else decay.step * decay.rate


@functools.cache
def kernel(reverse: bool, before: bool) -> Kernel:
    run = functools.partial(_forward, reverse, before)
    return Kernel(run, functools.partial(_backward, reverse, before), inputs=5)


def _forward(reverse: bool, before: bool, *inputs: Tensor | None) -> Tensors:
    module = importlib.import_module("zoo.kernels.matrix_forward")
    return module.forward(*packed(inputs), reverse=reverse, before=before)


def _backward(
    reverse: bool,
    before: bool,
    do: Tensor | None,
    dend: Tensor | None,
    inputs: tuple[Tensor | None, ...],
    kept: Tensors,
) -> Tensors:
    module = importlib.import_module("zoo.kernels.matrix_backward")
    order = {"reverse": reverse, "before": before}
    return module.backward(*packed((do, dend)), packed(inputs), packed(kept), **order)


def packed(tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
    """As the kernels walk through them; vmap hands over tensors that are expanded."""
    return [None if x is None else x.contiguous() for x in tensors]
