"""C0 to C3 as programs: closed forms, bounds around an optimiser, verdicts on groups."""

import functools
import math

import pytest
import torch

from results import conditions_tables
from runners import theory_rows
from zoo.theory import bounds, conditions, constructions, overwrite
from zoo.theory.groups import GROUPS, group
from zoo.theory.linear_map import linear_map
from zoo.theory.optimise import Case, approximate
from zoo.theory.targets import LENGTHS, alternating, sink, softmax, targets

EXACT = 1e-13  # float64: n products of factors of at most order 1
MARKS = {True: "y", False: "n", None: ""}


@functools.cache
def group_rows():
    return theory_rows.groups()


def largest(of, n):
    return max(of(P) for P in targets(n).values())


@pytest.mark.parametrize("n", LENGTHS)
def test_targets_are_causal_rows_that_sum_to_1(n):
    for P in (*targets(n).values(), alternating(n)):
        assert (P >= 0).all()
        assert P.triu(1).abs().max() == 0
        assert (P.sum(1) - 1).abs().max() < EXACT


@pytest.mark.parametrize(
    ("n", "strong", "weak"),
    [
        (4, 0.271, 0.030),
        (8, 0.522, 0.068),
        (16, 0.794, 0.140),
        (32, 0.962, 0.268),
        (64, 0.999, 0.469),
    ],
)
def test_lower_bounds_over_the_target_set_are_the_closed_forms(n, strong, weak):
    """The sink asks for 1 at lag n - 1, so L1 is 1 - ceiling^(n-1). The pointer has a column with 0
    before 1, rows, columns and diagonals with 0 and 1: L2 and L4 to L6 are 1/2."""
    for ceiling, expected in ((0.9, strong), (0.99, weak)):
        found = largest(lambda P, c=ceiling: bounds.fixed_decay(P, c), n)
        assert found == pytest.approx(1 - ceiling ** (n - 1), abs=EXACT)
        assert found == pytest.approx(bounds.fixed_decay_of_sink(n, ceiling), abs=EXACT)
        assert found == pytest.approx(expected, abs=5e-4)
    for bound in (bounds.no_query, bounds.only_query, bounds.only_key, bounds.toeplitz):
        assert largest(bound, n) == pytest.approx(0.5, abs=2e-3)


@pytest.mark.parametrize("n", [4, 64, 128])
def test_constructions_are_exact(n):
    for P in (*targets(n).values(), alternating(n)):
        made = (
            constructions.slots_without_decay(P),
            constructions.slots(P),
            constructions.slots(P, floor=0.6),
            constructions.times(P),
            constructions.shifted_times(P, 3.0),
            constructions.signed_pairs(P),
        )
        assert max(each.error(P) for each in made) < 3e-15 * n


def test_what_stays_bounded_as_n_grows():
    """U2: |k| = 1 - a, |q| <= 1 / (1 - a). U3 gives k_1 = 1 to every row of the sink: sqrt(n). The
    loophole gives +-1 to every pair but the first: sqrt(2 n - 1)."""
    for n in LENGTHS:
        P = sink(n)
        held = constructions.slots(P, floor=0.5)
        assert (held.q_l2, held.k_l2) == pytest.approx((2.0, 0.5))
        assert held.alpha_least == 0.5
        assert constructions.times(P).k_l2 == pytest.approx(math.sqrt(n))
        assert constructions.shifted_times(P, 3.0).alpha_least >= 0.75
        assert constructions.signed_pairs(P).k_l2 == pytest.approx(math.sqrt(2 * n - 1))
    assert bounds.signed_keys(64, 128) == pytest.approx((63 - math.sqrt(128)) / 126)


def test_a_free_scalar_for_each_token_changes_nothing():
    P, n = softmax(16), 16
    for alpha in (0.5 + 0.5 * torch.rand(n, dtype=torch.float64), torch.ones(n).double()):
        for into in ("q", "k"):
            made = constructions.free_scalars(P, alpha, into=into)
            assert made.error(P) < 1e-12 / alpha.prod().item()


