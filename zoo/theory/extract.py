"""The attention map of a running module, from its own q, k, alpha; and how near it gets to P (C2).

The map is that of the scan, with denominator and bonus, before norm, gate and what is added for the
current token. Heads do not pool their channels: each has a map of its own, of d_k channels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

from zoo import maps
from zoo.mixer import divide
from zoo.rotation import rotate
from zoo.spec import Spec
from zoo.theory.layer import Layer, Seen, alpha
from zoo.theory.linear_map import linear_map
from zoo.theory.targets import softmax

RATE = 0.003  # of Adam, decayed to 0
TOKENS = 8  # of the target, at most


def bare(spec: Spec) -> Spec:
    """The scan alone: its output is o."""
    alone = maps.identity_output()
    return replace(spec, norm=None, f_g=None, now=None, post=None, w_o=alone, order="norm_gate")


def module_map(spec: Spec, layer: Layer, seen: Seen, h: int) -> Tensor:
    """M of head h, t x t, of the one sequence that was seen."""
    t = seen.stream.x.shape[1]

    def of_head(y: Tensor) -> Tensor:
        return y.expand(-1, t, -1, -1)[0, :, min(h, y.shape[2] - 1)]  # t k

    q, k = of_head(seen.q), of_head(seen.k.exp() if spec.log_keys else seen.k)
    q = q * layer.mixer.dims.d_k**-0.5 if spec.scale == "d_k^-1/2" else q
    decay, angle = alpha(seen.decay), seen.decay.angle
    decay = decay.expand(torch.broadcast_shapes(decay.shape, (1, t, 1, 1)))
    erase = {}
    if seen.erase is not None:
        erase = {"write": of_head(seen.erase.write), "read": of_head(seen.erase.read)}
    turns = angle[h].double() if angle is not None and angle.dim() == 2 else None
    a = of_head(decay).expand_as(k)
    M = linear_map(q, k, a, **erase, angle=turns, before=spec.read == "before")
    if layer.mixer.bonus is not None:
        bonus = layer.mixer.bonus(seen.stream).exp()
        M = M + torch.diag(
            (q * k).sum(1) * bonus.expand(1, t, layer.mixer.dims.heads, 1)[0, :, h, 0]
        )
    if spec.normaliser is not None:
        M = divide(M, M.sum(1, keepdim=True), q, spec.normaliser)
    return M


def extraction_error(spec: Spec, d_model: int, layer: int = 1) -> float:
    """Largest difference of M V from the module's own output, over its largest entry."""
    made = Layer(bare(spec), d_model, layer, 2)
    made.perturb()
    x = made.input()[:, :17]
    with torch.no_grad():
        seen = made.see(x)
        dims, angle = made.mixer.dims, seen.decay.angle
        y = made.mixer(x, shared=dict(made.shared))[0]
        y = rearrange(y, "b t (h v) -> b t h v", h=dims.heads)
        v = seen.v.expand_as(y)
        whole = angle if angle is not None and angle.dim() == 1 else None
        v = v if whole is None else rotate(v, whole, 0, backwards=True)
        maps_of = [module_map(spec, made, seen, h) for h in range(dims.heads)]
        o = torch.einsum("hts,bshv->bthv", torch.stack(maps_of), v)
        o = o if whole is None else rotate(o, whole, 0)
    return ((o - y).abs().max() / y.abs().max()).item()


@dataclass(frozen=True)
class Fitted:
    """error: largest |M_ts - P_ts| for a random softmax map of n tokens. M has one free positive
    factor, or one for each row where a norm follows, which takes such factors out again."""

    error: float
    n: int
    seconds: float


def fit(spec: Spec, d_model: int = 128, *, steps: int = 800) -> Fitted:
    """Fits a module's inputs and its weights of q, k, alpha and the erasure to P, n <= d_k tokens
    (8 where a head has one channel); what was found is an upper bound. Own convolutions and token
    shifts stand aside."""
    begin = time.process_time()
    made = Layer(bare(spec), d_model, 0, 2, conv="none")
    made.perturb()
    d_k = made.mixer.dims.d_k
    n = TOKENS if d_k == 1 else min(TOKENS, d_k)
    P, x = softmax(n), made.draw(1, n, d_model).requires_grad_()
    scale = torch.zeros(1 if spec.norm is None else n, 1, dtype=torch.float64)  # log of M's factor
    with torch.no_grad():  # start with entries of order 1
        first = module_map(spec, made, made.see(x), 0)
        scale -= first.abs().max().clamp(min=1e-12).log()
    variables = [x, scale, *made.mixer.parameters(), *made.shared.values()]
    optimiser = torch.optim.Adam([y.requires_grad_() for y in variables], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    # Read before the update, a token reaches itself through `now`, which is not part of the map.
    past = spec.read == "before" and spec.bonus is None
    seen_by = torch.ones(n, n, dtype=torch.bool).tril(-1 if past else 0)
    best = float("inf")
    for step in range(steps):
        M = module_map(spec, made, made.see_with_gradient(x), 0) * scale.exp()
        error = (M - P).abs()[seen_by]
        largest = error.max()
        best = min(best, largest.item())
        p = 2 * 16 ** min(1.0, max(0.0, step / steps - 0.4) / 0.4)  # 2, then rising to 32
        unit = largest.detach().clamp(min=1e-12)
        loss = (error / unit).pow(p).mean().pow(1 / p) * unit
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return Fitted(best, n, time.process_time() - begin)
