"""The one operator, S_t = A_t S_{t-1} + k_t^T v_t, o_t = q_t S_t; picks who runs it.

A_t = diag(alpha_t), which may turn a complex state, less a rank-one erase where one is given.
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from zoo.scan import delta, fft, fla_delta, loop, matrix, parallel, scalar, ssm, vector
from zoo.scan.case import Case
from zoo.scan.derivative import full_precision
from zoo.scan.turning import turned, turned_back
from zoo.spec import Decay, Erase

Read = Literal["after", "before"]

# "auto" takes the first that does not refuse, so GPU kernels belong in front. A backend is a module
# with NAME, refuses(case) -> reason or "", and scan(). The last one is only ever taken by name.
# ERASES = True: its scan() takes `erase`. TURNS = True: it takes decay.angle; others get q and k
# turned instead. STATIC = True: q and k that no token changes reach it as 1 1 h k; others get them
# expanded.
BACKENDS: tuple[ModuleType, ...] = (
    *(fft, delta, fla_delta, vector),
    *(ssm, scalar, matrix, loop, parallel),
)


def scan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Decay,
    *,
    erase: Erase | None = None,
    read: Read = "after",
    reverse: bool = False,
    state: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Runs the recurrence over all tokens.

    q, k: b t h k, or b t 1 k for all heads alike, or 1 1 h k for all tokens alike. No scale is
        applied.
    v: b t h v.
    decay: log alpha_t = -step_t * rate <= 0, and an angle of shape h k/2 or none: key channels are
        then [real | imaginary] parts and o = Re(q S).
    erase: A_t = diag(alpha_t) - write_t^T read_t.
    read: "after" reads S_t, "before" reads S_{t-1}.
    reverse: time runs from the last token to the first.
    state: b h k v, the state before the first token read; None means zeros.
    backend: "auto", or a name that explain() lists.

    Returns: o (b t h v, dtype of v) and the state after the last token read (b h k v), in float32
    or, where an input is float64, float64: all arithmetic is done in that dtype.
    """
    order = {"read": read, "reverse": reverse}
    name = choose(q, k, v, decay, erase=erase, **order, state=state, backend=backend)
    module = next(module for module in BACKENDS if name == module.NAME)
    dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    step, rate, start = (x if x is None else x.to(dtype) for x in (decay.step, decay.rate, state))
    b, t, d_k = v.shape[0], v.shape[1], q.shape[3]
    angle = None if getattr(module, "TURNS", False) else decay.angle
    options = {}
    if erase is not None:
        options["erase"] = Erase(erase.write.to(dtype), erase.read.to(dtype))
    with full_precision(v):
        x, y = q.to(dtype), k.to(dtype)
        if angle is not None:
            x, y = turned(x, y, angle, t, **order)  # (b or 1) t h k
        if not getattr(module, "STATIC", False):
            x, y = (z.expand(b, t, -1, d_k) for z in (x, y))
        decay = Decay(step, rate, decay.angle if angle is None else None)
        o, end = module.scan(x, y, v.to(dtype), decay, **order, state=start, **options)
        end = end if angle is None else turned_back(end, angle, t)
    return o.to(v.dtype), end


def choose(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Decay,
    *,
    erase: Erase | None = None,
    read: Read = "after",
    reverse: bool = False,
    state: Tensor | None = None,
    backend: str = "auto",
) -> str:
    """Name of the backend that scan() would run. Raises: ValueError as scan() does."""
    check(q, k, v, decay, erase, read, state)
    if backend == "auto" and v.shape[1] == 1:
        return loop.NAME  # one token is one step
    case = Case(q, k, v, decay, erase, read, reverse, state)
    for module in BACKENDS:
        if backend in ("auto", module.NAME) and not refusal(module, case):
            return module.NAME
    reasons = explain(case)
    listing = "".join(f"\n  {name}: {reason or 'can run'}" for name, reason in reasons.items())
    known = "cannot run here" if backend in reasons else "is not known"
    raise ValueError(f"backend {backend!r} {known}; type auto or one that can run:{listing}")


def explain(case: Case) -> dict[str, str]:
    """Every backend in the order in which "auto" asks, and its reason to refuse ("" = can run)."""
    return {module.NAME: refusal(module, case) for module in BACKENDS}


def refusal(module: ModuleType, case: Case) -> str:
    if case.erase is not None and not getattr(module, "ERASES", False):
        return "has no rank-one erase, which the delta rule needs"
    return module.refuses(case)


def check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Decay,
    erase: Erase | None,
    read: str,
    state: Tensor | None,
) -> None:
    """Rank, shape, dtype and device of every argument, with the numbers."""
    if read not in ("after", "before"):
        raise ValueError(f"read {read!r} is not known; type after or before")
    if v.dim() != 4:
        raise ValueError(f"v has {v.dim()} axes {tuple(v.shape)}, but scan needs 4: b t h v")
    if erase is not None and decay.angle is not None:
        raise ValueError("a rank-one erase and a complex decay together have no recurrence here")
    b, t, h, d_v = v.shape
    d_k = q.shape[-1] if q.dim() else 0
    q, k = (x.expand(b, t, -1, -1) if x.dim() == 4 and x.shape[:2] == (1, 1) else x for x in (q, k))
    if t < 1:
        raise ValueError("v has 0 tokens, but scan needs at least 1")
    # Each axis is a number, or the numbers that are allowed there.
    wanted: dict[str, tuple[Tensor | None, tuple[int | tuple[int, int], ...]]] = {
        "q": (q, (b, t, (h, 1), d_k)),
        "k": (k, (b, t, (h, 1), d_k)),
        "v": (v, (b, t, h, d_v)),
        "decay.step": (decay.step, (b, t, h, (d_k, 1))),
        "decay.rate": (decay.rate, (h, (d_k, 1))),
        "decay.angle": (decay.angle, (h, d_k // 2)),
        "erase.write": (None if erase is None else erase.write, (b, t, (h, 1), d_k)),
        "erase.read": (None if erase is None else erase.read, (b, t, (h, 1), d_k)),
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
