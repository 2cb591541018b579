"""The verdicts on the 12 groups of parameters, and the evidence they rest on (MetaLA, Table 2).

C0 is counted on the recurrence, C1 is the least overwrite error e2, C2 an interval [lower(n),
upper(n)] for the approximation error over the target set, C3 a count. A verdict is None where the
evidence decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.theory import bounds, constructions, overwrite
from zoo.theory.groups import GROUPS, Group
from zoo.theory.targets import LENGTHS, targets

EXACT = 1e-6  # C1 passes below it, and C2 where a construction stays below it at every length
FAR = 0.05  # C2 fails where a lower bound is above it at the longest length
CEILING = 0.99  # of a fixed decay; alpha = 1 would make (Q,K) a case of (Q,K,L)


@dataclass(frozen=True)
class Verdict:
    """One line of the table. met: C0 to C3. lower, upper: over LENGTHS; upper None where no
    construction is known. by: the names behind e2, lower and upper at the longest length."""

    name: str
    met: tuple[bool | None, bool | None, bool | None, bool | None]
    parameters: int | None
    floats: tuple[int, int]
    e2: float
    lower: tuple[float, ...]
    upper: tuple[float, ...] | None
    by: tuple[str, str, str]


Bound = Callable[[Tensor], float]


def verdicts(ceiling: float = CEILING) -> list[Verdict]:
    """Softmax attention and the 12 groups in the paper's order. ceiling: of a fixed decay."""
    found = [softmax(), *(judged(group, ceiling) for group in GROUPS)]
    return fewest(found)


def fewest(found: Sequence[Verdict]) -> list[Verdict]:
    """C3: C0 to C2 are met, and by no combination with fewer groups of parameters."""
    passing = [v.parameters for v in found if all(v.met[:3]) and v.parameters is not None]
    least = min(passing, default=None)
    return [
        replace(v, met=(*v.met[:3], minimal(v.met, v.parameters, least)))
        if v.parameters is not None
        else v
        for v in found
    ]


def minimal(met: Sequence[bool | None], parameters: int | None, least: int | None) -> bool | None:
    """C3 of one line, given the fewest groups that any passing line has."""
    if all(met[:3]):
        return parameters == least
    return False if False in met[:3] else None


def judged(group: Group, ceiling: float) -> Verdict:
    """C0 to C2 of one group; C3 needs them all."""
    floats = state_floats(16), state_floats(32)
    e2, how = least_error(group)
    lower, below = evaluated(lower_bounds(group, ceiling))
    upper, above = evaluated(upper_bounds(group, ceiling), least=True)
    met = (floats[0] == floats[1], e2 < EXACT, decided(lower, upper), None)
    by = (how, below, above)
    return Verdict(group.name, met, group.parameters, floats, e2, lower or (), upper, by)


def softmax() -> Verdict:
    """The baseline: a cache of keys and values, and weights that any row can be the softmax of."""
    d_k = overwrite.D_K
    e2 = overwrite.softmax(50.0)
    zero = (0.0,) * len(LENGTHS)
    upper = tuple(max(map(softmax_error, targets(n).values())) for n in LENGTHS)
    met = (False, e2 < EXACT, decided(zero, upper), None)
    by = ("logits of 50", "", "logits of 50")
    return Verdict("softmax", met, None, (16 * 2 * d_k, 32 * 2 * d_k), e2, zero, upper, by)


def softmax_error(P: Tensor) -> float:
    """Keys e_s, queries log P_t where that is above -50."""
    logits = P.clamp(min=1e-300).log().clamp(min=-50.0)
    logits = logits.masked_fill(torch.ones_like(P).triu(1) > 0, -torch.inf)
    return (logits.softmax(1) - P).abs().max().item()


def state_floats(n: int, d_k: int = overwrite.D_K) -> int:
    """Floats of S after n tokens of the recurrence, d_v = d_k."""
    S = torch.zeros(d_k, d_k)
    for _ in range(n):
        S = 0.5 * S + torch.ones(d_k, 1) * torch.ones(1, d_k)
    return S.numel()


