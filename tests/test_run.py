"""run(config) -> row: complete, reproducible, honest about splits, divergence and memory."""

import json
import math
import mmap
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from pydantic import ValidationError

from runners import mqar, run
from runners.config import Mqar
from runners.execution import Execution
from runners.provenance import PeakMemory

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
    "updates": 6,
    "evaluate_every": 3,
    "conv": "k2",
}
VOLATILE = (
    *("seconds", "step_seconds", "tokens_per_second", "time"),
    *("peak_memory_bytes", "peak_memory_kind"),
)


def tiny(**fields: Any) -> Mqar:
    return Mqar(**{**TINY, **fields})


def lasting(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in VOLATILE}


def test_a_row_says_what_ran_and_what_came_out():
    row = run.run(tiny(), preset="quick")
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["status"], row["stop"], row["steps"]) == ("ok", "budget", 6)
    assert (row["task"], row["preset"], row["label"]) == ("mqar", "quick", "Attention")
    assert row["key"] == tiny().key
    assert row["chance"] == 0.5
    assert row["backends"] == ["sdpa"]
    assert (row["stacked"], row["step_form"]) == (1, "eager")
    assert row["parameters"] == sum(row["parameters_by_role"].values())
    # two layers: keys and values of 16 tokens, and one token in the convolution, of width 16
    assert row["state_bytes"] == 2 * (2 * 16 + 1) * 16 * 4
    assert row["curve_steps"] == [3, 6]
    assert 0 <= row["value"] <= 1
    assert row["step_seconds"] > 0
    assert row["peak_memory_bytes"] > 2**20


def test_the_same_seed_gives_the_same_row():
    assert lasting(run.run(tiny(dropout=0.1))) == lasting(run.run(tiny(dropout=0.1)))


def test_another_seed_changes_the_model_and_not_the_data():
    one, two = run.run(tiny()), run.run(tiny(seed=1))
    assert one["data_sha256"] == two["data_sha256"]
    assert one["curve_loss"] != two["curve_loss"]


def test_every_row_has_the_same_columns(monkeypatch):
    ok = run.run(tiny())

    def nan(model, batch):
        return mqar.labelled(model, *batch[:2]).sum() * float("nan")

    monkeypatch.setattr(mqar, "loss", nan)
    diverged = run.run(tiny())
    assert set(ok) == set(diverged)
    assert (diverged["status"], diverged["value"]) == ("diverged", None)
    assert "at update 1," in diverged["error"]
    assert run.run(tiny())["steps"] == 0


def test_too_little_memory_becomes_a_row(monkeypatch):
    def full(*arguments, **keywords):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore")

    monkeypatch.setattr(run, "train", full)
    row = run.run(tiny())
    assert (row["status"], row["stop"], row["value"]) == ("oom", "oom", None)
    assert row["error"] == "CUDA out of memory. Tried to allocate 20 GiB"
    assert row["parameters"] > 0


def test_other_errors_are_not_swallowed(monkeypatch):
    monkeypatch.setattr(run, "train", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.run(tiny())


def test_training_is_judged_on_validation_rows_and_tested_once(monkeypatch):
    seen = []
    real = mqar.scores

    def scores(model, segments, precision):
        seen.append(segments[0].data.rows)
        return real(model, segments, precision)

    monkeypatch.setattr(mqar, "scores", scores)
    run.run(tiny())
    assert seen == [40, 40, 50]


def test_the_published_protocol_selects_on_the_test_set():
    row = run.run(tiny(selection="test"))
    assert row["valid"] == row["value"]
    assert set(row["data_sha256"]) == {"train", "test"}


def test_bfloat16_runs_under_autocast():
    assert run.run(tiny(precision="bf16"))["status"] == "ok"


def test_only_training_goes_through_a_compiled_model(monkeypatch):
    calls = []

    def compiled(function, **options):
        return lambda tokens: calls.append(len(tokens)) or function(tokens)

    monkeypatch.setattr(torch, "compile", compiled)
    row, plain = run.run(tiny(), execution=Execution(compile=True)), run.run(tiny())
    assert calls == [16] * 6
    assert (row["step_form"], row["curve_loss"]) == ("compiled", plain["curve_loss"])


def test_leaving_the_plateau_names_the_update():
    outcome = run.Outcome(steps=9, curve_steps=[3, 6, 9], curve_valid=[0.2, 0.5, 0.4])
    outcome.curve_loss = [3.0, 2.0, 1.0]
    columns = run.outcome_columns(outcome, leave=0.4)
    assert (columns["left_plateau"], columns["left_plateau_at"]) == (True, 6)
    assert run.outcome_columns(outcome, leave=0.6)["left_plateau_at"] is None


def test_peak_memory_sees_what_was_held_for_a_moment():
    memory = PeakMemory(torch.device("cpu"))
    before = memory.bytes()
    # Mapped afresh: a tensor could reuse pages that earlier tests left resident.
    with mmap.mmap(-1, 2**27) as held:
        for page in range(0, len(held), mmap.PAGESIZE):
            held[page] = 1
    if memory.kind == "process, during the run":
        assert memory.bytes() - before > 2**26


@pytest.mark.gpu
def test_a_run_on_a_gpu_learns_like_one_on_a_cpu():
    row = run.run(tiny(updates=50))
    assert row["step_form"] == "cuda graph"
    assert row["peak_memory_kind"] == "GPU allocator, during the run"
    assert row["status"] == "ok"


FUZZED = {
    "model": st.sampled_from(["attention", "metala:mqar", "gla", "rwkv4", "mamba", "hgrn:real"]),
    "d_model": st.integers(0, 24),
    "depth": st.integers(0, 2),
    "conv": st.sampled_from(["own", "none", "k1", "k3-silu", "k0"]),
    "channel_mixer": st.sampled_from(["none", "identity", "swiglu", "mlp"]),
    "positions": st.sampled_from(["none", "learned", "rope"]),
    "first_mixer": st.sampled_from(["own", "base_conv"]),
    "tied": st.booleans(),
    "initialisation": st.sampled_from(["own", "zoology"]),
    "schedule": st.sampled_from(["cosine", "cosine-epoch", "constant"]),
    "warmup": st.integers(0, 2),
    "length": st.integers(0, 20),
    "pairs": st.integers(0, 5),
    "batch": st.integers(0, 20),
    "lr": st.sampled_from([-1.0, 0.0, 1e-3, 1.0, 1e9, math.nan]),
    "clip": st.sampled_from([-1.0, 0.0, 1.0, math.inf]),
}


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.fixed_dictionaries({}, optional=FUZZED))
def test_any_config_either_runs_or_is_refused(fields):
    try:
        config = tiny(**{**fields, "updates": 2})
    except ValidationError:
        return
    assert run.run(config)["status"] in ("ok", "diverged")
