"""Checkpoints: whole or not there, and a row that does not show how often its run was killed."""

import errno
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import tasks.lra
from results.store import Store
from runners import checkpoint, kept, lra, lra_run
from runners.checkpoint import Checkpoint, Checkpoints
from runners.engines import Finished
from runners.graph_step import GraphStep
from runners.keeper import Best, Keeper
from runners.loop import train
from runners.lra_config import build
from runners.step import Alone, HostStep
from runners.sweep import sweep
from tasks.lra.data import open_data
from tests import lra_tiny
from tests.captures import Again
from tests.light import Light
from tests.test_lra_run import lasting

ROOT = Path(__file__).parents[1]
IDENTITY = {"key": "abc", "plugin_sha256": ""}


@pytest.fixture(autouse=True)
def datasets(monkeypatch):
    monkeypatch.setattr(tasks.lra, "DATASETS", dict(tasks.lra.DATASETS))


def at(updates: int) -> Checkpoint:
    x = torch.full((3,), float(updates))
    return Checkpoint(updates, {"x": x, "step": x[0].clone()}, {"loss": 0.1 + updates})


def stored(folder: Path, *updates: int) -> Checkpoints:
    store = Checkpoints(folder, IDENTITY)
    for number in updates:
        store.write(at(number))
    return store


def newest(folder: Path, **identity: Any) -> tuple[int | None, list[str]]:
    store = Checkpoints(folder, IDENTITY | identity)
    found = store.newest()
    return found and found.updates, store.notes


def test_the_newest_comes_back_and_the_one_before_it_is_kept(tmp_path):
    found = stored(tmp_path, 7, 80, 900).newest()
    assert found is not None
    assert (found.updates, found.facts) == (900, {"loss": 900.1})
    assert torch.equal(found.tensors["x"], at(900).tensors["x"])
    assert found.tensors["step"].shape == ()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{n:010d}.{kind}" for n in (80, 900) for kind in ("json", "safetensors")]


def test_who_goes_on_from_a_checkpoint_keeps_it_and_clears_away_what_was_passed_over(tmp_path):
    stored(tmp_path, 1, 2)
    (tmp_path / f"{2:010d}.safetensors").write_bytes(b"")
    store = Checkpoints(tmp_path, IDENTITY)
    assert store.newest() is not None
    store.write(at(3))
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == [f"{n:010d}" for n in (1, 3)]


