"""Stacked models: gradients, parameters and masks of each, for every model of the zoo."""

import pytest
import torch

import zoo
from runners import mqar, stack
from runners.config import build
from runners.device_step import DeviceStep
from runners.graph_step import GraphStep
from runners.stacked import Stacked
from runners.step import WARM_UP_STEPS, Alone
from tests.captures import Again
from tests.tiny_runs import tiny

CPU = torch.device("cpu")
# Their random numbers are drawn for all models at once, dropout or not.
DRAW_NOISE = ("eva",)


@pytest.mark.parametrize("model", zoo.names())
def test_every_model_is_stacked_or_says_why(model):
    of = tiny(model=model, norm="own", channel_mixer="own")
    reason = stack.why_alone(of)
    models = [build(of) for _ in range(3)]
    if any(isinstance(m, torch.nn.BatchNorm1d) for m in models[0].modules()):
        assert reason.startswith("training changes the buffer blocks.0.mixer_norm.running_mean")
        return
    assert reason == ""
    if model in DRAW_NOISE:
        return
    batch = next(mqar.batches(of, mqar.splits(of).train))
    alone = [
        torch.autograd.grad(mqar.loss(m, batch), list(m.parameters()), materialize_grads=True)
        for m in models
    ]
    with stack.slow_maps_allowed():
        together = Stacked(models, mqar.loss)
        together.backward(together.losses(batch))
    for m, gradients in zip(models, alone, strict=True):
        ours = torch.cat([(p if p.grad is None else p.grad).flatten() for p in m.parameters()])
        theirs = torch.cat([g.flatten() for g in gradients])
        # float32, some 100 roundings deep.
        assert (ours - theirs).norm() <= 100 * 2**-23 * theirs.norm()


@pytest.mark.parametrize("model", sorted(set(zoo.names()) - {*DRAW_NOISE}))
def test_under_autocast_a_stacked_model_is_as_exact_as_alone(model):
    of = tiny(model=model, precision="bf16")
    if stack.why_alone(of):
        pytest.skip(stack.why_alone(of))
    models, batch = [build(of), build(of)], next(mqar.batches(of, mqar.splits(of).train))
    slopes = []
    for trained in (
        Alone(models[0], mqar.loss),
        Alone(models[0], mqar.loss),
        Stacked(models, mqar.loss),
    ):
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(slopes), cache_enabled=False):
            losses = trained.losses(batch)
        trained.backward(losses)
        slopes.append(
            torch.cat([p.grad.flatten() for p in models[0].parameters() if p.grad is not None])
        )
    exact, alone, together = slopes
    assert (together - exact).norm() <= 2 * (alone - exact).norm()


def test_a_capture_is_forgotten_when_its_models_are():
    graphs, of = Again(), tiny(train_rows=24)
    models = [build(of), build(of)]
    step = GraphStep(Stacked(models, mqar.loss), [of, of], device=CPU, graphs=graphs)
    batches = mqar.batches(of, mqar.splits(of).train)
    for update in range(1, 13):
        step(next(batches), update)
        if update == 6:
            before = [p.clone() for p in models[0].parameters()]
            step.freeze(0)
    assert (graphs.forgotten, graphs.captures, graphs.eager) == (2, 2, 2 * WARM_UP_STEPS)
    assert all(torch.equal(*pair) for pair in zip(before, models[0].parameters(), strict=True))
    # Nothing holds the stack that it was a part of.
    assert all(p.untyped_storage().nbytes() == p.nbytes for p in models[0].parameters())
    assert len(step.look()[-1][0]) == 2


def test_parameters_stay_when_frozen_and_are_shared_with_the_stack():
    of = tiny()
    models = [build(of) for _ in range(3)]
    together = Stacked(models, mqar.loss)
    step = DeviceStep(together, [of] * 3, device=CPU)
    step.freeze(0)
    before = [[p.clone() for p in m.parameters()] for m in models]
    step(next(mqar.batches(of, mqar.splits(of).train)), 1)
    same = [[torch.equal(*pair) for pair in zip(b, m.parameters())] for b, m in zip(before, models)]
    assert all(same[0])
    assert not any(same[1])
    assert not any(same[2])
    for name, p in models[1].named_parameters():
        assert torch.equal(together.parameters[f"model.{name}"][1], p)


def test_masks_differ_between_models():
    of = tiny(dropout=0.5, updates=1)
    models = [build(of)] * 1 + [build(of)]
    models[1].load_state_dict(models[0].state_dict())
    losses = Stacked(models, mqar.loss).losses(next(mqar.batches(of, mqar.splits(of).train)))
    assert losses[0] != losses[1]


def test_without_company_the_stack_is_the_model():
    of = tiny()
    torch.manual_seed(0)
    a, b = build(of), build(of)
    b.load_state_dict(a.state_dict())
    steps = [
        DeviceStep(t, [of], device=CPU) for t in (Alone(a, mqar.loss), Stacked([b], mqar.loss))
    ]
    batch = next(mqar.batches(of, mqar.splits(of).train))
    for step in steps:
        step(batch, 1)
    (one,), (other,) = (step.look() for step in steps)
    assert other == [pytest.approx(x, rel=1e-5) for x in one]
