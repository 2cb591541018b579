"""Rows of Table 2 and of the figures of the theory: conditions C0 to C3, computed, not stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zoo.theory import bounds, overwrite
from zoo.theory.conditions import (
    CEILING,
    Verdict,
    evaluated_on,
    lower_bounds,
    upper_bounds,
    verdicts,
)
from zoo.theory.groups import GROUPS, Group, group
from zoo.theory.named import Named, named
from zoo.theory.optimise import Case, approximate
from zoo.theory.targets import LENGTHS, softmax

Row = dict[str, Any]
TOLERANCE = 0.02  # what the optimiser leaves of an error that a construction brings to 0
SMALL, CAPACITY = 6, 12  # tokens of the maps that the optimiser is given
CHANNELS = (1, 2, 4, 8, 12)
LOGITS = [0.5 * i for i in range(121)]  # 0 to 60
SEED = 1  # of the maps that the optimiser is given
LONG = tuple(2**i for i in range(2, 13))  # tokens
CEILINGS = (0.9, 0.99, 0.999, 1 - 2**-12)  # the last is RetNet's slowest head of 8


def rows(names: Sequence[str] | None = None, d_model: int = 64) -> list[Row]:
    """All rows, the same on every call; some seconds on one core, and 0.2 for each named model.

    names: models of the zoo (a plugin's too) for the rows of kind `model`; None for none.
    d_model: width at which they are measured. `kind` tells the rows apart:

    group: `name` (softmax, Q,K,L ...; the paper's order), `C0` to `C3` (true, false, None where
        undecided), `groups` of parameters, `floats` of state after 16 and 32 tokens, `e2` and
        `e2_by`, over `n` the errors `lower` and `upper` (None: no construction) with `lower_by`,
        `upper_by`; `optimised` at `optimised_n` tokens, its `optimised_lower` and
        `optimised_upper`, and `agrees`, whether it lies between them.
    model: `name`, `label`, `group`, `remarks`, `C0` to `C3`, `groups`, `d_model`, `state` and
        `step` (bytes kept, and bytes moved by a step, after n and 2n tokens), `e2`, `e2_by`,
        `e2_initial`, `alpha` (least and most at the initial weights of the last layer), `n`,
        `lower`, `upper`, `lower_by`, `upper_by`, `until` (n up to which a fixed decay costs at most
        0.05), and `theta_q`, `theta_k`, `theta_alpha`, `theta_erase`, `theta_all`: scalars of a
        layer. `probe_left`, `probe_lost`, `fit_error`, `fit_n` where `probed` ran.
    overwrite: a curve `name` of `e2` over the bound `Z` of the gate's logit.
    level: a form of decay, `name`, whose `e2` no logit changes.
    fixed: `error` over `n` of a fixed decay up to `ceiling`.
    capacity: `error` found by the optimiser for group `name` at `n` tokens over `d_k` channels, and
        `lower`, below which no diagonal recurrence comes.
    """
    torch.set_num_threads(1)  # tensors are small: threads would wait for one another
    return [*groups(), *curves(), *capacities(), *models(names or (), d_model)]


def groups() -> list[Row]:
    """Verdicts with the optimiser's value beside the interval that it must lie in."""
    found, P = verdicts(), softmax(SMALL, SEED)
    values = approximate(P, [Case(each, SMALL, length(each), CEILING) for each in GROUPS])
    optimised = {each.name: value for each, value in zip(GROUPS, values)}
    return [line(verdict, optimised.get(verdict.name)) for verdict in found]


def length(of: Group) -> float:
    """Bound of |q|: a decay that stays above 0 needs more than 1, U2 says 1 / (1 - a)."""
    return 3.0 if of.decay == "dynamic" else 1.0


def line(v: Verdict, optimised: float | None) -> Row:
    row: Row = {"kind": "group", "name": v.name, **conditions(v.met), "groups": v.parameters}
    row |= {"floats": list(v.floats), "e2": v.e2, "n": list(LENGTHS), **interval(v)}
    if optimised is not None:
        P = softmax(SMALL, SEED)
        lower = evaluated_on(P, lower_bounds(group(v.name), CEILING), max) or 0.0
        upper = evaluated_on(P, upper_bounds(group(v.name), CEILING), min)
        above = upper is None or optimised <= upper + TOLERANCE
        row |= {"optimised": optimised, "optimised_n": SMALL, "optimised_lower": lower}
        row |= {"optimised_upper": upper, "agrees": lower <= optimised + 1e-9 and above}
    return row


def conditions(met: Sequence[bool | None]) -> Row:
    return {f"C{i}": value for i, value in enumerate(met)}


def interval(v: Verdict | Named) -> Row:
    """The errors over n, and the names behind e2 and them."""
    lower, upper = (None if y is None else list(y) for y in (v.lower, v.upper))
    by = dict(zip(("e2_by", "lower_by", "upper_by"), v.by))
    return {"lower": lower, "upper": upper, **by}


def models(names: Sequence[str], d_model: int = 64) -> list[Row]:
    """One row per model. Raises: ValueError for an unknown name or a width that it refuses."""
    return [model(named(name, d_model), d_model) for name in names]


def model(found: Named, d_model: int) -> Row:
    row: Row = {"kind": "model", "name": found.name, "label": found.label, "group": found.group}
    row |= {"remarks": list(found.remarks), **conditions(found.met), "groups": found.parameters}
    row |= {"d_model": d_model, "state": list(found.state), "step": list(found.step)}
    row |= {"e2": found.e2, "e2_initial": found.e2_initial}
    row |= {"alpha": None if found.alpha is None else list(found.alpha), "until": found.until}
    row |= {"n": list(LENGTHS), **interval(found)}
    return row | {f"theta_{part}": count for part, count in found.scalars.items()}


def probed(row: Row) -> Row:
    """A model's row with what was found by optimising the running module: seconds for most, half a
    minute for a large state, a minute for EVA."""
    import zoo
    from zoo.theory.extract import fit
    from zoo.theory.probe import probe

    spec = zoo.load(row["name"])
    if "state hand-over" not in spec.by_design:  # the probe runs token by token
        seen = probe(spec)
        row = row | {"probe_left": seen.left, "probe_lost": seen.lost}
    if spec.mix != "scan":
        return row
    fitted = fit(spec)
    return row | {"fit_error": fitted.error, "fit_n": fitted.n}


def curves() -> list[Row]:
    """The overwrite error over the gate's logit, its levels, and what fixed decays cost over n."""
    forms = {  # tau, floor
        "τ = 1": (1.0, 0.0),
        "τ = 16 (GLA, MetaLA)": (16.0, 0.0),
        "α ≥ 0.1": (1.0, 0.1),
        "α ≥ 0.5": (1.0, 0.5),
    }
    made: list[Row] = []
    for name, (tau, floor) in forms.items():
        e2 = [overwrite.bounded_logit(Z, tau=tau, floor=floor) for Z in LOGITS]
        made.append({"kind": "overwrite", "name": name, "Z": LOGITS, "e2": e2})
    rates = torch.arange(1.0, overwrite.D_K + 1)
    levels = {
        "no decay": overwrite.no_decay(),
        "fixed, or one per head": overwrite.one_value(),
        "Mamba: rates 1 to 16": overwrite.tied_rates(rates).mean().item(),
        "RWKV-7's decay alone": overwrite.RWKV7_LEAST**2,
    }
    made += [{"kind": "level", "name": name, "e2": e2} for name, e2 in levels.items()]
    for ceiling in CEILINGS:
        error = [bounds.fixed_decay_of_sink(n, ceiling) for n in LONG]
        made.append({"kind": "fixed", "ceiling": ceiling, "n": list(LONG), "error": error})
    return made


def capacities() -> list[Row]:
    """Error over d_k at 12 tokens, for the groups that have a construction at d_k = n."""
    P = softmax(CAPACITY, SEED)
    able = [each for each in GROUPS if upper_bounds(each, 1.0) and each.decay != "fixed"]
    cases = [Case(each, d_k, length(each)) for each in able for d_k in CHANNELS]
    values = dict(zip([(c.group.name, c.d_k) for c in cases], approximate(P, cases)))
    lower = [bounds.few_channels(P, d_k) for d_k in CHANNELS]
    return [
        {
            "kind": "capacity",
            "name": each.name,
            "n": CAPACITY,
            "d_k": list(CHANNELS),
            "error": [values[each.name, d_k] for d_k in CHANNELS],
            "lower": lower,
        }
        for each in able
    ]
