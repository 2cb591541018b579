"""A Spec in words: its functions as formulas, its state, its decay (`lazoo models`)."""

from __future__ import annotations

import re

import torch

import zoo
from zoo.mixer import Mixer
from zoo.spec import Spec, Stream, formula

SLOTS = ("widen", "local", "f_q", "f_k", "f_v", "f_alpha", "f_g", "now", "bonus", "norm", "w_o")


def formulas(spec: Spec) -> dict[str, str]:
    """Every map and what it computes; `u` is written x where nothing comes before it."""
    written = {}
    for slot in SLOTS:
        factory = getattr(spec, slot)
        if factory is None:
            written[slot] = "1" if slot == "f_g" else ""
            continue
        text = formula(factory)
        if spec.widen is None and (slot == "local" or spec.local is None):
            text = re.sub(r"\bu( W|\))", r"x\1", text)
        written[slot] = text
    if spec.mix == "softmax":
        written["f_alpha"] = "-"
    return written


def equations(spec: Spec) -> list[str]:
    """The layer as equations, one string each, in the order in which they are computed."""
    f = formulas(spec)
    lines = []
    if f["widen"]:
        lines.append(f"u = {f['widen']}")
    if f["local"]:
        lines.append(f"u = {f['local']}")
    lines += [f"q = {f['f_q']}", f"k = {f['f_k']}", f"v = {f['f_v']}"]
    scale = " / √d_k" if spec.scale == "d_k^-1/2" else ""
    if spec.mix == "softmax":
        lines.append(f"o_t = Σ_{{s≤t}} softmax(q_t k_s{scale}) v_s")
    else:
        lines.append(f"α = {f['f_alpha']}")
        lines.append("S_t = diag(α_t) S_{t-1} + k_tᵀ v_t")
        read = "S_t" if spec.read == "after" else "S_{t-1}"
        if spec.bonus is not None:
            read = f"({read} + {f['bonus']} k_tᵀ v_t)"
        lines.append(f"o_t = q_t {read}{scale}")
    if spec.normaliser is not None:
        kind, eps = spec.normaliser.kind, spec.normaliser.eps
        below = (
            "q_t z_t"
            if not eps
            else f"(q_t z_t + {eps:g})"
            if kind == "add"
            else f"max(q_t z_t, {eps:g})"
        )
        lines.append(f"o_t = o_t / {below}, z the same recurrence with v = 1")
    if f["now"]:
        lines.append(f"o_t = o_t + {f['now']}")
    if spec.f_g is not None:
        lines.append(f"g = {f['f_g']}")
    lines.append(f"y = ({normed(spec, f['norm'])}) {f['w_o'].removeprefix('y ')}")
    return lines


def normed(spec: Spec, norm: str) -> str:
    """norm(o) ⊙ g in the spec's order."""
    if spec.order == "gate_norm" and spec.f_g is not None:
        return f"{norm}(o ⊙ g)"
    return (f"{norm}(o)" if norm else "o") + (" ⊙ g" if spec.f_g is not None else "")


def decay_kind(spec: Spec, d_model: int) -> str:
    """The decay's geometry and whether it depends on the token; "-" for softmax attention."""
    if spec.mix == "softmax":
        return "-"
    mixer = Mixer(spec, d_model, layer=0, depth=2)
    shared = spec.shared(2, d_model) if spec.shared is not None else {}
    s = Stream(torch.zeros(1, 2, d_model), shared=shared, names=mixer._names)
    with torch.no_grad():
        s.u = s.x if mixer.widen is None else mixer.widen(s)
        decay = mixer.f_alpha(s)
    if decay.kind == "keep":
        return "none"
    per = "head" if decay.kind == "head" and mixer.dims.d_k > 1 else "channel"
    moving = "dynamic" if decay.step is not None else "fixed"
    return f"{moving} per {per}" + (" and state" if decay.kind == "ssm" else "")


def describe(name: str, d_model: int = 64) -> dict[str, object]:
    """Everything `lazoo models` prints about one model, as plain data (and as JSON)."""
    spec = zoo.load(name)
    state = spec.state(d_model)
    floats = state.heads * state.d_k * (state.d_v + (spec.normaliser is not None))
    return {
        "name": name,
        "label": spec.label,
        "paper": spec.paper,
        "family": spec.family,
        **formulas(spec),
        "equations": equations(spec),
        "decay": decay_kind(spec, d_model),
        "d_model": d_model,
        "heads": state.heads,
        "d_k": state.d_k,
        "d_v": state.d_v,
        "state_floats": None if spec.mix == "softmax" else floats,
        "variants": zoo.variants(name),
        "documentation": zoo.documentation(name),
    }
