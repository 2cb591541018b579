"""Stacked runs: each is the run that it would be alone, whatever happens to the others.

Alone and together, sums over channels and tokens are ordered differently, so float32 results differ
by rounding. How far updates carry such a difference depends on Adam, whose first updates have the
size of the learning rate whatever the size of the gradient; so curves are compared in float64, of
which rows keep the 24 bits of float32, and single updates in float32.
"""

import time
from typing import Any

import pytest
import torch

from runners import estimate, run, stack
from runners.config import Mqar, build
from runners.execution import Execution
from runners.run import run_together
from runners.stacked import Stacked
from tests.tiny_runs import tiny

CPU = torch.device("cpu")
# What a row says about speed, memory, time and how it was executed.
OF_EXECUTION = (
    *("seconds", "step_seconds", "tokens_per_second", "time", "stacked", "step_form"),
    *("peak_memory_bytes", "peak_memory_kind"),
)


def grid(*rates: float, **fields: Any) -> list[Mqar]:
    return [tiny(lr=lr, seed=seed, **fields) for seed, lr in enumerate(rates)]


def stacked_rows(configs: list[Mqar]) -> list[dict[str, Any]]:
    return stack.run_stacked(configs, {}, None, Execution(stack=len(configs)))


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "model",
    ["attention", "based", "gla", "hgrn", "linformer", "mamba", "metala", "rwkv4"],
)
def test_stacked_runs_are_the_single_runs(model):
    configs = grid(3e-3, 1e-3, 1e-2, model=model)
    for config, ours in zip(configs, stacked_rows(configs), strict=True):
        alone = run.run(config)
        assert ours["stacked"] == 3
        assert ours["curve_loss"] == pytest.approx(alone["curve_loss"], rel=2**-23)
        different = {name for name in ours if ours[name] != alone[name]}
        assert different <= {*OF_EXECUTION, "curve_loss", "train_loss"}


def test_an_estimate_times_groups_as_they_will_train(monkeypatch):
    sizes, real = [], estimate.step_of
    monkeypatch.setattr(
        estimate, "step_of", lambda models, *rest: sizes.append(len(models)) or real(models, *rest)
    )
    runs = grid(1e-3, 1e-2, 1e-1) + [tiny(d_model=8)]
    found = estimate.estimate(runs, execution=Execution(stack=2))
    assert sizes == [2, 1]
    assert [shape.runs for shape in found.shapes] == [3, 1]


def test_groups_differ_in_rate_and_seed_alone_and_keep_the_order():
    a, b, c = (tiny(lr=lr, seed=s) for lr, s in ((1e-3, 0), (1e-3, 1), (1e-2, 0)))
    other, later = tiny(d_model=8), tiny(data_seed=1)
    runs = [a, other, b, later, c]
    assert stack.groups(runs, 2) == [[a, b], [other], [later], [c]]
    assert stack.groups(runs, 8) == [[a, b, c], [other], [later]]
    assert stack.groups(runs, 1) == [[run] for run in runs]


def test_runs_that_cannot_be_mapped_stay_alone():
    runs = grid(1e-3, 1e-2, norm="batch")
    assert stack.groups(runs, 4) == [[run] for run in runs]


def test_a_reason_is_looked_for_once_a_shape_and_leaves_the_generator_alone(monkeypatch):
    built = []
    monkeypatch.setattr(stack, "build", lambda *a: built.append(a) or build(*a))
    stack.tried.cache_clear()
    state = torch.get_rng_state()
    for config in grid(1e-3, 1e-2) + [tiny(batch=4, updates=9), tiny(d_model=32)]:
        assert stack.why_alone(config) == ""
    assert len(built) == 2 * 2
    assert torch.equal(state, torch.get_rng_state())


def test_a_model_that_diverges_leaves_the_others_as_they_are():
    configs = grid(1e-3, 1e9, 3e-3, model="mamba", clip=0.0)
    first, diverged, last = stacked_rows(configs)
    assert (diverged["status"], diverged["value"]) == ("diverged", None)
    alone = run.run(configs[1])
    assert (alone["error"], alone["steps"]) == (diverged["error"], diverged["steps"])
    calm = stacked_rows([configs[0], configs[0].model_copy(update={"seed": 7}), configs[2]])
    assert first["curve_loss"] == calm[0]["curve_loss"]
    assert last["curve_loss"] == calm[2]["curve_loss"]


