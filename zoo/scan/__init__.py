"""The one operator: S_t = diag(alpha_t) S_{t-1} + k_t^T v_t, o_t = q_t S_t; picks who runs it."""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from zoo.scan import loop, matrix, parallel, scalar, ssm, vector
from zoo.scan.derivative import full_precision
from zoo.spec import Decay

Read = Literal["after", "before"]

# "auto" takes the first that does not refuse, so GPU kernels belong in front. A backend is a module
# with NAME, refuses() -> reason or "", and scan(). The last one is only ever taken by name.
BACKENDS: tuple[ModuleType, ...] = (vector, ssm, scalar, matrix, loop, parallel)


def scan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Decay,
    *,
    read: Read = "after",
    reverse: bool = False,
    state: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Runs the recurrence over all tokens.

    q, k: b t h k, or b t 1 k for all heads alike. No scale is applied.
    v: b t h v.
    decay: log alpha_t = -step_t * rate <= 0 (its angle is the caller's business).
    read: "after" reads S_t, "before" reads S_{t-1}.
    reverse: time runs from the last token to the first.
    state: b h k v, the state before the first token read; None means zeros.
    backend: "auto", or a name from explain().

    Returns: o (b t h v, dtype of v) and the state after the last token read (b h k v), in float32
    or, where an input is float64, float64: all arithmetic is done in that dtype.
    """
    name = choose(q, k, v, decay, read=read, reverse=reverse, state=state, backend=backend)
    module = next(module for module in BACKENDS if name == module.NAME)
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    step, rate = (x if x is None else x.to(dtype) for x in (decay.step, decay.rate))
    start = state if state is None else state.to(dtype)
    with full_precision(v):
        o, end = module.scan(
            *(x.to(dtype) for x in (q, k, v)),
            Decay(step, rate),
            read=read,
            reverse=reverse,
            state=start,
        )
    return o.to(v.dtype), end


def choose(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Decay,
    *,
    read: Read = "after",
    reverse: bool = False,
    state: Tensor | None = None,
    backend: str = "auto",
) -> str:
    """Name of the backend that scan() would run. Raises: ValueError as scan() does."""
    check(q, k, v, decay, read, state)
    if backend == "auto" and v.shape[1] == 1:
        return loop.NAME  # one token is one step
    for module in BACKENDS:
        if backend in ("auto", module.NAME):
            reason = module.refuses(q, k, v, decay, read=read, reverse=reverse, state=state)
            if not reason:
                return module.NAME
    reasons = explain(q, k, v, decay, read=read, reverse=reverse, state=state)
    listing = "".join(f"\n  {name}: {reason or 'can run'}" for name, reason in reasons.items())
    known = "cannot run here" if backend in reasons else "is not known"
    raise ValueError(f"backend {backend!r} {known}; type auto or one that can run:{listing}")


def explain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Decay,
    *,
    read: Read = "after",
    reverse: bool = False,
    state: Tensor | None = None,
) -> dict[str, str]:
    """Every backend in the order in which "auto" asks, and its reason to refuse ("" = can run)."""
    return {
        module.NAME: module.refuses(q, k, v, decay, read=read, reverse=reverse, state=state)
        for module in BACKENDS
    }


def check(q: Tensor, k: Tensor, v: Tensor, decay: Decay, read: str, state: Tensor | None) -> None:
    """Rank, shape, dtype and device of every argument, with the numbers."""
    if read not in ("after", "before"):
        raise ValueError(f"read {read!r} is not known; type after or before")
    if v.dim() != 4:
        raise ValueError(f"v has {v.dim()} axes {tuple(v.shape)}, but scan needs 4: b t h v")
    b, t, h, d_v = v.shape
    d_k = q.shape[-1] if q.dim() else 0
    if t < 1:
        raise ValueError("v has 0 tokens, but scan needs at least 1")
    # Each axis is a number, or the numbers that are allowed there.
    wanted: dict[str, tuple[Tensor | None, tuple[int | tuple[int, int], ...]]] = {
        "q": (q, (b, t, (h, 1), d_k)),
        "k": (k, (b, t, (h, 1), d_k)),
        "v": (v, (b, t, h, d_v)),
        "decay.step": (decay.step, (b, t, h, (d_k, 1))),
        "decay.rate": (decay.rate, (h, (d_k, 1))),
        "state": (state, (b, h, d_k, d_v)),
    }
    for name, (x, shape) in wanted.items():
        if x is None:
            continue
        fits = x.dim() == len(shape) and all(
            got in want if isinstance(want, tuple) else got == want
            for got, want in zip(x.shape, shape, strict=True)
        )
        if not fits:
            spelt = ", ".join(
                " or ".join(map(str, dict.fromkeys(want))) if isinstance(want, tuple) else str(want)
                for want in shape
            )
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}, but with v of shape {tuple(v.shape)} and "
                f"{d_k} key channels it must be ({spelt})"
            )
        if not x.is_floating_point():
            raise ValueError(f"{name} is {x.dtype}, but scan needs a real floating-point dtype")
        if x.device != v.device:
            raise ValueError(f"{name} is on {x.device}, but v is on {v.device}; move one of them")
