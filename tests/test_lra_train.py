"""Long Range Arena in training: order of rows, batches, parts of a batch, rates, scores."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import tasks.lra
import zoo
from runners import lra
from runners.device_step import DeviceStep
from runners.graph_step import GraphStep
from runners.lra_config import build
from runners.parts import Parts
from runners.step import Alone, HostStep
from runners.train import learning_rate, make_optimiser
from tests import lra_tiny
from tests.captures import Again
from tests.lra_tiny import config
from tests.test_step import Unread

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def datasets(monkeypatch):
    monkeypatch.setattr(tasks.lra, "DATASETS", dict(tasks.lra.DATASETS))


def first(of, data, count):
    return list(itertools.islice(lra.batches(of, data), count))


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_epoch_shows_every_row_once_and_leaves_out_the_last_few(tmp_path):
    train = lra_tiny.made("text", tmp_path, train=50).train
    plans = [lra.plan(config("text"), train, epoch) for epoch in (0, 1)]
    assert [len(set(plan.flat)) for plan in plans] == [48, 48]
    assert set(plans[0].flat) != set(plans[1].flat)
    assert plans[0].shape == (config("text").epoch_updates, 4) == (12, 4)


def padding(of, train):
    widths = train.lengths.max(axis=1)[lra.plan(of, train, 0)]
    return (widths.max(axis=1, keepdims=True) - widths).sum()


@pytest.mark.parametrize("name", ["text", "retrieval"])
def test_bucketing_saves_most_of_the_padding(name, tmp_path):
    train = lra_tiny.made(name, tmp_path, train=400, longest=500).train
    assert padding(config(name), train) < 0.2 * padding(config(name, bucket=False), train)


def test_bucketing_sorts_stretches_apart_and_mixes_all_batches_anew_in_each_epoch(tmp_path):
    train, of = lra_tiny.made("text", tmp_path, train=1000).train, config("text")
    stretches = []
    for epoch in (0, 1):
        batches = lra.plan(of, train, epoch)
        places = np.argsort(lra.order(of, epoch))[batches] // (lra.STRETCH * of.batch)
        assert (places == places[:, :1]).all()
        stretches.append(places[:, 0])
        assert not np.array_equal(places[:, 0], np.sort(places[:, 0]))
    assert not np.array_equal(*stretches)


def test_the_order_of_rows_is_that_of_the_data_seed_alone(tmp_path):
    data = lra_tiny.made("text", tmp_path, train=50)
    one, other = config("text", seed=1, lr=0.5), config("text", "attention", d_model=16)
    assert all(map(equal, first(one, data, 30), first(other, data, 30)))
    assert not all(map(equal, first(one, data, 3), first(config("text", data_seed=1), data, 3)))


def test_without_shuffle_rows_come_as_they_are(tmp_path):
    train = lra_tiny.made("text", tmp_path).train
    assert lra.plan(config("text", shuffle=False), train, 3).flatten().tolist() == [*range(12)]


@pytest.mark.parametrize("done", [1, 11, 12, 31])
def test_batches_begin_anywhere(done, tmp_path):
    data, of = lra_tiny.made("text", tmp_path, train=50), config("text")
    later = next(lra.batches(of, data, done=done))
    assert equal(first(of, data, done + 1)[done], later)


def test_a_cache_of_other_rows_is_refused(tmp_path):
    data, of = lra_tiny.made("text", tmp_path), config("text")
    lra_tiny.dataset("text", train=13)
    with pytest.raises(ValueError, match=r"has 12 training rows, not 13; type: lazoo data lra"):
        next(lra.batches(of, data))


def test_pixels_are_read_as_normalised_numbers_or_as_tokens(tmp_path):
    rows = lra_tiny.made("image", tmp_path, length=16).train
    values, labels = lra.batch(config("image"), rows, np.arange(3))
    tokens, _ = lra.batch(config("image", inputs="tokens"), rows, np.arange(3))
    assert (tokens.dtype, values.dtype, len(labels)) == (torch.int64, torch.float32, 3)
    assert torch.allclose(values, (tokens - 122.6) / 61.0, atol=1e-6)


@pytest.mark.parametrize("name", ["text", "retrieval"])
@pytest.mark.parametrize("model", ["attention", "metala", "mamba2"])
def test_the_width_of_a_batch_changes_no_loss(name, model, tmp_path):
    rows = lra_tiny.made(name, tmp_path).train
    of = config(name, model, norm="batch", d_model=16)
    net = build(of).double()
    losses = [
        lra.loss(net, lra.batch(of, rows, np.arange(4), multiple=m)).item() for m in (1, 16, 256)
    ]
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-6)


@pytest.mark.parametrize("most", [1, 100, 10**6])
def test_a_score_counts_every_row_once_whatever_the_batches(most, tmp_path, monkeypatch):
    rows = lra_tiny.made("retrieval", tmp_path, test=23).test
    chosen = list(lra.by_length(rows, most))
    assert sorted(itertools.chain(*chosen)) == [*range(23)]
    for some in chosen:
        assert len(some) == 1 or len(some) * rows.lengths[some].max() * 2 <= most
    monkeypatch.setattr(lra, "logits", lambda model, batch: torch.eye(2)[batch[-1]])
    assert lra.score(torch.nn.Identity(), config("retrieval"), rows) == 1.0


def test_a_validation_batch_has_no_more_tokens_than_a_part_of_a_training_batch(
    tmp_path, monkeypatch
):
    rows, asked = lra_tiny.made("retrieval", tmp_path).test, []
    monkeypatch.setattr(lra, "by_length", lambda rows, most: asked.append(most) or ())
    for parts in (1, 3, 64):
        lra.score(torch.nn.Identity(), config("retrieval", batch=12), rows, parts=parts)
    assert asked == [12 * 4000 * 2, 4 * 4000 * 2, lra.TOKENS_AT_ONCE]


def grown(kind, of, data, lacking=(), **options):
    """A step that made of.updates updates. lacking: calls of the loss that run out of memory."""
    torch.manual_seed(of.seed)
    model, calls = build(of).double(), itertools.count(1)

    def loss(model, batch):
        if next(calls) in lacking:
            torch.rand(3)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        batch = tuple(x.double() if x.is_floating_point() else x for x in batch)
        return lra.loss(model, batch).double()

    if kind is HostStep:
        step = HostStep(model, of, loss)
    else:
        step = kind(Alone(model, loss), [of], device=CPU, **options)
    for update, batch in enumerate(first(of, data, of.updates), 1):
        step(batch, update)
    return model, step


def graphs(kind):
    return {"graphs": Again()} if kind is GraphStep else {}


STEPS = pytest.mark.parametrize("kind", [HostStep, DeviceStep, GraphStep])


@STEPS
def test_gradients_of_parts_are_those_of_the_whole_batch(kind, tmp_path):
    data = lra_tiny.made("retrieval", tmp_path, train=20)
    fields: dict[str, Any] = {"batch": 5, "updates": 6, "clip": 0.1}
    whole, _ = grown(HostStep, config("retrieval", **fields), data)
    of = config("retrieval", **fields, accumulate=3)
    model, _ = grown(kind, of, data, **graphs(kind))
    for a, b in zip(whole.parameters(), model.parameters(), strict=True):
        assert (a - b).abs().max() <= 1e-6 * a.abs().max()


@STEPS
def test_where_memory_lacks_a_batch_is_split_and_nothing_else_changes(kind, tmp_path):
    data = lra_tiny.made("image", tmp_path, train=40, length=16)
    fields: dict[str, Any] = {"batch": 8, "updates": 6, "dropout": 0.3}
    split, step = grown(kind, config("image", **fields), data, {1, 3}, **graphs(kind))
    assert step.parts.number == 4
    expected, _ = grown(HostStep, config("image", **fields, accumulate=4), data)
    assert equal(split.parameters(), expected.parameters())


def test_a_row_that_does_not_fit_alone_is_a_lack_of_memory(tmp_path):
    data = lra_tiny.made("image", tmp_path, length=16)
    with pytest.raises(torch.OutOfMemoryError):
        grown(HostStep, config("image", batch=3), data, range(99))


@pytest.mark.parametrize(
    "fields",
    [{"norm": "batch"}, {"norm": "batch", "accumulate": 2}, {"norm": "own", "model": "s5"}],
)
def test_batch_norm_is_split_only_as_asked(fields, tmp_path):
    data = lra_tiny.made("image", tmp_path, length=16)
    with pytest.raises(torch.OutOfMemoryError):
        grown(HostStep, config("image", **fields), data, {1})


def test_in_a_capture_nothing_is_repeated_and_no_generator_is_read(monkeypatch):
    def full(part):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("runners.parts.capturing", lambda device: True)
    monkeypatch.setattr("runners.parts.generators", lambda device: 1 / 0)
    with pytest.raises(torch.OutOfMemoryError):
        Parts(grows=True).gradients((torch.ones(4),), full, lambda value, add: None)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def fail(part):
        raise RuntimeError("a shape is wrong")

    with pytest.raises(RuntimeError, match="a shape"):
        Parts(grows=True).gradients((torch.ones(4),), fail, lambda value, add: None)


@STEPS
def test_steps_make_the_same_numbers_with_every_field_of_the_task(kind, tmp_path):
    data = lra_tiny.made("text", tmp_path, train=40)
    fields: dict[str, Any] = {"state_lr": 1e-4, "beta2": 0.98, "schedule": "rsqrt", "warmup": 9}
    of = config("text", "mamba2", **fields, updates=8, accumulate=2, dropout=0.2)
    ours, step = grown(kind, of, data, **graphs(kind))
    theirs, host = grown(HostStep, of, data)
    assert equal(ours.parameters(), theirs.parameters())
    assert step.look() == host.look()


@pytest.mark.parametrize("model", zoo.names())
def test_no_model_reads_a_value_in_its_update(model, tmp_path):
    data = lra_tiny.made("text", tmp_path)
    of = config("text", model, d_model=16, norm="batch", clip=1.0, accumulate=2)
    step = DeviceStep(Alone(build(of), lra.loss), [of], device=CPU)
    (batch,) = first(of, data, 1)
    with Unread():
        step(batch, 1)


def test_rsqrt_is_the_published_schedule_counted_from_one():
    of = config("text", updates=40, warmup=9, lr=0.05, schedule="rsqrt")
    rates = [learning_rate(of, done, 12) for done in range(40)]
    assert rates[0] == pytest.approx(0.05 * (1 / 9) / math.sqrt(9))
    assert rates[8] == pytest.approx(0.05 / 3)
    assert rates[35] == pytest.approx(0.05 / 6)
    none = config("text", updates=40, lr=0.05, schedule="rsqrt")
    assert learning_rate(none, 3, 12) == pytest.approx(0.025)


@pytest.mark.parametrize("schedule", ["cosine", "cosine-epoch"])
def test_a_cosine_never_rises_again(schedule):
    of = config("text", updates=36, schedule=schedule)
    rates = [learning_rate(of, done, 12) for done in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert rates[36:] == pytest.approx([0.0] * 64, abs=1e-12)


def test_what_maps_list_has_a_rate_of_its_own():
    of = config("text", "s4d", lr=0.01, state_lr=0.002, beta2=0.98, norm="batch")
    model = build(of)
    groups = make_optimiser(model, of).param_groups
    listed, names = groups[-1], {p: name for name, p in model.named_parameters()}
    matrix = {f"blocks.0.mixer.f_alpha.{name}" for name in ("log_dt", "log_A_real", "A_imag")}
    assert {names[p] for p in listed["params"]} == matrix
    assert sorted(names[p] for group in groups for p in group["params"]) == sorted(names.values())
    assert (listed["lr_factor"], listed["weight_decay"]) == (pytest.approx(0.2), 0.0)
    assert listed["betas"] == (0.9, 0.98)


def test_the_state_rate_follows_the_schedule(tmp_path):
    data = lra_tiny.made("text", tmp_path)
    of = config("text", "mamba2", lr=0.01, state_lr=0.002, updates=4, schedule="constant")
    for warmup, expected in ((0, 0.002), (3, 0.002 / 3)):
        step = grown(HostStep, of.model_copy(update={"warmup": warmup, "updates": 1}), data)[1]
        assert step.optimisers[0].param_groups[-1]["lr"] == pytest.approx(expected)