@pytest.mark.parametrize("kind", ["json", "safetensors"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_a_torn_checkpoint_is_passed_over_and_said(kind, keep, tmp_path):
    stored(tmp_path, 1, 2)
    file = tmp_path / f"{2:010d}.{kind}"
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    found, notes = newest(tmp_path)
    assert found == 1
    assert [note.partition(":")[0] for note in notes] == ["the checkpoint at update 2 was not used"]


@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_no_flipped_bit_goes_unseen(kind, tmp_path):
    stored(tmp_path, 1, 2)
    file = tmp_path / f"{2:010d}.{kind}"
    data = file.read_bytes()
    for place in range(0, len(data), 3):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found = Checkpoints(tmp_path, IDENTITY).newest()
        assert found is not None
        told = found.updates, found.facts, found.tensors["x"].tolist()
        assert told in [(n, at(n).facts, [float(n)] * 3) for n in (1, 2)]


def test_without_its_json_a_checkpoint_is_not_there(tmp_path):
    stored(tmp_path, 1, 2)
    (tmp_path / f"{2:010d}.json").unlink()
    assert newest(tmp_path) == (1, [])
    assert newest(tmp_path / "nothing") == (None, [])


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    stored(tmp_path, 1)
    found, notes = newest(tmp_path, plugin_sha256="other")
    assert found is None
    assert notes == ["the checkpoint at update 1 was not used: its plugin_sha256 differ"]


@pytest.mark.parametrize("after", range(4))
def test_a_full_disk_leaves_the_checkpoint_before(after, tmp_path, monkeypatch):
    store, calls, real = stored(tmp_path, 1), itertools.count(), os.fsync

    def full(file):
        if next(calls) == after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(at(2))
    assert newest(tmp_path)[0] == (1 if after < 3 else 2)
    assert not list(tmp_path.glob("*.tmp"))


def run_it(root: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", lra_tiny.__file__, str(root), str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_after_two_kills_in_later_epochs_the_row_is_that_of_a_run_at_one_go(tmp_path):
    run = lra_tiny.resumed_run(tmp_path / "data")
    for parts in (2 * 14, 2 * 6):  # in the second epoch, then in the same or the next
        process = run_it(tmp_path / "data", tmp_path)
        assert process.stdout is not None
        for _ in range(parts):
            assert process.stdout.readline(), "it ended before it was killed"
        process.kill()
        process.communicate()
    (*_, newest) = sorted((tmp_path / "checkpoints" / run.key).glob("*.json"))
    assert 12 < int(newest.stem) < run.updates
    last = run_it(tmp_path / "data", tmp_path)
    last.communicate()
    assert last.returncode == 0
    row = json.loads((tmp_path / "row.json").read_text())
    assert (row["resumed"], row["resumed_notes"]) == (2, "")
    assert lasting(row) == lasting(lra_run.run(run, data=tmp_path / "data"))


FORMS = pytest.mark.parametrize("kind", [HostStep, GraphStep])


def trained(kind, run, data, folder=None, until=10**6):
    """Trains on to update `until` at most, or the end. Returns: model, outcome, keeper."""
    torch.manual_seed(run.seed)
    model = build(run)
    if kind is HostStep:
        step = HostStep(model, run, lra.loss)
    else:
        how = {"device": torch.device("cpu"), "graphs": Again()}
        step = kind(Alone(model, lra.loss), [run], **how)
    best = Best(True)

    def evaluate(number):
        metric = next(model.parameters()).sum().sigmoid().item()
        best.offer(metric, model)
        return metric

    store = Checkpoints(folder, IDENTITY) if folder else None
    keeper = Keeper(store, 0.0, model, step, best, {"torch": torch.__version__})
    training = keeper.resume()

    def keep(training):
        keeper.offer(training)
        if training.updates >= until:
            raise InterruptedError

    batches = lra.batches(run, data, done=training.updates)
    (outcome,) = train(step, run, batches, evaluate, training=training, keep=keep)
    return model, outcome, keeper


def times_aside(outcome):
    return {k: v for k, v in vars(outcome).items() if "second" not in k}


@FORMS
@pytest.mark.parametrize("fields", [{}, {"norm": "layer", "clip": 0.1, "state_lr": 0.0}])
def test_steps_on_host_and_device_go_on_to_the_same_numbers(kind, fields, tmp_path):
    run = lra_tiny.resumed_run(tmp_path, **fields)
    data = open_data("text", tmp_path)
    folder = tmp_path / "kept"
    for until in (3, 13, 20):
        with pytest.raises(InterruptedError):
            trained(kind, run, data, folder, until)
    model, outcome, keeper = trained(kind, run, data, folder)
    whole, expected, other = trained(kind, run, data)
    assert keeper.resumed == 3
    assert times_aside(outcome) == times_aside(expected)
    pairs = [(model.state_dict(), whole.state_dict()), (keeper.best.weights, other.best.weights)]
    for ours, theirs in pairs:
        assert all(torch.equal(ours[name], x) for name, x in theirs.items())


def test_parts_that_memory_asked_for_stay(tmp_path):
    run = lra_tiny.resumed_run(tmp_path, norm="layer", accumulate=1)
    data, folder = open_data("text", tmp_path), tmp_path / "kept"
    with pytest.raises(InterruptedError):
        trained(HostStep, run.model_copy(update={"accumulate": 4}), data, folder, 3)
    assert trained(HostStep, run, data, folder)[2].step.parts.number == 4


def test_another_version_or_model_is_said_in_the_row(tmp_path, monkeypatch):
    run = lra_tiny.resumed_run(tmp_path, norm="layer")
    data, folder = open_data("text", tmp_path), tmp_path / "kept"
    with pytest.raises(InterruptedError):
        trained(HostStep, run, data, folder, 3)
    monkeypatch.setattr(torch, "__version__", "99")
    with pytest.raises(InterruptedError):
        trained(HostStep, run, data, folder, 4)
    columns = trained(HostStep, run, data, folder)[2].columns()
    assert (columns["resumed"], columns["resumed_notes"].count("until update 3, then 99")) == (2, 1)
    wider = trained(HostStep, run.model_copy(update={"d_model": 16}), data, folder)[2].columns()
    assert wider["resumed"] == 0
    assert wider["resumed_notes"].endswith("was not used: its model has other parameters")


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "durably", full)
    run = lra_tiny.resumed_run(tmp_path, updates=5)
    row = lra_run.run(run, data=tmp_path, checkpoints=tmp_path / "kept", every=0.0)
    assert row["status"] == "ok"
    assert row["resumed_notes"].startswith("no checkpoint at update 1: No space left")


def test_a_process_that_must_end_waits_for_a_checkpoint(tmp_path, monkeypatch):
    ending = kept.Ending()
    monkeypatch.setattr("runners.keeper.ENDING", ending)
    run = lra_tiny.resumed_run(tmp_path, updates=5)
    asked = []

    def progress(update, metrics):
        asked.append(threading.Thread(target=ending.ask))
        asked[0].start()
        ending.wanted.wait()

    kept_in = tmp_path / "kept"
    lra_run.run(run, data=tmp_path, checkpoints=kept_in, every=1e9, progress=progress)
    asked[0].join()
    assert ending.kept.is_set()
    assert [path.stem for path in (kept_in / run.key).glob("*.json")] == [f"{5:010d}"]
    assert not ending.pending.is_set()


class Engine:
    """Does every run at once, and says which checkpoints it found."""

    jobs = 1

    def execute(self, groups, order):
        self.found = sorted(path.name for path in Path(order.execution.checkpoints).iterdir())
        for (run,) in groups:
            yield Finished(run, "", {"key": run.key, "status": "ok"})


@pytest.mark.parametrize(("force", "left"), [(False, ["todo-ok"]), (True, [])])
def test_a_sweep_clears_what_is_settled_and_with_force_all(force, left, tmp_path):
    runs, engine = [Light("done"), Light("todo")], Engine()
    Store(tmp_path).append({"key": "done-ok", "task": "light", "model": "done", "status": "ok"})
    for run in runs:
        (tmp_path / "checkpoints" / run.key).mkdir(parents=True)
    assert sweep(runs, tmp_path, engine, force=force).executed == 1 + force
    assert engine.found == left
