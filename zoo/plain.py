"""A bidirectional layer as its definition reads, for one row without padding, token by token.

What `lazoo check` holds a Mixer against. The maps are the Mixer's own; of zoo.scan, of running
maxima, masks and flips by length there is nothing here, and complex states are complex numbers.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.directions import AGAIN
from zoo.mixer import Mixer, divide
from zoo.spec import Stream


@dataclass(frozen=True)
class Tokens:
    """What one direction reads, in its order. q, k, alpha, write, erased: t h k; v: t h v."""

    q: Tensor
    k: Tensor
    v: Tensor
    alpha: Tensor
    write: Tensor
    erased: Tensor

    def backwards(self) -> Tokens:
        return Tokens(**{name: y.flip(0) for name, y in vars(self).items()})


def layer(mixer: Mixer, x: Tensor, shared: MutableMapping[str, Tensor]) -> Tensor:
    """x: 1 t d, for a spec whose mix is "scan" or "softmax". Returns: 1 t d."""
    s = stream(mixer, x, shared)
    o = attention(s) if mixer.spec.mix == "softmax" else both(mixer, s)  # 1 t h v
    if mixer.now is not None and mixer.spec.now_at == "before_norm":
        o = o + mixer.now(s)
    y = mixer.w_o(mixer._normalise_and_gate(o, s).flatten(2))
    return y if mixer.post is None else mixer.post(y, s)


def stream(mixer: Mixer, x: Tensor, shared: MutableMapping[str, Tensor]) -> Stream:
    """The stream after its maps."""
    s = Stream(x, shared=shared, names=mixer._names)
    s.u = s.x if mixer.widen is None else mixer.widen(s)
    s.u = s.u if mixer.local is None else mixer.local(s)
    mixer._maps(s)
    return s


def attention(s: Stream) -> Tensor:
    scores = torch.einsum("bthk,bshk->bhts", s.q, s.k) * s.q.shape[-1] ** -0.5
    return torch.einsum("bhts,bshv->bthv", scores.softmax(-1), s.v)


def both(mixer: Mixer, s: Stream) -> Tensor:
    """Numerators and denominators of both directions and of the bonus, added, then divided."""
    spec, there = mixer.spec, tokens(mixer, s)
    back = tokens(mixer, other_end(mixer, s)) if s.asked & AGAIN else there.backwards()
    o = read(there, spec.read) + read(back, spec.read).flip(0)  # t h v
    weight = torch.zeros_like(o[..., :1])
    if mixer.bonus is not None:
        weight = (there.q * (s.k + mixer.bonus(s)).exp()[0]).sum(-1, keepdim=True)  # t h 1
        o = o + weight * there.v
    o = torch.view_as_real(o[..., 0]) if whole(s) else o.real
    if spec.normaliser is not None:
        z = read(ones(there, s), spec.read) + read(ones(back, s), spec.read).flip(0) + weight
        o = divide(o, z.real, there.q.real, spec.normaliser)
    return o.unsqueeze(0)


def other_end(mixer: Mixer, s: Stream) -> Stream:
    """Maps that look at a token's position, or at all before it, see the reversed sequence."""
    r = Stream(s.x.flip(1), shared=dict(s.shared), names=s.names)
    r.u = s.u.flip(1)
    mixer._maps(r)
    return r


def whole(s: Stream) -> bool:
    return s.decay.angle is not None and s.decay.angle.dim() == 1


def ones(y: Tokens, s: Stream) -> Tokens:
    """With the normaliser's value, which no state that is read whole turns."""
    alpha = y.alpha.abs() if whole(s) else y.alpha
    return replace(y, v=torch.ones_like(y.v[..., :1]), alpha=alpha.to(y.alpha.dtype))


def tokens(mixer: Mixer, s: Stream) -> Tokens:
    """Key channels [real | imaginary], or a value (real, imaginary), become complex numbers."""
    size, angle, log = (1, *s.v.shape[1:3], mixer.dims.d_k), s.decay.angle, s.decay.log()
    q, k, v = s.q.expand(size), s.k.expand(size), s.v[0]
    q = q if mixer.spec.scale == "none" else q * mixer.dims.d_k**-0.5
    k = k.exp() if mixer.spec.log_keys else k
    alpha = torch.ones_like(k) if log is None else log.expand(size).exp()
    none = torch.zeros_like(k)
    erase = (none, none) if s.erase is None else (s.erase.write, s.erase.read)
    if angle is not None and whole(s):
        v, alpha = torch.view_as_complex(v).unsqueeze(-1), torch.polar(alpha, spread(angle, alpha))
    elif angle is not None:
        q, k, alpha = (y.chunk(2, dim=-1) for y in (q, k, alpha))
        q, k, alpha = torch.complex(*q), torch.complex(*k), alpha[0]
        alpha, erase = torch.polar(alpha, angle.expand_as(alpha)), (none[..., ::2], none[..., ::2])
    write, erased = (y.expand(alpha.shape) for y in erase)
    return Tokens(*(y.to(alpha.dtype) for y in (q[0], k[0], v, alpha[0], write[0], erased[0])))


def spread(angle: Tensor, alpha: Tensor) -> Tensor:
    return angle.unsqueeze(-1).expand_as(alpha)


def read(y: Tokens, order: str) -> Tensor:
    """S_t = diag(alpha_t) S_{t-1} - write_t^T (erased_t S_{t-1}) + k_t^T v_t; q_t S_t or q_t
    S_{t-1}. Returns: t h v."""
    S, o = y.k[0].unsqueeze(-1) * y.v[0].unsqueeze(-2) * 0, []  # h k v
    for q, k, v, alpha, write, erased in zip(*vars(y).values(), strict=True):
        past = S
        gone = torch.einsum("hk,hl,hlv->hkv", write, erased, past)
        S = alpha.unsqueeze(-1) * past - gone + torch.einsum("hk,hv->hkv", k, v)
        o.append(torch.einsum("hk,hkv->hv", q, S if order == "after" else past))
    return torch.stack(o)
