"""run(config) -> row for the Long Range Arena: every task, one look at the test set, sweeps."""

import json
import sys
from typing import Any

import pytest
import torch

import tasks.lra
from results.store import Store
from runners import lra, lra_run
from runners.engines import Order, Reached
from runners.engines.local import Local
from runners.engines.recipes import RECIPES
from runners.execution import Execution
from runners.sweep import sweep
from tasks.lra.data import MissingData
from tests import lra_tiny
from tests.lra_tiny import config

VOLATILE = (
    *("seconds", "step_seconds", "tokens_per_second", "time", "resumed"),
    *("peak_memory_bytes", "peak_memory_kind"),
)


@pytest.fixture(autouse=True)
def datasets(monkeypatch):
    monkeypatch.setattr(tasks.lra, "DATASETS", dict(tasks.lra.DATASETS))


def lasting(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in VOLATILE}


@pytest.mark.parametrize("name", tasks.lra.DATASETS)
def test_every_data_set_trains_a_step_and_is_tested(name, tmp_path):
    small: dict[str, Any] = {"train": 2, "valid": 2, "test": 2} if "pathx" in name else {}
    data = lra_tiny.made(name, tmp_path, **small)
    run = config(name, updates=1, batch=2)
    row = lra_run.run(run, data=tmp_path, preset="tiny")
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["status"], row["stop"], row["steps"], row["error"]) == ("ok", "budget", 1, "")
    assert (row["task"], row["dataset"], row["key"]) == ("lra", name, run.key)
    assert (row["dataset_kind"], row["dataset_of"]) == (data.dataset.kind, data.dataset.of)
    assert (row["data_source"], row["data_sha256"]) == ("made up", data.sha256)
    assert (row["chance"], row["baselines"]) == (data.dataset.chance, {"majority": 0.5})
    assert (row["epochs"], row["best_update"]) == (1 / run.epoch_updates, 1)
    assert (row["accumulated"], row["resumed"], row["state_bytes"]) == (1, 0, None)
    assert row["parameters"] == sum(row["parameters_by_role"].values())
    assert 0 <= row["value"] <= 1
    assert row["backends"]


def test_rows_have_the_same_columns_whatever_happens(tmp_path, monkeypatch):
    lra_tiny.made("text", tmp_path)
    rows = [lra_run.run(config("text"), data=tmp_path)]
    monkeypatch.setattr(lra, "loss", lambda m, b: lra.logits(m, b).sum() * float("nan"))
    rows.append(lra_run.run(config("text"), data=tmp_path))
    assert (rows[1]["status"], rows[1]["value"], rows[1]["best_update"]) == ("diverged", None, None)
    blank = RECIPES["lra"].blank(config("text"), "") | {"peak_memory_bytes": 0}
    assert set(rows[0]) == set(rows[1]) == set(blank) | {"peak_memory_kind"}


def test_the_same_config_gives_the_same_row(tmp_path):
    run = lra_tiny.resumed_run(tmp_path, updates=6)
    rows = [lasting(lra_run.run(run, data=tmp_path)) for _ in range(2)]
    assert rows[0] == rows[1]


def scored(monkeypatch, of, root, metrics):
    """The row of a run that is scored by `metrics`, and what was scored: rows, weights."""
    seen = []

    def score(model, config, rows, *where, **how):
        seen.append((rows.rows, [p.clone() for p in model.parameters()]))
        return metrics[len(seen) - 1]

    monkeypatch.setattr(lra, "score", score)
    return lra_run.run(of, data=root), seen


