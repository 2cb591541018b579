"""What a model is: one row of the paper's Table 1, written as maps and numbers.

Letters used in every shape comment of the project: b batch, t time, d width, h heads, k key
channels per head, v value channels per head, c chunk, n chunks. Layout at module boundaries is b t
h k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class State:
    """Recurrent state of one layer: `heads` matrices of `d_k` x `d_v`, both per head."""

    heads: int
    d_k: int
    d_v: int


@dataclass(frozen=True)
class Decay:
    """log alpha_t = -step_t * rate, the way every decay of the zoo can be written.

    step: b t h 1 or b t h k, >= 0, depends on the token; None means 1.
    rate: h 1 or h k, >= 0, learned or fixed; None means 1. Both None: alpha = 1.
    angle: h, radians per token, for alpha * exp(j angle); the Mixer rotates, a scan never sees it.
    """

    step: Tensor | None = None
    rate: Tensor | None = None
    angle: Tensor | None = None

    @property
    def kind(self) -> Literal["keep", "head", "channel", "ssm"]:
        """Which geometry this is; `ssm` is the one whose step x rate must never be materialised."""
        if self.step is None and self.rate is None:
            return "keep"
        steps = 1 if self.step is None else self.step.shape[-1]
        rates = 1 if self.rate is None else self.rate.shape[-1]
        if max(steps, rates) == 1:
            return "head"
        return "ssm" if self.step is not None and steps == 1 else "channel"

    def log(self) -> Tensor | None:
        """log alpha, broadcastable to b t h k and <= 0; None where alpha = 1."""
        if self.step is None:
            return None if self.rate is None else -self.rate
        return -self.step if self.rate is None else -self.step * self.rate


@dataclass(frozen=True)
class Dims:
    """The numbers a map is built from. d: model width; d_u: width after `widen`; the rest per head.

    own_local is False when a named short convolution replaces the model's own local mixing, so that
    token shifts step aside for it.
    """

    d: int
    d_u: int
    heads: int
    d_k: int
    d_v: int
    layer: int = 0
    depth: int = 1
    own_local: bool = True


class Stream:
    """What the maps of one layer see and pass on while a segment of tokens goes through.

    x: b t d, block input. u: b t d_u, after widen and local. decay, q, k, v: set by the Mixer as
    they are made, so that a later map can read an earlier one. start: position of the first token.
    shared: parameters that all layers share (HGRN's lower bounds).
    """

    def __init__(
        self,
        x: Tensor,
        *,
        start: int = 0,
        shared: Mapping[str, Tensor] | None = None,
        names: Mapping[nn.Module, str] | None = None,
        memory: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.x = self.u = x
        self.decay = Decay()
        self.q = self.k = self.v = x
        self.start = start
        self.shared = shared or {}
        self.kept: dict[str, Tensor] = {}
        self._names = names or {}
        self._memory = memory or {}
        self._previous: Tensor | None = None

    def previous(self) -> Tensor:
        """u_{t-1}: b t d_u, zeros before the first token. Kept once, however many maps ask."""
        if self._previous is None:
            self._previous = self.past("previous", self.u, 1)[:, :-1]
        return self._previous

    def past(self, owner: nn.Module | str, y: Tensor, n: int) -> Tensor:
        """y with its n predecessors in front (zeros before the first token); keeps the new tail.

        y: b t d. Returns: b (n+t) d. Convolutions and token shifts use it, so that decoding one
        token at a time and handing a state over both work without any code of theirs.
        """
        name = owner if isinstance(owner, str) else self._names.get(owner, type(owner).__name__)
        assert name not in self.kept, f"{name} asked for its past twice in one step"
        tail = self._memory.get(name)
        if tail is None:
            tail = y.new_zeros(y.shape[0], n, y.shape[2])
        full = torch.cat([tail.to(y.dtype), y], dim=1)  # b (n+t) d
        self.kept[name] = full[:, full.shape[1] - n :].clone()  # b n d
        return full


# A map is anything that builds a module from Dims. The module takes a Stream. `maps.py` has the
# vocabulary; an odd map is an nn.Module class with a `formula` and `__init__(self, dims)`.
Map = Callable[[Dims], nn.Module]


def formula(factory: Map) -> str:
    """What a map prints; "?" for one that was written without its formula."""
    return getattr(factory, "formula", "?")


@dataclass(frozen=True)
class Normaliser:
    """Divide by q_t z_t, z the state of a value channel that is constantly 1.

    kind: `add` divides by q z + eps, `clamp` by max(q z, eps).
    """

    kind: Literal["add", "clamp"]
    eps: float


@dataclass(frozen=True)
class Spec:
    """One model: Eq. 11-15 of MetaLA (arXiv 2411.10741) with the switches real models need.

    u = local(widen(x)); q, k, v, alpha, g = f_*(stream)
    S_t = diag(alpha_t) S_{t-1} + k_t^T v_t;  o_t = scale * q_t S_t (+ now)
    y_t = W_O(norm(o_t) * g_t)

    state: width -> State.                 widen, d_u: x -> u of another width (Mamba's in_proj).
    local: short convolution on u.         now: term of the current token, added after the scan.
    bonus: log weight of the current token, with read="before" (RWKV).
    log_keys: f_k returns log k; the Mixer keeps a running maximum so that exp never overflows.
    scale: "none" or "d_k^-1/2", on q, on its way into the scan only.
    order: norm then gate, or gate then norm.  mix: "softmax" is the baseline outside the template.
    shared: (depth, d) -> parameters registered once on the Model and handed to every layer.
    """

    label: str
    paper: str
    family: Literal["softmax", "linear transformer", "linear RNN", "state-space model"]
    state: Callable[[int], State]
    f_q: Map
    f_k: Map
    f_v: Map
    f_alpha: Map
    w_o: Map
    f_g: Map | None = None
    widen: Map | None = None
    d_u: Callable[[int], int] = lambda d: d
    local: Map | None = None
    now: Map | None = None
    bonus: Map | None = None
    norm: Map | None = None
    order: Literal["norm_gate", "gate_norm"] = "norm_gate"
    read: Literal["after", "before"] = "after"
    scale: Literal["none", "d_k^-1/2"] = "none"
    normaliser: Normaliser | None = None
    log_keys: bool = False
    mix: Literal["scan", "softmax"] = "scan"
    shared: Callable[[int, int], Mapping[str, Tensor]] | None = None


def divided(what: str, d: int, parts: int) -> int:
    """d / parts, or a ValueError that says which width would do. For the `state` of a Spec."""
    if parts < 1 or d < parts or d % parts:
        raise ValueError(
            f"{what}: width {d} is not divisible into {parts} equal parts; "
            f"type a width that is a multiple of {parts}, for example {max(parts, d - d % parts)}"
        )
    return d // parts
