"""A Spec as equations: its functions as formulas, its recurrence, the geometry of its decay."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from zoo.mixer import Mixer
from zoo.spec import Decay, Spec, Stream, formula

FUNCTIONS = ("f_q", "f_k", "f_v", "f_alpha", "f_g")
SLOTS = (
    *("widen", "local", *FUNCTIONS, "erase", "mix"),
    *("now", "bonus", "norm", "w_o", "post"),
)


def formulas(spec: Spec) -> dict[str, str]:
    """Every map and what it computes; `u` is written x where nothing comes before it."""
    written = bare(spec)
    for slot in SLOTS:
        # In a bonus the letter u is RWKV's own.
        if spec.widen is None and (slot == "local" or spec.local is None) and slot != "bonus":
            written[slot] = re.sub(r"(?<![\w^_])u(?!\w)", "x", written[slot])
    return written


def bare(spec: Spec) -> dict[str, str]:
    """Every map's own formula, "" for what a model does not have."""
    written = dict.fromkeys(SLOTS, "")
    for slot in SLOTS:
        factory = getattr(spec, slot)
        if factory is not None and not isinstance(factory, str):
            written[slot] = formula(factory)
    written["f_g"] = written["f_g"] or "1"
    if spec.mix == "softmax":
        scale = " / √d_k" if spec.scale == "d_k^-1/2" else ""
        written |= {"f_alpha": "-", "mix": f"Σ_{{s≤t}} softmax(q_t k_sᵀ{scale}) v_s"}
    return written


@dataclass(frozen=True)
class Probe:
    """One layer at one width after a few tokens. static: those of q and k that no token changes."""

    decay: Decay
    static: tuple[str, ...]
    d_k: int

    @property
    def turning(self) -> str:
        """Whether the state is complex: "" if not, else how it is read: "whole" or "by q"."""
        if self.decay.angle is None:
            return ""
        return "whole" if self.decay.angle.dim() == 1 else "by q"


@torch.no_grad()
def probe(spec: Spec, d_model: int) -> Probe:
    mixer = Mixer(spec, d_model, layer=0, depth=2)
    shared = {} if spec.shared is None else dict(spec.shared(2, d_model))
    s = Stream(torch.zeros(1, 2, d_model), shared=shared, names=mixer._names)
    s.u = s.x if mixer.widen is None else mixer.widen(s)
    s.u = s.u if mixer.local is None else mixer.local(s)
    s.decay = mixer.f_alpha(s)
    s.k = mixer.f_k(s)
    s.q = mixer.f_q(s)
    static = tuple(name for name, y in (("q", s.q), ("k", s.k)) if y.shape[1] == 1)
    return Probe(s.decay, static, mixer.dims.d_k)


def equations(spec: Spec, found: Probe) -> list[str]:
    """The layer as equations, one string each, in the order in which they are computed."""
    f = formulas(spec)
    lines = [f"u = {f[slot]}" for slot in ("widen", "local") if f[slot]]
    fixed = "    (the same at every token)"
    for name in ("q", "k", "v"):
        text = f[f"f_{name}"]
        lines.append(f"{name} = {text}" + fixed * (name in found.static and text != "1"))
    lines += recurrence(spec, found)
    lines += divided_by(spec)
    if f["now"] and spec.now_at == "before_norm":
        lines.append(f"o_t = o_t + {f['now']}")
    if spec.f_g is not None:
        lines.append(f"g = {f['f_g']}")
    lines.append(f"y = {projected(normed(spec), f['w_o'])}")
    if f["post"]:
        lines.append(f"y = {f['post']}")
    return lines


def surroundings(spec: Spec, found: Probe) -> list[str]:
    """The equations that the five functions leave open, without those that are as in Eq. 13-15."""
    plain = {"S_t = S_{t-1} + k_tᵀ v_t", "S_t = diag(α_t) S_{t-1} + k_tᵀ v_t", "o_t = q_t S_t"}
    plain |= {"y = (o ⊙ g) W_O", "y = o W_O"}
    functions = ("q =", "k =", "v =", "α =", "g =")
    lines = [line for line in equations(spec, found) if not line.startswith(functions)]
    return [line for line in lines if line not in plain]


def recurrence(spec: Spec, found: Probe) -> list[str]:
    """How o comes from q, k, v and the decay."""
    f = formulas(spec)
    scale = " / √d_k" if spec.scale == "d_k^-1/2" else ""
    if spec.mix != "scan":
        decayed = f["f_alpha"] not in ("1", "-")
        return [f"α = {f['f_alpha']}"] * decayed + [f"o_t = {f['mix']}"]
    still = decay_kind(spec, found) == "none"
    kept = "S_{t-1}" if still else "diag(α_t) S_{t-1}"
    erased = f" - {f['erase']} S_{{t-1}}" if f["erase"] else ""
    read = "S_t" if spec.read == "after" else "S_{t-1}"
    if f["bonus"]:
        read = f"({read} + {f['bonus']} k_tᵀ v_t)"
    out = f"Re(q_t {read})" if found.turning == "by q" else f"q_t {read}"
    return [f"α = {f['f_alpha']}", f"S_t = {kept}{erased} + k_tᵀ v_t", f"o_t = {out}{scale}"]


def divided_by(spec: Spec) -> list[str]:
    """The normaliser's line, if there is one."""
    if spec.normaliser is None:
        return []
    kind, eps = spec.normaliser.kind, spec.normaliser.eps
    below = {
        "add": f"(q_t z_t + {eps:g})",
        "clamp": f"max(q_t z_t, {eps:g})",
        "add_key": f"(q_t (z_t + {eps:g}))",
    }
    return [f"o_t = o_t / {below[kind] if eps else 'q_t z_t'}, z the same recurrence with v = 1"]


def normed(spec: Spec) -> str:
    """norm(o) ⊙ g in the spec's order, with what is added after the norm."""
    norm, gated = formulas(spec)["norm"], spec.f_g is not None
    if spec.order == "gate_norm" and gated:
        y, gated = f"{norm}(o ⊙ g)" if norm else "o ⊙ g", False
    else:
        y = f"{norm}(o)" if norm else "o"
    if spec.now is not None and spec.now_at == "after_norm":
        y = f"({y} + {formulas(spec)['now']})"
    return f"{y} ⊙ g" if gated else y


def projected(y: str, w_o: str) -> str:
    """w_o with its y written out: `(o ⊙ g) W_O`, `Re(o C)`."""
    alone = w_o == "y" or re.fullmatch(r"\w+(\([^()]*\))?", y)
    return re.sub(r"(?<![\w^_])y(?!\w)", y if alone else f"({y})", w_o)


def decay_kind(spec: Spec, found: Probe) -> str:
    """The decay's geometry and whether it depends on the token; "-" for softmax attention."""
    if spec.mix == "softmax":
        return "-"
    decay, turning = found.decay, ", rotating" * bool(found.turning)
    # A model can rescale its state by a running maximum, which is a decay to the scan alone.
    if decay.kind == "keep" or bare(spec)["f_alpha"] == "1":
        return "none" + turning
    per = "head" if decay.kind == "head" and found.d_k > 1 else "channel"
    moving = "dynamic" if decay.step is not None else "fixed"
    return f"{moving} per {per}" + (" and state" if decay.kind == "ssm" else "") + turning
