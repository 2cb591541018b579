"""Mixer(spec): the general form of MetaLA (arXiv 2411.10741, Eq. 11-15), written once."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import cast

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import maps, softmax
from zoo.rotation import rotate
from zoo.running_max import bonus_weights, rescale
from zoo.scan import choose, scan, ties
from zoo.spec import Decay, Dims, Map, Normaliser, Spec, Stream

CONV = re.compile(r"k(\d+)(?:-(silu|relu|gelu))?")


class Mixer(nn.Module):
    """Turns any Spec into a layer. x: b t d -> y: b t d, and the state that the next segment needs.

    conv: "own" (as the model has it), "none", or a named short convolution such as "k2" or
    "k4-silu" (kernel, optional activation) that replaces the model's own convolution or token
    shift. The state is a dict of tensors: S (b h k v), m (b h 1, log keys only), one tail per
    convolution; for softmax attention the cache of keys and values.
    """

    def __init__(
        self,
        spec: Spec,
        d_model: int,
        *,
        layer: int = 0,
        depth: int = 1,
        conv: str = "own",
        positions: str = "none",
        attention_dropout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        state = spec.layer_state(spec.state(d_model), layer)
        dims = Dims(d_model, spec.d_u(d_model), *(state.heads, state.d_k, state.d_v))
        self.spec, self.backend, self.positions = spec, backend, positions
        self.attention_dropout = attention_dropout
        self.backend_ran = ""
        self.dims = dims = replace(dims, layer=layer, depth=depth, own_local=conv == "own")
        self.widen = built(spec.widen, dims)
        self.local = built(spec.local if conv == "own" else named_conv(conv), dims)
        self.f_alpha = spec.f_alpha(dims)
        self.f_q, self.f_k, self.f_v = spec.f_q(dims), spec.f_k(dims), spec.f_v(dims)
        self.erase = built(spec.erase, dims)
        self.now, self.bonus = built(spec.now, dims), built(spec.bonus, dims)
        self.norm, self.f_g = built(spec.norm, dims), built(spec.f_g, dims)
        self.w_o, self.post = spec.w_o(dims), built(spec.post, dims)
        self.mix = built(None if isinstance(spec.mix, str) else spec.mix, dims)
        self._names: Mapping[nn.Module, str] = {m: n for n, m in self.named_modules()}

    def forward(
        self,
        x: Tensor,
        state: Mapping[str, Tensor] | None = None,
        *,
        start: int = 0,
        shared: MutableMapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """x: b t d; state: what the last segment returned; start: position of x's first token."""
        state = state or {}
        s = Stream(x, start=start, shared=shared, names=self._names, memory=state)
        s.u = s.x if self.widen is None else self.widen(s)
        s.u = s.u if self.local is None else self.local(s)  # b t d_u
        s.decay = self.f_alpha(s)
        # One by one: f_q may read the keys.
        s.k = self.f_k(s)  # b t h k
        s.q, s.v = self.f_q(s), self.f_v(s)  # b t h k, b t h v
        self._check(s)
        o, kept = self._mix(s, state)  # b t h v
        if self.now is not None and self.spec.now_at == "before_norm":
            o = o + self.now(s)
        o = self._normalise_and_gate(o.to(x.dtype), s)
        y = self.w_o(rearrange(o, "b t h v -> b t (h v)"))  # b t d
        return y if self.post is None else self.post(y, s), s.kept | kept

    def _mix(self, s: Stream, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.mix is not None:
            self.backend_ran = "own"
            return self.mix(s, state)
        return self._attend(s, state) if self.spec.mix == "softmax" else self._scan(s, state)

    def _normalise_and_gate(self, o: Tensor, s: Stream) -> Tensor:
        gate = None if self.f_g is None else self.f_g(s)
        if gate is not None and self.spec.order == "gate_norm":
            o, gate = o * gate, None
        o = o if self.norm is None else self.norm(o)
        if self.now is not None and self.spec.now_at == "after_norm":
            o = o + self.now(s)
        return o if gate is None else o * gate

    def _attend(self, s: Stream, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        self.backend_ran = "sdpa"
        dropout = self.attention_dropout if self.training else 0.0
        rope = self.positions == "rope"
        return softmax.attend(s.q, s.k, s.v, state, start=s.start, rope=rope, dropout=dropout)

    def _scan(self, s: Stream, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The recurrence, with everything that happens to q, k, v and o directly around it."""
        spec, decay, v = self.spec, s.decay, s.v
        # A complex state that is read whole is turned here; one that is read by q, in the scan.
        whole = decay.angle if decay.angle is not None and decay.angle.dim() == 1 else None
        if whole is not None:
            v = rotate(v, whole, s.start, backwards=True)
            decay = replace(decay, angle=None)
        if spec.normaliser is not None:
            v = F.pad(v, (0, 1), value=1.0)  # b t h v+1
        q = s.q if spec.scale == "none" else s.q * self.dims.d_k**-0.5
        k, kept, before = s.k, {}, None
        if spec.log_keys:
            k, decay, before, kept["m"] = rescale(s.k, decay, state.get("m"))
        erase = None if self.erase is None else self.erase(s)
        options = {"erase": erase, "read": spec.read, "backend": self.backend}
        tied = getattr(self.f_k, "ties", False)
        self.backend_ran = choose(q, None if tied else k, v, decay, **options)
        k = None if tied and ties(self.backend_ran) else k
        # What is not finite shows in the loss, where training names the update.
        options |= {"state": state.get("S"), "trusted": True}
        o, kept["S"] = scan(q, k, v, decay, **options)  # b t h v
        if self.bonus is not None:
            past, present = bonus_weights(before, s.k, self.bonus(s))  # b t h 1
            o = past * o + present * q * v
        if spec.normaliser is not None:
            o = divide(o[..., :-1], o[..., -1:], q, spec.normaliser)
        if whole is not None:
            o = rotate(o, whole, s.start)
        return o, kept

    def _check(self, s: Stream) -> None:
        """Every map's shape, at one place, with the name of the function that got it wrong."""
        b, t, _ = s.x.shape
        h, d_k, d_v = self.dims.heads, self.dims.d_k, self.dims.d_v
        for name, got, heads, channels in (
            ("f_q", s.q, (1, h), d_k),
            ("f_k", s.k, (1, h), d_k),
            ("f_v", s.v, (h,), d_v),
        ):
            static = name != "f_v" and got.shape[:2] == (1, 1)
            fits = got.dim() == 4 and (got.shape[:2] == (b, t) or static)
            if not fits or got.shape[2] not in heads:
                wanted = f"({b}, {t}, {' or '.join(map(str, heads))}, {channels})"
                raise ValueError(
                    f"{self.spec.label}: {name} returned {tuple(got.shape)}, not {wanted}"
                )
            if got.shape[3] != channels:
                raise ValueError(
                    f"{self.spec.label}: {name} returned {got.shape[3]} channels per head, but the "
                    f"spec's state says {channels}"
                )
        if not isinstance(cast(object, s.decay), Decay):
            raise ValueError(f"{self.spec.label}: f_alpha must return a Decay, not {type(s.decay)}")


def divide(o: Tensor, z: Tensor, q: Tensor, normaliser: Normaliser) -> Tensor:
    """o: b t h v over q z (b t h 1), kept away from 0 as the model has it."""
    if normaliser.kind == "clamp":
        return o / z.clamp(min=normaliser.eps)
    added = q.sum(-1, keepdim=True) if normaliser.kind == "add_key" else 1.0
    return o / (z + normaliser.eps * added)


def built(factory: Map | None, dims: Dims) -> nn.Module | None:
    return None if factory is None else factory(dims)


def named_conv(name: str) -> Map | None:
    """The short convolution that a name such as k2 or k4-silu stands for; None for "none"."""
    if name == "none":
        return None
    match = CONV.fullmatch(name)
    if not match or int(match[1]) < 1:
        raise ValueError(
            f"conv {name!r} is not known; type own, none, or a kernel with an optional activation, "
            "for example k2, k4 or k4-silu"
        )
    return maps.short_conv(int(match[1]), cast(maps.Activation, match[2] or "none"))
