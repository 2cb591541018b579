"""The verdicts on a model of the zoo as implemented, with its own ties, floors and fixed decays.

Weights are free and slots have as many channels as an argument needs (16 for C1, n for C2), as in
the paper; what is the model's own is which functions exist and what form they force on alpha and k.
A layer that meets a condition is enough: the first and the last are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import zoo
from zoo.spec import Spec
from zoo.theory.conditions import EXACT, minimal
from zoo.theory.count import scalars
from zoo.theory.groups import Group
from zoo.theory.growth import growth
from zoo.theory.limits import Finding, examine
from zoo.theory.measure import Functions, functions

LEAST_GROUPS = 2  # of parameters, what the 12 groups give: `conditions.verdicts`


@dataclass(frozen=True)
class Named:
    """One model. e2: with the best weights; e2_initial: with the initial ones, any input. until:
    largest n at which a fixed decay has not yet cost more than 0.05. remarks: what is not in the
    group's name."""

    name: str
    label: str
    group: str
    met: tuple[bool | None, bool | None, bool | None, bool | None]
    parameters: int | None
    state: tuple[int, int]
    step: tuple[int, int]
    e2: float | None
    e2_initial: float | None
    alpha: tuple[float, float] | None
    lower: tuple[float, ...] | None
    upper: tuple[float, ...] | None
    by: tuple[str, str, str]
    until: int | None
    scalars: dict[str, int]
    remarks: tuple[str, ...]


def named(name: str, d_model: int = 32, depth: int = 2) -> Named:
    """Measures a model. Raises: ValueError for an unknown name or a width it refuses."""
    return of_spec(zoo.load(name), name, d_model, depth)


def of_spec(spec: Spec, name: str, d_model: int = 32, depth: int = 2) -> Named:
    """The same for a Spec that is in no file."""
    cost = growth(spec, d_model, depth)
    layers = [functions(spec, d_model, layer, depth) for layer in sorted({0, depth - 1})]
    found = [examine(spec, layer) for layer in layers]
    best = max(found, key=merit)
    first, last = layers[0], layers[-1]
    flat = cost["state"][0] == cost["state"][1] and cost["step"][0] == cost["step"][1]
    members = None if spec.mix != "scan" else group_of(first)
    parameters = None if members is None else members.parameters + (spec.erase is not None)
    met = (flat, any_of([f.dynamic for f in found]), any_of([f.static for f in found]))
    moving = first.decay != "none"
    return Named(
        name=name,
        label=spec.label,
        group="softmax" if spec.mix == "softmax" else "own" if members is None else members.name,
        met=(*met, None if parameters is None else minimal(met, parameters, LEAST_GROUPS)),
        parameters=parameters,
        state=(cost["state"][0], cost["state"][1]),
        step=(cost["step"][0], cost["step"][1]),
        e2=best.e2,
        e2_initial=found[-1].e2_initial,
        alpha=(last.initial[0][0], last.initial[1][0]) if moving else None,
        lower=best.lower,
        upper=best.upper,
        by=best.by,
        until=best.until,
        scalars=scalars(spec, d_model),
        remarks=tuple(remarks(spec, first, last)),
    )


def group_of(found: Functions) -> Group:
    return Group(found.query != "absent", found.key in ("static", "dynamic"), found.decay)


def merit(found: Finding) -> tuple[bool, bool, float]:
    """The layer that meets more, then the one that a fixed decay costs less."""
    return found.dynamic is True, found.static is True, -sum(found.lower or ())


def any_of(verdicts: Sequence[bool | None]) -> bool | None:
    return True if True in verdicts else None if None in verdicts else False


def remarks(spec: Spec, first: Functions, last: Functions) -> list[str]:
    """What a reader of the group's name would not expect."""
    still = "dynamic" not in (first.query, first.decay) and first.key in ("absent", "static")
    said = [
        (spec.mix not in ("scan", "softmax"), "own mixing"),
        (first.strength is not None, "erasure"),
        (spec.mix == "scan" and still, "Toeplitz"),
        (first.key == "tied", "k tied"),
        (first.decay == "dynamic" and first.geometry == "head", "one decay per head"),
        (first.geometry == "rates", "fixed rates"),
        (first.rotates, "rotation"),
        (spec.normaliser is not None, "denominator"),
        (spec.bonus is not None, "bonus"),
        ("state hand-over" in spec.by_design, "whole input"),
    ]
    found = [text for holds, text in said if holds]
    least = last.initial[0][0]
    if last.decay == "dynamic" and least > EXACT:
        floor = last.reach[0][0]
        when = "always" if floor > EXACT else "at first"
        found.append(f"α ≥ {floor if floor > EXACT else least:.3g} {when}")
    return found
