"""How near to the float64 loop a backend must come on a GPU: RMS errors and their bounds."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.gpu_cases import Asked
from tests.scan_cases import Tensors, received
from zoo.scan.chunks import least
from zoo.spec import Decay

CHUNK = 64  # tokens that a backend multiplies with each other before it passes on a state
FLOAT32, BFLOAT16, TF32 = 2.0**-24, 2.0**-8, 2.0**-11  # the largest relative error of one rounding


def rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def errors(got: Tensors, reference: Tensors) -> dict[str, float]:
    """RMS errors by name. NaN is an infinite error."""
    found = {name: rms(got[name].double() - y) for name, y in reference.items()}
    return {name: math.inf if math.isnan(x) else x for name, x in found.items()}


def floor(asked: Asked, x: Tensors) -> float:
    """The relative error of a tensor that is nobody's fault.

    float32: a chunk's products, and its running sums of log decays, whose rounding is a relative
    error of their exponential; all in the same direction. bfloat16: six numbers of 8 bits in a
    product of tensor cores (q and k with their decays, weight, v, state, result), in any direction.
    """
    log = Decay(x.get("step"), x.get("rate")).log()
    faint = 0.0 if log is None else log.detach().abs().clamp(max=20.0).mean().item()
    found = CHUNK * (1 + faint) * FLOAT32
    return found + (math.sqrt(6) * BFLOAT16 if asked.dtype == torch.bfloat16 else 0.0)


def bounds(
    asked: Asked,
    x: Tensors,
    reference: Tensors,
    rounding: float,
    *,
    plain: dict[str, float] | None = None,
    span: int = CHUNK,
) -> dict[str, float]:
    """Twice the plain error, `rounding` of what a tensor is made of, and exp(least) of the largest.

    exp(least) replaces faster decays, and a decay receives that as often as it is used. span: over
    how many tokens a backend sums what cancels in the gradient of a decay.
    """
    size = {name: rms(y) for name, y in reference.items()}
    times, made = received(x), {**size}
    for name, terms in cancelled(asked, x, reference, span).items():
        made[name] += terms
    twice = {name: 2 * error for name, error in (plain or {}).items()}
    dropped = math.exp(least(torch.float32)) * max(size.values())
    return {
        name: twice.get(name, 0.0) + rounding * made[name] + times.get(name, 1.0) * dropped
        for name in reference
    }


def cancelled(asked: Asked, x: Tensors, reference: Tensors, span: int) -> dict[str, float]:
    """RMS of the terms that cancel in dstep and drate.

    The gradient of log alpha_t is a sum of q dq - k dk over later tokens, and of the state behind
    them times its gradient. A backend may form it so, each term with a rounding of its own: their
    squares add up. Tokens of one span have terms in common, so what they add to a rate's gradient
    is rounded alike.
    """
    log = Decay(x.get("step"), x.get("rate")).log()
    if log is None:
        return {}
    read, keys = ((x[n].double() * reference[f"d{n}"]).square() if n in x else None for n in "qk")
    assert read is not None
    terms = read + (read if keys is None else keys)  # tied: k dk is as large as q dq
    terms = terms / asked.t if asked.keys == "static" else terms  # of which each token has a part
    terms = spans(terms.expand(2, asked.t, asked.heads, asked.d_k), span)  # b n c h k
    end = reference["end"].square().sum(-1)[:, None, None]  # b 1 1 h k
    later = (terms.sum(2, keepdim=True) + end).expand_as(terms)
    found, rate, step = {}, x.get("rate"), x.get("step")
    if step is not None:
        factor = later if rate is None else later * rate.double().square()
        wide = step.shape[3] == asked.d_k
        found["dstep"] = rms(factor.sqrt() if wide else factor.sum(4).sqrt())
    if rate is not None:
        used = later.sqrt() * (1 if step is None else spans(step.double(), span))
        used = used.sum(2).square().sum((0, 1)).unflatten(1, (-1, rate.shape[1]))
        found["drate"] = rms(used.sum(1).sqrt())  # h (1, k or k/2)
    return found


def spans(x: Tensor, span: int) -> Tensor:
    """x: b t ..., cut into b n c ..., with zeros behind."""
    n = -(-x.shape[1] // span)
    return F.pad(x, (0, 0, 0, 0, 0, n * span - x.shape[1])).unflatten(1, (n, span))


def beyond(found: dict[str, float], allowed: dict[str, float], backend: str) -> list[str]:
    """A line for every tensor whose error is above its bound."""
    return [
        f"{backend} {name}: error {error:.1e}, bound {allowed[name]:.1e}"
        for name, error in found.items()
        if not error <= allowed[name]
    ]
