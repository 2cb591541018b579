"""`lazoo lra`: which runs, what they need first, what it says, prints and leaves."""

import re
import shlex
from pathlib import Path

import pytest

from results.store import Store
from runners import lra_estimate, lra_presets
from runners.cli import main
from runners.commands import lra, sweeps
from runners.execution import Execution
from runners.grids import changed
from runners.lra_config import Lra
from runners.sweep import Swept
from tasks.lra import data

SMALL = ["--d-model", "16", "--depth", "1", "--batch", "8", "--updates", "4"]
TINY = ["lra", "--dataset", "listops-short", *SMALL, "--evaluate-every", "2", "--jobs", "1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def prepared(monkeypatch):
    """Names of data sets in the order in which the command asks for them; none is made."""
    names: list[str] = []
    monkeypatch.setattr(lra, "prepare", lambda name, root, *, tell: names.append(name))
    return names


@pytest.fixture
def swept(monkeypatch):
    """What the command gives to a sweep that does nothing."""
    told = {}
    monkeypatch.setattr(sweeps, "report", lambda *_: 0)
    monkeypatch.setattr(
        sweeps, "sweep", lambda runs, *_, **given: told.update(given, runs=runs) or Swept([], 0)
    )
    return told


def test_a_dry_run_lists_and_estimates_and_needs_no_data(capsys, folder):
    assert main([*TINY, "--model", "gla", "attention", "--seed", "0", "1", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[2] for line in said.splitlines()[:4]] == ["gla"] * 2 + ["attention"] * 2
    assert "4 runs, 0 stored, 4 to do" in said
    assert re.search(r"at most .* from real steps of 2 shapes; every row counts as the", said)
    assert not list(folder.iterdir())


def test_a_preset_is_narrowed_to_a_data_set_and_a_model(swept, prepared):
    line = "lra --preset quick --dataset listops-short --model metala"
    assert main(shlex.split(line)) == 0
    assert {(run.dataset, run.model) for run in swept["runs"]} == {("listops-short", "metala")}
    assert set(swept["presets"].values()) == {"quick"}
    assert {run.key for run in swept["runs"]} <= set(swept["presets"])
    assert prepared == ["listops-short"]


def test_flags_of_execution_reach_the_sweep(swept, prepared):
    flags = "--data elsewhere --checkpoint-minutes 2.5 --no-graph"
    assert main([*TINY, "--model", "gla", *flags.split()]) == 0
    expected = Execution(graph=False, data="elsewhere", checkpoint_minutes=2.5)
    assert swept["execution"] == expected


def test_runs_are_not_stacked(capsys):
    assert main([*TINY, "--model", "gla", "--stack", "2"]) == 2
    assert "--stack" in capsys.readouterr().err


def test_a_data_set_whose_download_is_large_is_refused_before_others_are_made(capsys, folder):
    names = ["--dataset", "listops-short", "image"]
    assert main(["lra", *names, *SMALL, "--model", "gla"]) == 2
    said = capsys.readouterr().err
    assert "lazoo data lra image --yes" in said
    assert not data.cache_folder("listops-short", Path("data")).exists()
    assert not Path("runs").exists()


def test_a_sweep_makes_its_data_prints_the_table_and_is_done_once(capsys, monkeypatch):
    assert main([*TINY, "--model", "linformer"]) == 0
    said = capsys.readouterr()
    assert "listops-short" in said.out
    assert re.search("(?i)not LRA scores", said.out)
    files = [Path(word) for word in said.out.split() if word.startswith("runs/")]
    assert {file.suffix for file in files} == {".md", ".tex", ".csv", ".png", ".svg", ".pdf"}
    assert all(file.stat().st_size for file in files)
    (row,) = Store("runs").read("lra")
    assert (row["status"], row["steps"], row["dataset_kind"]) == ("ok", 4, "short")
    monkeypatch.setattr(lra, "prepare", None)  # what is stored needs no data
    assert main([*TINY, "--model", "linformer"]) == 0
    assert "1 run: 1 already done, 0 to do" in capsys.readouterr().err


def test_table_7_has_the_papers_numbers_before_anything_was_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["table", "7"]) == 0
    said = capsys.readouterr()
    assert re.search(r"^MetaLA +– +59.34 ", said.out, re.M)
    assert said.err == "no rows of lra in runs: the paper's alone\n"
    # A folder that was named must have some.
    assert main(["table", "7", "--rows", "nowhere"]) == 2
    assert "no rows of lra in nowhere" in capsys.readouterr().err


def test_a_failed_run_is_named_with_its_data_set(capsys, monkeypatch, prepared):
    row = {"model": "gla", "d_model": 16, "lr": 0.001, "dataset": "image", "status": "failed"}
    rows = Swept([{**row, "error": "RuntimeError: no luck"}], 1)
    for name in ("print_rows", "write_table", "write_plot"):
        monkeypatch.setattr(sweeps, name, lambda *_: [])
    monkeypatch.setattr(sweeps, "sweep", lambda *_, **__: rows)
    assert main([*TINY, "--model", "gla"]) == 1
    assert "failed: gla d16 lr 0.001 image: RuntimeError: no luck" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["listops", "retrieval-newsgroups", "image"])
def test_an_estimate_counts_batches_validations_and_the_test(monkeypatch, name):
    monkeypatch.setattr(
        lra_estimate, "time_rows", lambda config, rows, *_: (0.1 * rows, 0.01 * rows)
    )
    run = Lra(model="gla", dataset=name, d_model=16, batch=6, updates=7, evaluate_every=3)
    found = lra_estimate.estimate([run, changed(run, lr=0.5)], lambda *_: None, Execution())
    (shape,) = found.shapes
    valid, test = run.data.rows["valid"], run.data.rows["test"]
    assert (shape.runs, shape.step_seconds) == (2, pytest.approx(0.6))
    assert shape.seconds == pytest.approx(7 * 0.6 + 0.01 * (3 * valid + test))


@pytest.mark.parametrize("name", ["listops-short", "retrieval-newsgroups", "image"])
def test_made_up_rows_are_what_a_model_reads(name, monkeypatch):
    run = Lra(model="linformer", dataset=name, d_model=8, depth=1, batch=2)
    batch = lra_estimate.made_up(run, 2, lra_estimate.torch.device("cpu"))
    assert batch[0].shape[-1] == run.max_length
    assert len(batch) == (2 if run.data.pixels else 3)
    seconds = lra_estimate.time_rows(run, 2, lra_estimate.torch.device("cpu"), Execution())
    assert min(seconds) > 0


def test_expensive_runs_are_known_to_be_so():
    cheap = lra_presets.preset("quick")[0]
    pathx = lra_presets.preset("paper")[-7]
    assert (pathx.dataset, pathx.model) == ("pathx", "attention")
    assert lra.cost(pathx) > 100 * lra.cost(cheap)
    assert lra.cost(pathx) > 10 * lra.cost(changed(pathx, model="metala"))
