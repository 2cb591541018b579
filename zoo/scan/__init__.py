"""The one operator, S_t = A_t S_{t-1} + k_t^T v_t, o_t = q_t S_t; picks who runs it.

A_t = diag(alpha_t), which may turn a complex state, less a rank-one erase where one is given.
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from zoo.scan import (
    delta,
    fft,
    fla_delta,
    fla_gla,
    fla_hgrn,
    fla_simple_gla,
    loop,
    mamba_ssm,
    matrix,
    parallel,
    scalar,
    ssm,
    triton_matrix,
    triton_ssm,
    triton_vector,
    vector,
)
from zoo.scan.case import Case
from zoo.scan.checks import check, check_values
from zoo.scan.derivative import full_precision
from zoo.scan.turning import turned, turned_back
from zoo.spec import Decay, Erase

Read = Literal["after", "before"]

# "auto" takes the first that does not refuse, so GPU kernels belong in front. What stands behind
# `loop`, which never refuses, is only ever taken by name: other libraries' kernels and the
# written-out map. A backend is a module with NAME, refuses(case) -> reason or "", and scan().
# ERASES = True: its scan() takes `erase`. TURNS = True: it takes decay.angle; others get q and k
# turned instead. STATIC = True: q and k that no token changes reach it as 1 1 h k; others get them
# expanded. TIES = True: it takes k = None for k = 1 - alpha; others get that key made. OWN_DTYPE =
# True: it takes inputs as they are and computes in float32 inside; others get them converted.
# NONDETERMINISTIC = why its gradients may differ from call to call.
BACKENDS: tuple[ModuleType, ...] = (
    *(fft, delta, triton_vector, triton_ssm, triton_matrix),
    *(vector, ssm, scalar, matrix, loop),
    *(fla_delta, fla_gla, fla_simple_gla, fla_hgrn, mamba_ssm, parallel),
)


def scan(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    decay: Decay,
    *,
    erase: Erase | None = None,
    read: Read = "after",
    reverse: bool = False,
    state: Tensor | None = None,
    backend: str = "auto",
    trusted: bool = False,
) -> tuple[Tensor, Tensor]:
    """Runs the recurrence over all tokens.

    q, k: b t h k, or b t 1 k for all heads alike, or 1 1 h k for all tokens alike. No scale is
        applied. k None: k_t = 1 - alpha_t (MetaLA, HGRN), which some kernels form in registers.
    v: b t h v.
    decay: log alpha_t = -step_t * rate <= 0, and an angle of shape h k/2 or none: key channels are
        then [real | imaginary] parts and o = Re(q S).
    erase: A_t = diag(alpha_t) - write_t^T read_t.
    read: "after" reads S_t, "before" reads S_{t-1}.
    reverse: time runs from the last token to the first.
    state: b h k v, the state before the first token read; None means zeros.
    backend: "auto", or a name that explain() lists.
    trusted: skips the look for NaN, infinities and decays above 1, which on a GPU waits for it;
        needed inside torch.func.vmap and while a CUDA graph is captured.

    Returns: o (b t h v, dtype of v) and the state after the last token read (b h k v), in float32
    or, where an input is float64, float64. Sums and states have that dtype, too.
    Raises: ValueError that names the argument for a wrong rank, shape, dtype, device or value, and
    for a backend that refuses, with every backend's reason.
    """
    order = {"read": read, "reverse": reverse}
    name = choose(q, k, v, decay, erase=erase, **order, state=state, backend=backend)
    if not trusted:
        check_values(q, k, v, decay, erase, state)
    module = next(module for module in BACKENDS if name == module.NAME)
    if k is None and not getattr(module, "TIES", False):
        k = one_minus_alpha(decay)
    dtype = Case(q, k, v, decay).dtype
    own = getattr(module, "OWN_DTYPE", False)
    step, rate, start = (x if x is None else x.to(dtype) for x in (decay.step, decay.rate, state))
    b, t, d_k = v.shape[0], v.shape[1], q.shape[3]
    angle = None if getattr(module, "TURNS", False) else decay.angle
    options = {}
    if erase is not None:
        options["erase"] = Erase(erase.write.to(dtype), erase.read.to(dtype))
    with full_precision(v):
        x, y, z = (a if own or a is None else a.to(dtype) for a in (q, k, v))
        assert x is not None
        if angle is not None:
            assert y is not None, "check() refuses a complex decay without keys"
            given = x.dtype, y.dtype  # of narrow inputs an OWN_DTYPE backend gets narrow ones
            x, y = turned(x.to(dtype), y.to(dtype), angle, t, **order)  # (b or 1) t h k
            x, y = (a.to(narrow) for a, narrow in zip((x, y), given, strict=True))
        if not getattr(module, "STATIC", False):
            x, y = (a if a is None else a.expand(b, t, -1, d_k) for a in (x, y))
        decay = Decay(step, rate, decay.angle if angle is None else None)
        o, end = module.scan(x, y, z, decay, **order, state=start, **options)
        end = end if angle is None else turned_back(end, angle, t)
    return o.to(v.dtype), end


def one_minus_alpha(decay: Decay) -> Tensor:
    """1 - alpha, exact near alpha = 1. Returns: b t h k or b t h 1, in the decay's dtype."""
    log = decay.log()
    assert log is not None, "check() refuses keys tied to no decay"
    return -torch.expm1(log)


def ties(backend: str) -> bool:
    """Whether that backend forms k = 1 - alpha by itself."""
    return any(backend == m.NAME and getattr(m, "TIES", False) for m in BACKENDS)


def choose(
    q: Tensor,
    k: Tensor | None,
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
