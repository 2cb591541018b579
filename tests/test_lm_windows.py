"""Windows of a language model: which, in which order, and what predicting them costs."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from runners import lm
from runners.grids import changed
from runners.lm_config import build
from runners.team import Alone
from tasks.lm.data import Data
from tasks.lm.tokenisers import BYTES
from tasks.lm.tokens import Tokens
from tests import lm_tiny


def tokens(count: int, vocabulary: int = 256, seed: int = 0) -> Tokens:
    ids = np.random.default_rng(seed).integers(vocabulary, size=count).astype(np.uint16)
    return Tokens(ids, np.zeros(1, np.int64), count, 1, 1)


def corpus(count: int) -> Data:
    """Only a training split is read."""
    split, none = tokens(count), tokens(0)
    return Data("made up", BYTES, split, none, none, {}, "", Path(), {})


@pytest.fixture
def run(tmp_path):
    return lm_tiny.config(tmp_path, seq_len=8, batch=3)


def test_every_token_but_the_first_is_a_target_once(run):
    ids = np.arange(8 * 5 + 1, dtype=np.uint16)
    split = Tokens(ids, np.zeros(1, np.int64), 1, 1, 1)
    assert lm.windows(run, split) == 5
    inputs, targets = lm.batch(run, split, np.arange(5), torch.device("cpu"))
    assert torch.equal(targets.flatten(), torch.arange(1, 41))
    assert torch.equal(inputs.flatten() + 1, targets.flatten())


def test_what_fills_no_window_is_left_out(run):
    assert [lm.windows(run, tokens(n)) for n in (8, 9, 16, 17)] == [0, 1, 1, 2]


def test_an_epoch_has_every_window_once_and_the_next_another_order(run):
    orders = lm.Orders(run, 9)
    epochs = np.concatenate([orders.windows(update) for update in range(6)]).reshape(2, 9)
    assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(9))] * 2
    assert epochs[0].tolist() != epochs[1].tolist()


def test_epochs_follow_each_other_within_a_batch(run):
    orders = lm.Orders(run, 7)
    seen = np.concatenate([orders.windows(update) for update in range(7)]).reshape(3, 7)
    assert [sorted(epoch) for epoch in seen.tolist()] == [list(range(7))] * 3


def test_a_batch_may_be_larger_than_an_epoch(run):
    found = np.concatenate([lm.Orders(changed(run, batch=7), 3).windows(u) for u in range(3)])
    assert np.bincount(found).tolist() == [7, 7, 7]


def test_the_order_is_that_of_the_data_seed_alone(run):
    def windows(**fields):
        return lm.Orders(changed(run, **fields), 50).windows(0).tolist()

    assert windows() == windows(seed=5, model="mamba", lr=0.1, d_model=32)
    assert windows() != windows(data_seed=1)
    assert windows(shuffle=False) == [0, 1, 2]


@pytest.mark.parametrize("done", [1, 4, 11])
def test_batches_begin_anywhere(run, done):
    data = corpus(8 * 10 + 1)
    whole = lm.batches(run, data)
    for _ in range(done):
        next(whole)
    late = lm.batches(run, data, done=done)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(next(whole), next(late), strict=True))


class Half(Alone):
    """Every second row, as one of two processes."""

    def __init__(self, rank):
        self.rank = rank

    def share(self, rows):
        return rows[self.rank :: 2]

    def share_unequal(self, rows):
        return self.share(rows)


def test_processes_share_the_batch_of_one(run):
    run, data = changed(run, batch=4), corpus(8 * 10 + 1)
    (whole, _) = next(lm.batches(run, data))
    parts = [next(lm.batches(run, data, team=Half(rank)))[0] for rank in range(2)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


def test_the_loss_is_the_mean_cross_entropy_of_the_next_token(run):
    model, (inputs, targets) = build(run), next(lm.batches(run, corpus(200)))
    logits, _ = model(inputs)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(lm.loss(model, (inputs, targets)), expected)


def test_a_score_is_bits_per_byte_of_what_stands_for_bytes(run, monkeypatch):
    monkeypatch.setattr(lm, "TOKENS_AT_ONCE", 16)  # two rows at a time
    split, model = tokens(8 * 5 + 1, 257), build(run).eval()
    split.ids[::7] = 256
    sizes = np.arange(257) % 4 + 1
    sizes[256] = 0
    found = lm.score(model, run, split, sizes, 0)
    inputs, targets = lm.batch(run, split, np.arange(5), torch.device("cpu"))
    nats = F.cross_entropy(model(inputs)[0].mT, targets, reduction="none")
    real = targets != 256
    size = torch.tensor(sizes)[targets]
    assert found.tokens.sum() == real.sum() < targets.numel()
    assert found.bytes.sum() == size.sum()
    bits = nats[real].sum().item() / math.log(2) / size.sum().item()
    assert found.bits_per_byte == pytest.approx(bits, rel=1e-6)
    assert found.nats_per_token == pytest.approx(nats[real].mean().item(), rel=1e-6)
    by_position = (nats * real).sum(0).detach()
    torch.testing.assert_close(found.nats.float(), by_position)


def test_scores_of_shares_add_up(run):
    split, model, sizes = tokens(8 * 5 + 1), build(run).eval(), np.ones(257, np.int64)
    whole = lm.score(model, run, split, sizes, 0)
    parts = [lm.score(model, run, split, sizes, 0, team=Half(rank)) for rank in range(2)]
    torch.testing.assert_close(parts[0].nats + parts[1].nats, whole.nats)
    assert (parts[0].tokens + parts[1].tokens).tolist() == whole.tokens.tolist()


@pytest.mark.parametrize(("count", "wanted"), [(10, 0), (10, 10), (10, 99), (10, 4), (1000, 7)])
def test_chosen_windows_are_spread_over_the_split(count, wanted):
    found = lm.chosen(count, wanted)
    assert len(found) == len(set(found.tolist())) == min(wanted or count, count)
    gaps = np.diff([*found, count])
    assert gaps.max() - gaps.min() <= 1


def test_positions_are_in_spans_that_double():
    bytes_ = torch.full((6,), 2.0, dtype=torch.float64)
    nats = torch.tensor([8, 6, 4, 4, 2, 2], dtype=torch.float64) * math.log(2)
    found = lm.by_position(lm.Score(nats, bytes_, bytes_))
    assert found == {"edges": [0, 1, 2, 4, 6], "bits_per_byte": [4.0, 3.0, 2.0, 1.0]}


def test_positions_without_a_byte_have_no_number():
    zeros = torch.zeros(2, dtype=torch.float64)
    assert lm.by_position(lm.Score(zeros, zeros, zeros))["bits_per_byte"] == [None, None]
