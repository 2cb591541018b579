"""Two models term by term: what is equal, what differs, and every difference in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zoo
from zoo.describe import describe
from zoo.equations import bare
from zoo.mixer import Mixer
from zoo.spec import Spec
from zoo.stated import STATED

LETTERS = {"f_q": "q", "f_k": "k", "f_v": "v", "f_alpha": "α", "f_g": "g"}
# Maps that not every model has, and what they are.
PARTS = {
    "widen": "a projection before everything else",
    "local": "a short convolution or shift before the functions",
    "erase": "an erasure in the old state",
    "mix": "a mixing of its own in place of the recurrence",
    "now": "a term of the current token beside the scan",
    "bonus": "a bonus for the current token",
    "norm": "a norm of the output",
    "post": "a step after W_O",
}
SLOTS = (*PARTS, *LETTERS, "w_o")
# Formulas that mean more than they say, in words that follow "has".
MEANINGS = {
    ("f_q", "1"): "no query (q = 1)",
    ("f_k", "1"): "no key (k = 1)",
    ("f_g", "1"): "no gate (g = 1)",
    ("f_alpha", "1"): "α = 1, which forgets nothing,",
    ("f_alpha", "-"): "no decay",
    ("w_o", "y"): "no W_O",
    ("f_k", "1 - α"): "k = 1 - α, tied to the decay and without parameters,",
}


@dataclass(frozen=True)
class Term:
    """One property of both models as printed, and the difference in words, "" if they are equal.

    Equal is what prints equal and has parameters of the same names: constants that a formula leaves
    out, such as an eps, and initial values are not looked at.
    """

    name: str
    one: str
    other: str
    same: bool
    sentence: str = ""


@dataclass(frozen=True)
class Side:
    """One of the two models. maps: formulas as the file writes them, with u for what comes in."""

    name: str
    told: dict[str, Any]
    maps: dict[str, str]
    weights: dict[str, tuple[str, ...]]


def compare(one: str, other: str, d_model: int = 64) -> list[Term]:
    """Every term that at least one of the two models has, those of the template first."""
    a, b = side(one, d_model), side(other, d_model)
    terms = [mapped(slot, a, b) for slot in SLOTS]
    for name, what in STATED.items():
        if all(s.told[slot] not in ("", "1") for s in (a, b) for slot in what.needs):
            terms.append(stated(name, a, b, what.words))
    terms.append(parameters(a, b))
    return [term for term in terms if term.one or term.other]


def side(name: str, d_model: int) -> Side:
    spec = zoo.load(name)
    return Side(name, describe(name, d_model), bare(spec), weights(spec, d_model))


def weights(spec: Spec, d_model: int) -> dict[str, tuple[str, ...]]:
    """Names of the parameters of each map, sorted: the same formula can be with or without some."""
    mixer = Mixer(spec, d_model, layer=1, depth=2)
    modules = {slot: getattr(mixer, slot) for slot in SLOTS}
    return {
        slot: () if module is None else tuple(sorted(name for name, _ in module.named_parameters()))
        for slot, module in modules.items()
    }


def mapped(slot: str, a: Side, b: Side) -> Term:
    """A map of the template. Equal means the same formula of u, with the same parameters."""
    one, other = a.told[slot], b.told[slot]
    if a.maps[slot] != b.maps[slot]:
        return Term(
            slot, one, other, False, part(slot, a, b) if slot in PARTS else either(slot, a, b)
        )
    shown = one if one == other else a.maps[slot]
    owned = [", ".join(side.weights[slot]) or "no parameters" for side in (a, b)]
    if owned[0] == owned[1]:
        return Term(slot, shown, shown, True)
    text = f"Both have {slot} {shown}, {a.name} with {owned[0]}, {b.name} with {owned[1]}."
    return Term(slot, f"{shown} with {owned[0]}", f"{shown} with {owned[1]}", False, text)


def either(slot: str, a: Side, b: Side) -> str:
    """One of the five functions, or W_O: every model has them in some form."""
    letter = LETTERS.get(slot, "y")
    one, other = (
        MEANINGS.get((slot, side.told[slot]), f"{letter} = {side.told[slot]}") for side in (a, b)
    )
    return f"{a.name} has {one} instead of {other.rstrip(',')}, which {b.name} has."


def part(slot: str, a: Side, b: Side) -> str:
    """A map that one or both of two models have."""
    one, other = a.told[slot], b.told[slot]
    if one and other:
        return f"Both have {PARTS[slot]}: {a.name} {one}, {b.name} {other}."
    name, formula, without = (a.name, one, b.name) if one else (b.name, other, a.name)
    return f"{name} has {PARTS[slot]}, {formula}; {without} has none."


def stated(name: str, a: Side, b: Side, words: Callable[[dict[str, Any]], str]) -> Term:
    """A property that a model's description states. Equal means the same words."""
    one, other = words(a.told), words(b.told)
    if one == other:
        return Term(name, one, other, True)
    return Term(name, one, other, False, f"{a.name} {one}; {b.name} {other}.")


def parameters(a: Side, b: Side) -> Term:
    """Parameters of one mixer, in all and for each role that differs."""
    one, other = (side.told["parameters"] for side in (a, b))
    if one == other:
        return Term("parameters", listed(one), listed(other), True)
    pairs = {role: (one[role], other[role]) for role in one if one[role] != other[role]}
    roles = ", ".join(f"{role} {x:,} against {y:,}" for role, (x, y) in pairs.items())
    text = f"{a.name} has {sum(one.values()):,} parameters in a mixer, "
    text += f"{b.name} {sum(other.values()):,}: {roles}."
    return Term("parameters", listed(one), listed(other), False, text)


def listed(counts: dict[str, int]) -> str:
    parts = ", ".join(f"{role} {n:,}" for role, n in counts.items() if n)
    return f"{sum(counts.values()):,}: {parts}"
