"""What the measured form of one layer allows: its least overwrite error and its bounds (C1, C2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from zoo.spec import Spec
from zoo.theory import bounds, conditions, constructions, overwrite
from zoo.theory.conditions import EXACT, FAR, Bound, decided, evaluated
from zoo.theory.measure import End, Functions


@dataclass(frozen=True)
class Finding:
    """C1 and C2 of one layer."""

    e2: float | None
    e2_initial: float | None
    dynamic: bool | None
    static: bool | None
    lower: tuple[float, ...] | None
    upper: tuple[float, ...] | None
    by: tuple[str, str, str]
    until: int | None


def examine(spec: Spec, found: Functions) -> Finding:
    """C1 and C2 of one layer. A mixing of the model's own is outside these arguments."""
    if spec.mix == "softmax":
        row = conditions.softmax()
        return Finding(row.e2, row.e2, *row.met[1:3], row.lower, row.upper, row.by, None)
    if spec.mix != "scan":
        return Finding(None, None, None, None, None, None, ("", "", ""), None)
    weak, strong = found.strength or (0.0, 0.0)
    e2, how = least_error(found, *found.reach, strong)
    initial, _ = least_error(found, *found.initial, weak)
    lower, below = evaluated(lower_bounds(spec, found))
    upper, above = evaluated(upper_bounds(spec, found), least=True)
    static, until = decided(lower, upper), None
    if found.decay == "fixed" and spec.normaliser is None and found.query == "dynamic":
        ceiling = found.initial[1][0]
        until = 1 + math.floor(math.log1p(-FAR) / math.log(ceiling))
        if upper is not None and max(upper) <= FAR:
            static = True  # numerically, up to n = until
    return Finding(e2, initial, e2 < EXACT, static, lower, upper, (how, below, above), until)


def least_error(found: Functions, low: End, high: End, strength: float) -> tuple[float, str]:
    """Least e2 of a layer whose alpha lies between low and high, each with the key beside it, and
    what limits it. strength: of an erasure."""
    d_k = overwrite.D_K
    if found.strength is not None:
        kept = (d_k - 1) * (1 - high[0]) ** 2 if found.decay != "none" else 0.0
        return overwrite.delta_rule(min(strength, 1.0)) + kept, "erased by rank one"
    separate = found.d_k == 1 or found.key not in ("absent", "static")
    key = 0.0 if separate else overwrite.static_key(d_k)
    if found.decay == "none":
        return overwrite.no_decay(d_k) + key, "alpha = 1"
    if found.decay == "fixed":
        return overwrite.one_value(d_k) + key, "fixed"
    if found.geometry == "head":
        return overwrite.one_value(d_k) + key, "one value per head"
    if found.geometry == "rates":
        rates = torch.tensor(found.rates, dtype=torch.float64)
        return overwrite.tied_rates(rates).mean().item() + key, "one step, fixed rates"
    (least, key_low), (most, key_high) = low, high
    e2 = overwrite.per_channel(least, most, d_k) + key
    if found.key == "tied":
        e2 += (key_low - 1) ** 2 + (d_k - 1) * key_high**2
    return e2, f"alpha from {least:.2g} to {most:.2g}"


def lower_bounds(spec: Spec, found: Functions) -> dict[str, Bound]:
    """The bounds that hold for what was measured. A denominator rescales the rows of a map, which
    only L3 survives; a gate does so within bounds, which L1 survives too."""
    query, key = found.query == "dynamic", found.key in ("dynamic", "tied")
    plain = spec.normaliser is None and spec.erase is None
    bounded: dict[str, Bound] = {}
    if plain and found.decay == "fixed":
        ceiling = found.initial[1][0]
        near = f"{ceiling:.4g}" if ceiling < 0.999 else f"1-{1 - ceiling:.0e}"
        bounded[f"L1({near})"] = lambda P: bounds.fixed_decay(P, ceiling)
    gated = spec.f_g is not None
    if plain and not gated and not query and found.positive and spec.read == "after":
        bounded["L2"] = bounds.no_query
    one = not query and (found.d_k == 1 or found.decay == "none") and spec.erase is None
    if one:
        before = spec.read == "before"
        bounded["L3"] = lambda P: bounds.one_channel(P, before=before)
    if plain and found.decay == "none" and query and not key:
        bounded["L4"] = bounds.only_query
    if plain and not query and not key and found.decay != "dynamic":
        if not gated:
            bounded["L6"] = bounds.toeplitz
        elif found.d_v == 1:  # H3: its gate and its value are factors of the row and of the column
            bounded["L6, scaled"] = bounds.scaled_toeplitz
    if query and found.d_k == 1:
        bounded["rank"] = lambda P: bounds.few_channels(P, 1)
    return bounded


def upper_bounds(spec: Spec, found: Functions) -> dict[str, Bound]:
    """The constructions that the measured functions can carry out."""
    if found.query != "dynamic" or found.d_k == 1 or found.key in ("absent", "static"):
        return {}
    (least, _), (most, _) = found.reach
    keeps = found.decay == "none" or (found.decay == "dynamic" and 1 - most < EXACT)
    made: dict[str, Bound] = {}
    if found.key == "dynamic" and keeps:
        made["U1"] = lambda P: constructions.slots_without_decay(P).error(P)
    if found.key == "dynamic" and found.decay == "fixed":
        ceiling = found.initial[1][0]
        made["U1"] = lambda P: constructions.slots_without_decay(P, ceiling).error(P)
    if found.decay == "dynamic" and found.geometry == "channel" and keeps and least < 1:
        made["U2"] = lambda P: constructions.slots(P, least).error(P)
    return made