def test_the_group_ends_when_all_have_diverged():
    rows = stacked_rows(grid(1e9, 1e10, model="mamba", clip=0.0))
    assert [row["status"] for row in rows] == ["diverged"] * 2
    assert all(row["curve_steps"] == [] for row in rows)


@pytest.mark.usefixtures("float64")
def test_a_model_that_has_finished_is_tested_as_it_was_then():
    # Guessing among the values shown is enough for one; the other learns nothing.
    configs = grid(1e-2, 1e-6, stop_at=0.02)
    singles = [run.run(config) for config in configs]
    assert [row["stop"] for row in singles] == ["threshold", "budget"]
    for ours, alone in zip(stacked_rows(configs), singles, strict=True):
        for name in ("stop", "steps", "curve_steps", "curve_valid", "valid", "value"):
            assert ours[name] == alone[name], name


@pytest.mark.usefixtures("float64")
def test_models_that_train_on_are_stacked_anew_once_half_have_ended(monkeypatch):
    sizes = []
    real = Stacked.losses
    monkeypatch.setattr(
        Stacked, "losses", lambda self, batch: sizes.append(len(self.models)) or real(self, batch)
    )
    # The first and the third guess among the values shown and so pass the threshold.
    chosen = ((1e-2, 0), (1e-6, 1), (9e-3, 0), (2e-6, 1))
    configs = [tiny(lr=lr, seed=seed, stop_at=0.02) for lr, seed in chosen]
    rows = stacked_rows(configs)
    assert [row["stop"] for row in rows] == ["threshold", "budget"] * 2
    last = max(rows[0]["steps"], rows[2]["steps"])
    assert sizes == [4] * last + [2] * (20 - last)
    for config, ours in zip(configs, rows, strict=True):
        alone = run.run(config)
        assert ours["curve_loss"] == pytest.approx(alone["curve_loss"], rel=2**-23)
        assert (ours["steps"], ours["value"]) == (alone["steps"], alone["value"])


def test_shares_of_a_group_add_up_and_presets_and_progress_are_told():
    told, configs = [], grid(1e-3, 1e-2)
    presets = {configs[0].key: "one", configs[1].key: "two"}
    begin = time.perf_counter()
    rows = stack.run_stacked(configs, presets, lambda *x: told.append(x), Execution(stack=2))
    assert 0 < sum(row["seconds"] for row in rows) <= time.perf_counter() - begin
    assert [row["preset"] for row in rows] == ["one", "two"]
    assert [update for update, _ in told] == [5, 10, 15, 20]
    for name, curve in (("valid", "curve_valid"), ("loss", "curve_loss")):
        mean = [sum(pair) / 2 for pair in zip(rows[0][curve], rows[1][curve], strict=True)]
        assert [values[name] for _, values in told] == pytest.approx(mean)
    assert rows[0]["step_seconds"] == rows[1]["step_seconds"]
    # 8 rows of 12 tokens, in the share of one model.
    speed = 8 * 12 / rows[0]["step_seconds"]
    assert rows[0]["tokens_per_second"] == pytest.approx(speed, rel=0.7)


def test_too_little_memory_is_told_by_every_run(monkeypatch):
    def full(*arguments, **keywords):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore")

    monkeypatch.setattr(run, "train", full)
    rows = stacked_rows(grid(1e-3, 1e-2, 1e-1))
    assert [(row["status"], row["value"], row["stacked"]) for row in rows] == [("oom", None, 3)] * 3
    assert rows[2]["error"].endswith("20 GiB; 3 models trained as one: type --stack 1")


def test_what_cannot_be_one_model_is_refused():
    with pytest.raises(ValueError, match="only runs that differ in lr and seed alone"):
        stack.run_stacked([tiny(), tiny(d_model=8)], {}, None, Execution())
    with pytest.raises(ValueError, match="type --stack 1"):
        stack.run_stacked(grid(1e-3, 1e-2), {}, None, Execution(compile=True))


@pytest.mark.gpu
def test_on_a_gpu_stacked_runs_are_captured_and_learn():
    rows = run_together(grid(1e-3, 3e-3, updates=40), {}, None, Execution(stack=2))
    assert [(row["stacked"], row["step_form"]) for row in rows] == [(2, "cuda graph")] * 2
    assert all(row["curve_loss"][-1] < row["curve_loss"][0] for row in rows)