@pytest.mark.parametrize(("weights", "which"), [("best", 1), ("last", 3)])
def test_the_test_set_is_looked_at_once_with_the_chosen_weights(
    weights, which, tmp_path, monkeypatch
):
    lra_tiny.made("text", tmp_path)
    of = config("text", updates=4, test_weights=weights)
    row, seen = scored(monkeypatch, of, tmp_path, [0.5, 0.7, 0.6, 0.7, 0.3])
    assert [rows for rows, _ in seen] == [6, 6, 6, 6, 8]
    assert (row["best_update"], row["valid"], row["value"]) == (which + 1, 0.7, 0.3)
    same = [
        all(torch.equal(a, b) for a, b in zip(seen[-1][1], parameters, strict=True))
        for _, parameters in seen[:-1]
    ]
    assert same == [i == which for i in range(4)]


def test_the_official_selection_validates_on_the_test_set(tmp_path, monkeypatch):
    lra_tiny.made("text", tmp_path)
    of = config("text", selection="test", updates=1)
    row, seen = scored(monkeypatch, of, tmp_path, [0.5, 0.5])
    assert [rows for rows, _ in seen] == [8, 8]
    assert row["epoch_updates"] == (12 + 6) // 4


def test_training_learns_what_a_first_token_tells(tmp_path):
    lra_tiny.made("text", tmp_path, train=200, valid=50, test=50, longest=6)
    of = config("text", "gla", d_model=16, updates=60, batch=20, lr=0.02, evaluate_every=20)
    assert lra_run.run(of, data=tmp_path)["value"] > 0.9


def test_bfloat16_runs_under_autocast(tmp_path):
    lra_tiny.made("text", tmp_path)
    assert lra_run.run(config("text", precision="bf16"), data=tmp_path)["status"] == "ok"


def test_only_training_goes_through_a_compiled_model(tmp_path, monkeypatch):
    lra_tiny.made("text", tmp_path)
    calls = []
    monkeypatch.setattr(torch, "compile", lambda m: lambda *x: calls.append(len(x[0])) or m(*x))
    row = lra_run.run(config("text"), data=tmp_path, execution=Execution(compile=True))
    plain = lra_run.run(config("text"), data=tmp_path)
    assert calls == [4] * 2
    assert (row["step_form"], row["curve_loss"]) == ("compiled", plain["curve_loss"])


def test_missing_data_say_what_to_type_before_anything_is_trained(tmp_path):
    with pytest.raises(MissingData, match="type: lazoo data lra text"):
        lra_run.run(config("text"), data=tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"norm": "batch"}, "type --accumulate 2"),
        ({}, "split into 4 parts; type a smaller --batch"),
    ],
)
def test_too_little_memory_becomes_a_row_that_says_what_to_type(
    fields, words, tmp_path, monkeypatch
):
    def full(model, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore")

    monkeypatch.setattr(lra, "loss", full)
    lra_tiny.made("text", tmp_path)
    row = lra_run.run(config("text", **fields), data=tmp_path)
    assert (row["status"], row["stop"], row["value"]) == ("oom", "oom", None)
    assert row["error"].startswith("CUDA out of memory. Tried to allocate 20 GiB; ")
    assert words in row["error"]
    assert row["accumulated"] == (1 if fields else 4)


def worker(root) -> Local:
    return Local(1, [], command=(sys.executable, "-P", lra_tiny.__file__, "worker", str(root)))


def test_a_sweep_goes_on_with_a_run_that_it_was_stopped_in(tmp_path):
    root, out = tmp_path / "data", tmp_path / "out"
    run = lra_tiny.resumed_run(root, updates=150)
    execution = Execution(data=str(root), checkpoints=str(out / "checkpoints"))
    events = worker(root).execute([(run,)], Order(out, execution=execution))
    for event in events:
        if isinstance(event, Reached):
            events.close()  # as the sweep does on Ctrl-C
            break
    (stored,) = (out / "checkpoints" / run.key).glob("*.json")
    assert int(stored.stem) >= 5
    swept = sweep([run], out, worker(root), execution=Execution(data=str(root)))
    assert (swept.rows[0]["status"], swept.rows[0]["resumed"]) == ("ok", 1)
    assert not (out / "checkpoints" / run.key).exists()
    assert lasting(swept.rows[0]) == lasting(Store(out).read("lra")[0])
