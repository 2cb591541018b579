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
from zoo.directions import AGAIN, check_whole, cleared, flip, leave, pad, reversed_stream
from zoo.map_shapes import check_maps
from zoo.recurrence import Read, recur
from zoo.running_max import weights
from zoo.spec import Dims, Map, Normaliser, Spec, Stream

CONV = re.compile(r"k(\d+)(?:-(silu|relu|gelu))?")


class Mixer(nn.Module):
    """Turns any Spec into a layer. x: b t d -> y: b t d, and the state that the next segment needs.

    conv: "own" (as the model has it), "none", or a named short convolution such as "k2" or
    "k4-silu" (kernel, optional activation) that replaces the model's own convolution or token
    shift. bidirectional: every token also reads those that follow it (zoo/directions.py). The state
    is a dict of tensors: S (b h k v), m (b h 1, log keys only), one tail per convolution; for
    softmax attention the cache of keys and values; for a bidirectional mixer there is none.
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
        bidirectional: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        state = spec.layer_state(spec.state(d_model), layer)
        dims = Dims(d_model, spec.d_u(d_model), *(state.heads, state.d_k, state.d_v))
        self.spec, self.backend, self.positions = spec, backend, positions
        self.attention_dropout, self.bidirectional = attention_dropout, bidirectional
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
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """x: b t d; state: what the last segment returned; start: position of x's first token.

        lengths: b, tokens of each row, at least 1, the rest of it being padding; None: all. Nothing
        that pads hold reaches a token; what comes back in their place is finite and means nothing,
        and a state that is kept has read them.
        """
        state = state or {}
        if self.bidirectional:
            check_whole(self.spec.label, state, start)
        s = Stream(x, start=start, shared=shared, names=self._names, memory=state)
        if lengths is not None:
            pad(s, lengths, self.spec.label)
        s.u = s.x if self.widen is None else self.widen(s)
        s.u = s.u if self.local is None else self.local(s)  # b t d_u
        self._maps(s)
        o, kept = self._mix(s, state)  # b t h v
        if self.now is not None and self.spec.now_at == "before_norm":
            o = o + self.now(s)
        o = self._normalise_and_gate(o.to(x.dtype), s)
        y = self.w_o(rearrange(o, "b t h v -> b t (h v)"))  # b t d
        y = y if self.post is None else self.post(y, s)
        return y, {} if self.bidirectional else s.kept | kept

    def _maps(self, s: Stream) -> None:
        """One by one: f_q may read the keys."""
        s.asked.clear()
        s.decay = self.f_alpha(s)
        s.k = self.f_k(s)  # b t h k
        s.q, s.v = self.f_q(s), self.f_v(s)  # b t h k, b t h v
        check_maps(self.spec, self.dims, s)
        s.erase = None if self.erase is None else self.erase(s)

    def _mix(self, s: Stream, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.mix is None:
            return self._attend(s, state) if self.spec.mix == "softmax" else self._scan(s, state)
        self.backend_ran = "own"
        if not self.bidirectional:
            return self.mix(s, state)
        if hasattr(self.mix, "two_sided"):
            return self.mix.two_sided(s), {}  # pyright: ignore[reportCallIssue]
        again, _ = self.mix(self._reversed(s), {})
        return self.mix(s, {})[0] + flip(again, s.lengths), {}

    def _reversed(self, s: Stream) -> Stream:
        """The maps once more, on the stream as from its other end."""
        r = reversed_stream(s)
        self._maps(r)
        leave(s, r)
        return r

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
        options = {"rope": self.positions == "rope", "dropout": dropout}
        if self.bidirectional:
            return softmax.attend_to_all(s.q, s.k, s.v, s.valid, **options), {}
        return softmax.attend(s.q, s.k, s.v, state, start=s.start, **options)

    def _scan(self, s: Stream, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Both directions, and the bonus, are added up before they are divided."""
        spec, (q, v) = self.spec, self._read_and_written(s)
        read = [self._recur(s, q, v, state)]
        if self.bidirectional:
            read.append(self._recur_back(s, q, v))
        self.backend_ran = " and ".join(dict.fromkeys(r.backend for r in read))
        outputs, logs = [r.o for r in read], [r.m for r in read if r.m is not None]
        if self.bonus is not None:
            assert spec.log_keys, "a bonus needs log keys"
            logs.append(s.k + self.bonus(s))
        if len(logs) > 1:
            logs = weights(*logs)  # b t h 1
            outputs = [weight * o for weight, o in zip(logs, outputs, strict=False)]
        o = sum(outputs[1:], outputs[0])  # b t h v
        if self.bonus is not None:
            o = o + logs[-1] * q * v
        if spec.normaliser is not None:
            o = divide(o[..., :-1], o[..., -1:], q, spec.normaliser)
        return o, read[0].kept

    def _read_and_written(self, s: Stream) -> tuple[Tensor, Tensor]:
        """q with its scale; v with the normaliser's channel: b t h v+1."""
        q = s.q if self.spec.scale == "none" else s.q * self.dims.d_k**-0.5
        return q, s.v if self.spec.normaliser is None else F.pad(s.v, (0, 1), value=1.0)

    def _recur(
        self, s: Stream, q: Tensor, v: Tensor, state: Mapping[str, Tensor], reverse: bool = False
    ) -> Read:
        tied = getattr(self.f_k, "ties", False)
        options = {"tied": tied, "backend": self.backend, "reverse": reverse}
        return recur(self.spec, s, q, v, state, **options)

    def _recur_back(self, s: Stream, q: Tensor, v: Tensor) -> Read:
        """From the last valid token to the first: pads write 0 into a state that is still 0."""
        if not s.asked & AGAIN:
            return self._recur(s, q, cleared(v, s.valid), {}, reverse=True)
        r = self._reversed(s)
        read = self._recur(r, *self._read_and_written(r), {})
        m = None if read.m is None else flip(read.m, s.lengths)
        return replace(read, o=flip(read.o, s.lengths), m=m)


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