def least_error(group: Group) -> tuple[float, str]:
    """e2 with d_k = 16 and what reaches it. A dynamic decay is carried out, not looked up."""
    d_k = overwrite.D_K
    if group.decay == "dynamic":
        e2 = 0.0
        for r in range(d_k):
            key = torch.eye(d_k)[r]  # with alpha = 1 - e_r, k = 1 - alpha is the free optimum too
            e2 = max(e2, overwrite.overwrite_error(1 - key, key, r))
        return e2, "alpha = 1 - e_r, k = " + ("e_r" if group.key else "1 - alpha")
    key = 0.0 if group.key else overwrite.static_key(d_k)
    if group.decay == "fixed":
        return overwrite.one_value(d_k) + key, "alpha = 1 - 1/d_k"
    return overwrite.no_decay(d_k) + key, "alpha = 1"


def lower_bounds(group: Group, ceiling: float) -> dict[str, Bound]:
    """The bounds that hold for the group, |q|, |k| <= 1 for L1 and k >= 0 for L2."""
    found: dict[str, Bound] = {}
    if group.decay == "fixed":
        found[f"L1({ceiling:g})"] = lambda P: bounds.fixed_decay(P, ceiling)
    if not group.query:
        found["L2"] = bounds.no_query
    if group.decay == "none" and not group.key:
        found["L4"] = bounds.only_query
    if group.decay == "none" and not group.query:
        found["L5"] = bounds.only_key
    if not group.query and not group.key and group.decay != "dynamic":
        found["L6"] = bounds.toeplitz
    return found


def upper_bounds(group: Group, ceiling: float) -> dict[str, Bound]:
    """Constructions whose q and k have lengths that do not grow with n."""
    found: dict[str, Bound] = {}
    if group.query and group.key and group.decay != "dynamic":
        alpha = 1.0 if group.decay == "none" else ceiling
        found["U1"] = lambda P: constructions.slots_without_decay(P, alpha).error(P)
    if group.query and group.decay == "dynamic":
        found["U2"] = lambda P: constructions.slots(P).error(P)
        if group.key:
            found["U5"] = lambda P: constructions.free_scalars(P, some_alpha(len(P))).error(P)
    return found


def some_alpha(n: int) -> Tensor:
    """Decays whose product over n tokens is 1/2, none of them equal."""
    share = torch.arange(1, n + 1, dtype=torch.float64)
    return 0.5 ** (share / share.sum())


def evaluated(
    found: dict[str, Bound], *, least: bool = False
) -> tuple[tuple[float, ...] | None, str]:
    """The strongest bound at each length, over the target set; the name of the longest length's.

    Lower bounds: the largest over bounds and targets. Upper: the least over constructions of the
    largest over targets, None without a construction. A map of n tokens contains maps of fewer, so
    no value is below that of a shorter length.
    """
    if not found:
        return (None, "") if least else ((0.0,) * len(LENGTHS), "")
    choose, strongest = min if least else max, (0.0, "")
    values: list[float] = []
    for n in LENGTHS:
        here = [(max(map(bound, targets(n).values())), name) for name, bound in found.items()]
        strongest = max(strongest, choose(here))
        values.append(strongest[0])
    return tuple(values), strongest[1]


def evaluated_on(
    P: Tensor, found: dict[str, Bound], choose: Callable[[list[float]], float]
) -> float | None:
    """The strongest of some bounds for one map, None without any."""
    return choose([bound(P) for bound in found.values()]) if found else None


def decided(lower: Sequence[float] | None, upper: Sequence[float] | None) -> bool | None:
    """C2 from its interval at each length; asserts that no lower bound is above an upper one."""
    lower = lower or (0.0,) * len(LENGTHS)
    if upper is not None:
        for below, above in zip(lower, upper):
            assert below <= above + 1e-12, f"a lower bound {below} above an upper bound {above}"
        if max(upper) < EXACT:
            return True
    return False if lower[-1] > FAR else None