@pytest.mark.parametrize(
    ("ceiling", "t", "expected"),
    [
        (0.5, 64, 17),
        (0.9, 64, 1.1),
        (0.9, 2048, 90),
        (1 - 2**-5, 2048, 24.9),
        (1 - 2**-12, 2048, -3.1),
    ],
)
def test_what_a_fixed_decay_asks_of_its_keys(ceiling, t, expected):
    """log10 of 1 / (t ceiling^t), truncated in the first and third case."""
    assert bounds.required_norm_log10(ceiling, t) == pytest.approx(expected, rel=0.05)


def test_the_map_of_an_erasure_is_an_ordered_product():
    """Against (A_t ... A_{s+1}) k_s with A = diag(alpha) - write^T read, written out."""
    q, k, alpha, write, read = torch.rand(5, 6, 4, dtype=torch.float64).unbind(0)
    M = linear_map(q, k, alpha, write=write, read=read)
    for t in range(6):
        for s in range(t + 1):
            product = torch.eye(4, dtype=torch.float64)
            for j in range(s + 1, t + 1):
                A = torch.diag(alpha[j]) - write[j].unsqueeze(1) * read[j]
                product = A @ product
            assert M[t, s].item() == pytest.approx((q[t] @ product @ k[s]).item(), abs=EXACT)


def test_overwrite_errors_are_their_closed_forms():
    """d_k = 16. min over a of a^2 + 15 (1 - a)^2 is at a = 15/16 and is 15/16; Mamba's rates have
    no closed form (least, mean, most over rows)."""
    assert overwrite.no_decay() == 1
    assert overwrite.one_value() == 15 / 16
    grid = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    assert (grid**2 + 15 * (1 - grid) ** 2).min().item() == pytest.approx(15 / 16, abs=1e-8)
    rows = overwrite.tied_rates(torch.arange(1.0, 17.0))
    assert rows.mean().item() == pytest.approx(0.938, abs=5e-4)
    assert rows.min().item() == pytest.approx(0.836, abs=5e-4)
    assert rows.max().item() == pytest.approx(0.999, abs=5e-4)
    assert overwrite.tied_rates(torch.ones(16)).mean().item() == pytest.approx(15 / 16, abs=1e-9)


def test_overwriting_carried_out_costs_what_the_formulas_say():
    e, ones = torch.eye(16, dtype=torch.float64), torch.ones(16, dtype=torch.float64)
    for r in range(16):
        assert overwrite.overwrite_error(ones, e[r], r) == 1
        assert overwrite.overwrite_error(1 - e[r], e[r], r) == 0
        erased = e[r].unsqueeze(1) * e[r]
        assert overwrite.overwrite_error(ones, e[r], r, erase=erased) == 0
        half = overwrite.overwrite_error(ones, 0.5 * e[r], r, erase=0.5 * erased)
        assert half == overwrite.delta_rule(0.5)
        tied = overwrite.overwrite_error(0.1 + 0.8 * (1 - e[r]), 0.9 * e[r] + 0.1 * (1 - e[r]), r)
        expected = 2 * 0.1**2 + 15 * 2 * 0.1**2
        assert tied == pytest.approx(expected)
    for key in (overwrite.tied, overwrite.griffin):
        assert overwrite.per_channel(0.0, 1.0, 16, key) == 0


@pytest.mark.parametrize(
    ("Z", "tau", "expected"),
    [(5, 1, 1.4e-3), (10, 1, 6.6e-8), (5, 16, 1.07), (10, 16, 0.573), (50, 16, 3.9e-3)],
)
def test_a_bounded_gate_forgets_as_far_as_its_logit_reaches(Z, tau, expected):
    """2 alpha_min^2 + 30 (1 - alpha_max)^2 with alpha = sigmoid(+-Z)^(1/tau)."""
    least, most = ((1 / (1 + math.exp(-z))) ** (1 / tau) for z in (-Z, Z))
    found = overwrite.bounded_logit(Z, tau=tau)
    assert found == pytest.approx(2 * least**2 + 30 * (1 - most) ** 2, rel=1e-6)
    assert found == pytest.approx(expected, rel=0.025)
    assert overwrite.bounded_logit(60, floor=0.3) == pytest.approx(2 * 0.3**2)
    assert abs(overwrite.RWKV7_LEAST - 0.545) < 5e-4


