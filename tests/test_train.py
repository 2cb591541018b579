"""Training: loss on labels only, schedules, clipping, divergence, early stop."""

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runners import mqar
from runners.clock import Clock
from runners.config import Mqar, build
from runners.device_step import DeviceStep
from runners.loop import Outcome, train
from runners.step import Alone, HostStep
from runners.train import Loss, learning_rate, make_optimiser, step

SMALL: dict[str, Any] = {"vocabulary": 64, "length": 32, "pairs": 4, "d_model": 16, "batch": 8}


def config(**fields: Any) -> Mqar:
    return Mqar(**{"model": "attention", "updates": 12, "evaluate_every": 4, **SMALL, **fields})


def trained(model: nn.Module, of: Mqar, loss: Loss, metrics, host: bool = True) -> Outcome:
    """Trains on batches of ones; a step on the device is looked at every 3 updates."""
    if host:
        how = HostStep(model, of, loss)
    else:
        how = DeviceStep(Alone(model, loss), [of], device=torch.device("cpu"))
        how.patience, how.warm_up = 3, 0
    batches = itertools.repeat((torch.ones(4, 2),))
    return train(how, of, batches, lambda number: next(metrics))[0]


def rows(of: Mqar) -> mqar.Splits:
    few = {"train_rows": 24, "valid_rows": 8, "test_rows": 8}
    return mqar.splits(of.model_copy(update=few))


def test_loss_on_labelled_positions_is_the_full_loss():
    model = build(config()).double()
    tokens, positions, targets = next(mqar.batches(config(), rows(config()).train))
    full = torch.full(tokens.shape, -100).scatter(1, positions, targets)  # b t
    losses = (
        mqar.loss(model, (tokens, positions, targets)),
        F.cross_entropy(model(tokens)[0].flatten(0, 1), full.flatten(), ignore_index=-100),
    )
    ours, theirs = (torch.autograd.grad(loss, list(model.parameters())) for loss in losses)
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-14)
    for (name, _), a, b in zip(model.named_parameters(), ours, theirs, strict=True):
        assert (a - b).norm() <= 1e-13 * b.norm(), name


def test_cosine_falls_to_zero_after_a_linear_warm_up():
    of = config(updates=110, warmup=10, lr=1.0)
    rates = [learning_rate(of, done, 1) for done in range(110)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert rates[109] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))


def test_constant_stays():
    of = config(updates=20, warmup=4, lr=1.0, schedule="constant")
    assert {learning_rate(of, done, 1) for done in range(4, 20)} == {1.0}


def test_cosine_epoch_is_the_scheduler_of_torch_stepped_once_an_epoch():
    of = config(updates=5 * 7, lr=0.3, schedule="cosine-epoch")
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=5, eta_min=0.0)
    for epoch in range(5):
        expected = pytest.approx(optimiser.param_groups[0]["lr"])
        assert [learning_rate(of, 7 * epoch + i, 7) for i in range(7)] == [expected] * 7
        optimiser.step()
        scheduler.step()


def test_weight_decay_spares_norms_unless_all_is_decayed():
    model = build(config())
    spared = make_optimiser(model, config()).param_groups[1]
    assert spared["weight_decay"] == 0.0
    assert any(spared["params"][0] is p for n, p in model.named_parameters() if "norm" in n)
    groups = make_optimiser(model, config(decay_all=True)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.1]


def test_clipping_bounds_the_gradient_and_zero_leaves_it():
    batch = next(mqar.batches(config(), rows(config()).train))
    for clip, limit in ((1e-3, 1e-3), (0.0, math.inf)):
        of = config(clip=clip)
        model = build(of)
        step(model, make_optimiser(model, of), batch, mqar.loss, of, 1e-3)
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        assert 1e-4 < norm <= limit * (1 + 1e-4)


@pytest.mark.parametrize("host", [True, False])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("at", [1, 6])
def test_a_loss_that_is_not_finite_stops_before_its_step(bad, at, host):
    model, count = nn.Linear(2, 1), itertools.count(1)
    weights = []

    def loss(model, batch):
        weights.append(model.weight.detach().clone())
        return model(batch[0]).square().mean() * (bad if next(count) == at else 1.0)

    outcome = trained(model, config(), loss, itertools.repeat(0.0), host)
    assert (outcome.stop, outcome.steps) == ("diverged", at - 1)
    assert outcome.error == f"loss {bad} at update {at}, learning rate {rate(at):.3g}"
    assert torch.equal(model.weight, weights[at - 1])
    assert outcome.curve_steps == [4] * (at > 4)


def rate(update: int) -> float:
    return learning_rate(config(), update - 1, 1)


@pytest.mark.parametrize("host", [True, False])
def test_a_gradient_that_is_not_finite_counts_as_divergence(host):
    def loss(model, batch):
        return (model(batch[0]).sum() * 0).abs().sqrt()  # finite, its derivative is not

    outcome = trained(nn.Linear(2, 1), config(), loss, itertools.repeat(0.0), host)
    assert outcome.error.startswith("gradient norm nan at update 1,")


def square(model, batch):
    return model(batch[0]).square().mean()


@pytest.mark.parametrize("host", [True, False])
def test_training_stops_above_the_threshold_and_not_at_it(host):
    of = config(stop_at=0.9)
    outcome = trained(nn.Linear(2, 1), of, square, iter([0.5, 0.9, 0.95]), host)
    assert (outcome.stop, outcome.steps) == ("threshold", 12)
    assert outcome.curve_steps == [4, 8, 12]
    assert outcome.curve_valid == [0.5, 0.9, 0.95]


@pytest.mark.parametrize("host", [True, False])
def test_the_last_update_is_always_validated(host):
    outcome = trained(nn.Linear(2, 1), config(updates=6), square, itertools.repeat(0.0), host)
    assert (outcome.curve_steps, outcome.stop) == ([4, 6], "budget")


def test_late_looks_change_no_number():
    outcomes = []
    for host in (True, False):
        torch.manual_seed(0)
        outcomes.append(trained(nn.Linear(2, 1), config(), square, itertools.repeat(0.0), host))
    assert outcomes[0].curve_loss == outcomes[1].curve_loss
    assert outcomes[0].steps == outcomes[1].steps == 12


def test_seconds_between_looks_are_shared_by_their_updates_and_models(monkeypatch):
    ticks = iter([0.0, 9.0, 10.0, 16.0, 20.0, 21.0])
    monkeypatch.setattr("runners.clock.time.perf_counter", lambda: next(ticks))
    clock = Clock(warm_up=1, models=2)
    for updates in (1, 3, 1):  # 9 s of warm-up, then 2 s, 2 s, 2 s and 1 s
        clock.start()
        clock.stop(updates, 10 * updates)
    assert clock.summary() == (1.0, 2 * 40 / 7)
