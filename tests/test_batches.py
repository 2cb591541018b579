"""What a run trains, validates and tests on: splits, order, mixtures, the plateau of guessing."""

from typing import Any

import pytest
import torch

from runners import mqar, run
from runners.config import Mqar
from tasks.mqar import MIXTURES, Mixture, Setting

TINY: dict[str, Any] = {
    "model": "attention",
    "vocabulary": 32,
    "length": 16,
    "pairs": 2,
    "d_model": 16,
    "batch": 16,
    "train_rows": 64,
    "valid_rows": 40,
    "test_rows": 50,
}


def tiny(**fields: Any) -> Mqar:
    return Mqar(**{**TINY, **fields})


def test_the_three_sets_share_no_row():
    sets = mqar.splits(tiny(vocabulary=8192))
    rows = [
        {tuple(row) for row in part[0].data.inputs.tolist()}
        for part in (sets.train, sets.valid, sets.test)
    ]
    assert [len(part) for part in rows] == [64, 40, 50]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]


def test_without_shuffle_every_epoch_has_the_rows_in_their_order():
    of = tiny(shuffle=False, batch=24)
    sets = mqar.splits(of)
    made = [batch[0] for batch, _ in zip(mqar.batches(of, sets.train), range(6))]
    assert [len(batch) for batch in made] == [24, 24, 16] * 2
    assert torch.equal(torch.cat(made[:3]), sets.train[0].data.inputs.long())
    assert torch.equal(torch.cat(made[:3]), torch.cat(made[3:]))


def test_shuffled_epochs_hold_every_row_once_in_an_order_of_the_data_seed():
    def epochs(**fields):
        of = tiny(batch=64, **fields)
        data = mqar.splits(tiny()).train
        return [batch[0] for batch, _ in zip(mqar.batches(of, data), range(2))]

    one, again, other = epochs(), epochs(seed=5), epochs(data_seed=5)
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one[0], other[0])
    assert sorted(one[0].tolist()) == sorted(one[1].tolist())


@pytest.fixture
def small_mixture(monkeypatch):
    short, long = (Setting(length=n, pairs=2, filler="random") for n in (8, 16))
    mixture = Mixture(train=((short, 40), (long, 20)), test=((short, 10), (long, 30)))
    monkeypatch.setitem(MIXTURES, "zoology", mixture)
    return Mqar(model="attention", d_model=8, mixture="zoology", batch=16, updates=2, shuffle=False)


def test_a_mixture_trains_its_segments_in_the_listed_order(small_mixture):
    sets = mqar.splits(small_mixture)
    lengths = [b[0].shape for b, _ in zip(mqar.batches(small_mixture, sets.train), range(6))]
    assert lengths == [(16, 8), (16, 8), (8, 8), (16, 16), (4, 16), (16, 8)]
    assert mqar.epoch_updates(small_mixture, sets.train) == 5


def test_the_score_of_a_mixture_is_the_mean_over_all_rows(small_mixture):
    row = run.run(small_mixture)
    by = row["value_by_setting"]
    assert row["value"] == pytest.approx((10 * by["8/2"] + 30 * by["16/2"]) / 40)


def test_a_guess_that_reads_no_key_stays_on_the_plateau():
    segments = mqar.splits(tiny(vocabulary=64, length=32, pairs=4, valid_rows=3000)).valid
    guess = mqar.blind_guess(segments[0].data, 4)
    assert 0.25 < guess < 0.33
    assert guess + 0.05 < mqar.plateau_ends_at(segments) < 0.42