def test_the_optimiser_lands_between_the_bounds():
    """A random map of 6 tokens; bounds L2 .322, L4 .483, L5 .4995 are nearly reached."""
    found = {row["name"]: row for row in group_rows() if "optimised" in row}
    assert set(found) == {each.name for each in GROUPS}
    assert all(row["agrees"] for row in found.values())
    for name, bound in {"K,Lt": 0.3218, "Lt": 0.3218, "Q": 0.4828, "K": 0.4995}.items():
        assert found[name]["optimised_lower"] == pytest.approx(bound, abs=1e-4)
        assert found[name]["optimised"] == pytest.approx(bound, abs=2e-3)


def test_one_channel_without_a_query_is_bounded_tightly():
    """With a denominator M_ts = d_t x_s, which is a query and a key of one channel each."""
    P = softmax(6, seed=1)
    (found,) = approximate(P, [Case(group("Q,K"), 1, C=100.0)], steps=1500, restarts=4)
    assert bounds.one_channel(P) == pytest.approx(0.3378, abs=1e-4)
    assert 0 <= found - bounds.one_channel(P) < 1e-3
    assert bounds.one_channel(P, before=True) <= bounds.one_channel(P)


def test_a_gated_time_invariant_map_keeps_its_bound():
    """Any g_t T_(t-s) k_s has bound 0, and no such map comes nearer to P than P's bound."""
    g, k, T = torch.rand(3, 10, dtype=torch.float64).unbind(0)
    t = torch.arange(10)
    M = (g.unsqueeze(1) * T[(t.unsqueeze(1) - t).clamp(min=0)] * k).tril()
    assert bounds.scaled_toeplitz(M) < 1e-9
    P = softmax(10)
    assert bounds.scaled_toeplitz(P) <= (M - P).abs().max().item()


def test_few_channels_cannot_pass_their_bound():
    rows = theory_rows.capacities()
    assert {row["name"] for row in rows} == {"Q,K", "Q,Lt", "Q,K,Lt"}
    for row in rows:
        assert all(low <= high + 1e-9 for low, high in zip(row["lower"], row["error"]))
        assert row["error"] == sorted(row["error"], reverse=True) or row["error"][-1] < 0.01
        assert row["error"][0] > 0.3
        assert row["error"][-1] < 0.02


def test_the_verdicts_on_all_groups_are_the_papers():
    assert [row["name"] for row in group_rows()] == ["softmax", *(each.name for each in GROUPS)]
    for row in group_rows():
        theirs = conditions_tables.paper_group(row["name"])
        ours = {name: MARKS[row[name]] for name in conditions_tables.CONDITIONS}
        assert not theirs or ours == {name: theirs[name] for name in ours}
    assert sum(bool(conditions_tables.paper_group(each.name)) for each in GROUPS) == 11


def test_a_decay_that_may_be_1_changes_the_verdict_of_a_fixed_one():
    """The check can fail: with alpha = 1 allowed, (Q,K,L) contains (Q,K) and meets C2."""
    found = {v.name: v for v in conditions.verdicts(ceiling=1.0)}
    assert found["Q,K,L"].met == (True, False, True, False)
    assert found["Q,L"].met[2] is None
    assert {v.name: v for v in conditions.verdicts()}["Q,K,L"].met == (True, False, False, False)


def test_bounds_that_contradict_each_other_are_refused():
    with pytest.raises(AssertionError, match="above an upper bound"):
        conditions.decided((0.5,) * 5, (0.1,) * 5)


def test_c3_asks_for_the_fewest_groups_that_pass():
    found = conditions.verdicts()
    assert [v.name for v in found if all(v.met[:3])] == ["Q,K,Lt", "Q,Lt"]
    assert [v.name for v in found if v.met[3]] == ["Q,Lt"]
    without = conditions.fewest([v for v in found if v.name != "Q,Lt"])
    assert [v.name for v in without if v.met[3]] == ["Q,K,Lt"]
