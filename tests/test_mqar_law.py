"""The associative recall data follows the published law, held against definitions and a slow loop.

Seeds are fixed, so a test that passes keeps passing; the bounds say how rarely another seed fails.
"""

import itertools
import math

import numpy as np
import pytest
import torch

from tasks.mqar import BLOCK, Data, Setting, generate

SMALL = Setting(vocabulary=64, length=32, pairs=4)


def columns(data: Data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, values and query slots, rows pairs each, in the order of the pairs."""
    tokens, positions, targets = (x.numpy() for x in data.batch(slice(None)))
    pairs = positions.shape[1]
    keys, values = tokens[:, 0 : 2 * pairs : 2], tokens[:, 1 : 2 * pairs : 2]
    slots = np.empty_like(positions)
    # Values are distinct, so equal ranks among values and among targets are the same pair.
    ranked = np.take_along_axis(positions, np.argsort(targets, axis=1), axis=1)
    np.put_along_axis(slots, np.argsort(values, axis=1), (ranked - 2 * pairs) // 2, axis=1)
    return keys, values, slots


def chi_square_z(observed: np.ndarray, expected: np.ndarray) -> float:
    """Pearson's statistic as a standard normal deviate (Wilson and Hilferty 1931).

    The bound used below, 5, is exceeded by chance once in 3.5 million tests.
    """
    assert observed.shape == expected.shape
    assert expected.min() > 5
    freedom = observed.size - 1
    ratio = ((observed - expected) ** 2 / expected).sum() / freedom
    return (ratio ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


def successive(slots: int, pairs: int, power: float) -> np.ndarray:
    """Probability of every ordered choice of `pairs` slots, by the definition: slots ... slots."""
    weight = [i ** (power - 1) for i in range(1, slots + 1)]
    law = np.zeros([slots] * pairs)
    for choice in itertools.permutations(range(slots), pairs):
        left = sum(weight)
        law[choice] = 1.0
        for slot in choice:
            law[choice] *= weight[slot] / left
            left -= weight[slot]
    return law


@pytest.mark.parametrize("power", [0.0, 0.01, 1.0, 2.0])
def test_slots_follow_successive_sampling_over_all_ordered_choices(power):
    setting = Setting(vocabulary=64, length=20, pairs=3, power=power)
    rows = 100 * BLOCK
    slots = columns(generate(setting, rows, seed=1))[2]
    law = successive(7, 3, power)
    seen = np.bincount(np.ravel_multi_index(slots.T, law.shape), minlength=law.size)
    possible = law.ravel() > 0
    assert seen[~possible].sum() == 0
    assert chi_square_z(seen[possible], rows * law.ravel()[possible]) < 5


def test_slots_of_each_pair_agree_with_a_slow_sampler():
    rows, space = 20_000, 28
    weight = np.arange(1, space + 1) ** (0.01 - 1)
    stream = np.random.default_rng(7)
    slow = np.array([stream.choice(space, 4, False, weight / weight.sum()) for _ in range(rows)])
    ours = columns(generate(Setting(length=64, pairs=4), rows, seed=2))[2]
    for pair in range(4):
        counts = [np.bincount(x[:, pair], minlength=space) for x in (slow, ours)]
        # For two samples of one size it is (a - b)^2 / (a + b) that is Pearson's statistic.
        assert chi_square_z(2 * counts[0], counts[0] + counts[1]) < 5


def test_earlier_pairs_are_asked_sooner():
    rows = 50_000
    slots = columns(generate(Setting(length=64, pairs=4), rows, seed=3))[2]
    # Tokens from the end of the pairs: exact means over all ordered choices of 4 among 28 slots.
    # No pair's standard deviation is above 15.2.
    exact = np.array([12.405, 13.664, 14.920, 16.156])
    assert np.abs(2 * slots.mean(axis=0) - exact).max() < 5 * 15.2 / math.sqrt(rows)


@pytest.mark.parametrize("pair", [(0, 1), (0, 3), (2, 3)])
def test_pairs_of_keys_and_of_values_are_uniform(pair):
    rows = 50 * BLOCK
    keys, values, _ = columns(generate(SMALL, rows, seed=4))
    for part, first, count in ((keys, 1, 31), (values, 32, 32)):
        i, j = (part[:, column] - first for column in pair)
        seen = np.bincount(i * count + j, minlength=count**2).reshape(count, count)
        assert np.diagonal(seen).sum() == 0
        seen = seen[~np.eye(count, dtype=bool)]
        assert chi_square_z(seen, np.full(seen.size, rows / seen.size)) < 5


def test_a_key_its_value_and_its_slot_are_independent():
    rows = 50 * BLOCK
    keys, values, slots = columns(generate(SMALL.model_copy(update={"power": 1.0}), rows, seed=5))
    for part, first, count in ((keys, 1, 31), (values, 32, 32)):
        seen = np.bincount((part[:, 1] - first) * 12 + slots[:, 1], minlength=count * 12)
        assert chi_square_z(seen, np.full(seen.size, rows / seen.size)) < 5


def test_random_filler_is_uniform_over_the_whole_vocabulary_at_every_place():
    rows = 50 * BLOCK
    data = generate(SMALL.model_copy(update={"filler": "random"}), rows, seed=6)
    tokens, positions, _ = data.batch(slice(None))
    asked = torch.zeros_like(tokens, dtype=torch.bool).scatter(1, positions, True)
    for place in (8, 9, 30, 31):
        seen = torch.bincount(tokens[~asked[:, place], place], minlength=64).numpy()
        assert chi_square_z(seen, np.full(64, seen.sum() / 64)) < 5


def test_zeros_filler_leaves_only_zeros_between_the_queries():
    tokens, positions, _ = generate(SMALL, 2000, seed=7).batch(slice(None))
    rest = tokens[:, 8:].scatter(1, positions - 8, 0)
    assert (rest == 0).all()
