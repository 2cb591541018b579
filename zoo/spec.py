"""What a model is: one row of the paper's Table 1, written as maps and numbers.

Letters used in every shape comment of the project: b batch, t time, d width, h heads, k key
channels per head, v value channels per head, c chunk, n chunks. Layout at module boundaries is b t
h k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Literal, cast

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
    angle: radians per token, fixed, for alpha * exp(j angle), a complex state in real numbers.
        h: read whole (d_v = 2, real and imaginary part); the Mixer rotates v and o.
        h n, d_k = 2n: read as Re(q S), key channels being [n real parts | n imaginary parts];
        b h n where rows differ, which only a Mixer takes.
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
class Erase:
    """The rank-one part of A_t = diag(alpha_t) - write_t^T read_t (the delta rule and its kin).

    write, read: b t h k, or b t 1 k for all heads alike. read sees the state before it decays:
    S_t = diag(alpha_t) S_{t-1} - write_t^T (read_t S_{t-1}) + k_t^T v_t.
    """

    write: Tensor
    read: Tensor


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
    shared: parameters that all layers share (HGRN's lower bounds), and what a layer leaves for the
    later ones of the same pass (RWKV-7's first value): a dict of its own for every pass. notes:
    what a map leaves for a later map of this layer (the delta rule's key before its strength).
    lengths: b, how many tokens of each row are no padding, and valid: b t, which; None where all
    are. asked: which of position, total, recall and past the maps have asked for; a map that asks
    for another one than past is run again on reversed time (zoo/directions.py).
    """

    def __init__(
        self,
        x: Tensor,
        *,
        start: int = 0,
        shared: MutableMapping[str, Tensor] | None = None,
        names: Mapping[nn.Module, str] | None = None,
        memory: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.x = self.u = x
        self.lengths, self.valid = cast(Tensor | None, None), cast(Tensor | None, None)
        self.decay, self.erase = Decay(), cast(Erase | None, None)
        self.q = self.k = self.v = x
        self.start = start
        self.shared = {} if shared is None else shared
        self.kept: dict[str, Tensor] = {}
        self.notes: dict[str, Tensor] = {}
        self.asked: set[str] = set()
        self.names = names or {}
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
        tail = self.tail(owner, y.new_zeros(y.shape[0], n, y.shape[2]))
        full = torch.cat([tail.to(y.dtype), y], dim=1)  # b (n+t) d
        self.keep(owner, full[:, full.shape[1] - n :].clone())  # b n d
        return full

    def tail(self, owner: nn.Module | str, initial: Tensor) -> Tensor:
        """recall() for what a convolution or token shift keeps, a few tokens."""
        self.asked.add("past")
        return self._memory.get(self._name(owner), initial)

    def total(self, owner: nn.Module | str, y: Tensor) -> Tensor:
        """y: b t ... -> its running sum over all tokens so far, the current one included."""
        self.asked.add("total")
        before = self.recall(owner, torch.zeros_like(y[:, 0]))
        total = y.cumsum(1) + before.to(y.dtype).unsqueeze(1)
        self.keep(owner, total[:, -1].clone())
        return total

    def recall(self, owner: nn.Module | str, initial: Tensor) -> Tensor:
        """What `owner` kept at the end of the last segment; `initial` before the first token."""
        self.asked.add("recall")
        return self._memory.get(self._name(owner), initial)

    def keep(self, owner: nn.Module | str, value: Tensor) -> None:
        """Hands `value` to the next segment. Modules that keep more than a convolution's or token
        shift's past say how much: `state_floats`, floats for each example, or a function of the
        number of tokens that gives them."""
        name = self._name(owner)
        assert name not in self.kept, f"{name} keeps something twice in one step"
        self.kept[name] = value

    @property
    def position(self) -> Tensor:
        """t: the position of each token, from 0 at the first one of the sequence."""
        self.asked.add("position")
        return torch.arange(self.start, self.start + self.x.shape[1], device=self.x.device)

    def _name(self, owner: nn.Module | str) -> str:
        return owner if isinstance(owner, str) else self.names.get(owner, type(owner).__name__)


# A map is anything that builds a module from Dims. The module takes a Stream. `maps.py` has the
# vocabulary, and files beside it (discretisation, state_space, forget_gates, rwkv, delta_rule) that
# of families; an odd map is an nn.Module class with a `formula` and `__init__(self, dims)`.
Map = Callable[[Dims], nn.Module]


def formula(factory: Map) -> str:
    """What a map prints; "?" for one that was written without its formula."""
    return getattr(factory, "formula", "?")


@dataclass(frozen=True)
class Normaliser:
    """Divide by q_t z_t, z the state of a value channel that is constantly 1.

    kind: `add` divides by q z + eps, `clamp` by max(q z, eps), `add_key` by q (z + eps).
    """

    kind: Literal["add", "clamp", "add_key"]
    eps: float


@dataclass(frozen=True)
class Spec:
    """One model: Eq. 11-15 of MetaLA (arXiv 2411.10741) with the switches real models need.

    u = local(widen(x)); q, k, v, alpha, g = f_*(stream)
    S_t = diag(alpha_t) S_{t-1} + k_t^T v_t;  o_t = scale * q_t S_t (+ now)
    y_t = post(W_O(norm(o_t) * g_t))

    f_q and f_k return b t h k; 1 1 h k where they do not depend on the token (S4D), b 1 h k where
    they depend on the row's length alone.
    state: width -> State.                 widen, d_u: x -> u of another width (Mamba's in_proj).
    layer_state: a layer's own state, where layers differ (TransNormerLLM turns in the first only).
    local: short convolution on u.         now: term of the current token, added after the scan.
    erase: A_t = diag(alpha_t) minus rank one; its module returns an Erase (delta rule).
    now_at: `now` is added before or after the norm.    post: what follows W_O (D x, GELU, GLU).
    bonus: log weight of the current token, with read="before" (RWKV).
    log_keys: f_k returns log k; the Mixer keeps a running maximum so that exp never overflows.
    scale: "none" or "d_k^-1/2", on q, on its way into the scan only.
    order: norm then gate, or gate then norm.
    mix: "softmax" is the baseline outside the template; a Map, whose module takes the stream and
        the state and returns o and what it keeps, is for what has no recurrence of fixed size. A
        bidirectional Mixer takes o from its two_sided(stream), or adds two passes if it has none.
    shared: (depth, d) -> parameters registered once on the Model and handed to every layer.
    by_design: property of the certificate -> why the published model does not have it.
    channel, block_norm: channel mixer and norm of the authors' blocks (`--channel-mixer own`).
    model_init: what the authors' whole model draws anew or does to its embeddings, a name in
        zoo/initialisation.py (`--initialisation authors`).
    """

    label: str
    paper: str
    family: Literal[
        "softmax", "linear transformer", "linear RNN", "state-space model", "delta rule"
    ]
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
    erase: Map | None = None
    now: Map | None = None
    now_at: Literal["before_norm", "after_norm"] = "before_norm"
    bonus: Map | None = None
    norm: Map | None = None
    order: Literal["norm_gate", "gate_norm"] = "norm_gate"
    read: Literal["after", "before"] = "after"
    scale: Literal["none", "d_k^-1/2"] = "none"
    normaliser: Normaliser | None = None
    log_keys: bool = False
    layer_state: Callable[[State, int], State] = lambda state, layer: state
    post: Map | None = None
    mix: Literal["scan", "softmax"] | Map = "scan"
    shared: Callable[[int, int], Mapping[str, Tensor]] | None = None
    by_design: Mapping[str, str] = field(default_factory=dict)
    channel: str = "swiglu"
    block_norm: str = "rms"
    model_init: str = "own"


def divided(what: str, d: int, parts: int) -> int:
    """d / parts, or a ValueError that says which width would do. For the `state` of a Spec."""
    if parts < 1 or d < parts or d % parts:
        raise ValueError(
            f"{what}: width {d} is not divisible into {parts} equal parts; "
            f"type a width that is a multiple of {parts}, for example {max(parts, d - d % parts)}"
        )
    return d // parts


def square(what: str, size: int) -> Callable[[int], State]:
    """Heads of `size` x `size`, one smaller head in a narrower model. For the `state` of a Spec."""

    def state(d: int) -> State:
        heads = max(1, d // size)
        width = divided(what, d, heads)
        return State(heads, width, width)

    return state
