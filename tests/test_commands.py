"""What each command prints, writes and returns."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo
from results.store import Store
from runners.cli import main
from runners.commands import check, sweeps
from runners.sweep import Swept
from tests import synthetic
from zoo.check import Certificate, Finding

ROOT = Path(__file__).parents[1]
TINY = [
    *("mqar", "--d-model", "8", "--vocabulary", "32", "--length", "16", "--pairs", "2"),
    *("--train-rows", "64", "--valid-rows", "8", "--test-rows", "8", "--batch", "8"),
    *("--updates", "4", "--evaluate-every", "2"),
]
PLUGIN = """
from dataclasses import replace
from zoo.models.linformer import SPEC as LINFORMER
SPEC = replace(LINFORMER, label="Mine")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "_plugins", {})  # those of one test are not those of the next
    return tmp_path


def test_a_switch_of_the_config_needs_no_value_and_can_be_an_axis(capsys):
    assert (
        main([*TINY, "--model", "gla", "--decay-all", "--tied", "true", "false", "--dry-run"]) == 0
    )
    assert "gla d8 lr 0.001 tied false" in capsys.readouterr().out


def test_a_dry_run_lists_and_estimates_and_trains_nothing(capsys, folder):
    assert main([*TINY, "--model", "gla", "attention", "--seed", "0", "1", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[2:4] for line in said.splitlines()[:4]] == [
        ["gla", "d8"],
        ["gla", "d8"],
        ["attention", "d8"],
        ["attention", "d8"],
    ]
    assert "4 runs, 0 stored, 4 to do" in said
    assert re.search(r"at most [\d.]+ (s|min|h) with \d+ at a time on this machine's cpu", said)
    assert not list(folder.iterdir())


def test_a_plugin_alone_is_the_model_that_runs(capsys, folder):
    (folder / "my_own.py").write_text(PLUGIN)
    assert main([*TINY, "--plugin", "my_own.py", "--dry-run"]) == 0
    assert "to do   my_own d8 lr 0.001" in capsys.readouterr().out


def test_a_sweep_prints_the_table_and_names_files_that_exist(capsys, folder):
    (folder / "my_own.py").write_text(PLUGIN)
    line = [*TINY, "--plugin", "my_own.py", "--jobs", "1"]
    assert main(line) == 0
    said = capsys.readouterr()
    assert "Mine" in said.out
    files = [word for word in said.out.split() if word.startswith("runs/")]
    assert {Path(file).suffix for file in files} == {".md", ".tex", ".csv", ".png", ".svg", ".pdf"}
    assert all(Path(file).stat().st_size for file in files)
    (row,) = Store("runs").read("mqar")
    assert (row["status"], row["threads"], len(row["plugin_sha256"])) == ("ok", 1, 64)
    assert "1/1 my_own d8 lr 0.001: accuracy" in said.err
    assert main(line) == 0
    assert "1 run: 1 already done, 0 to do" in capsys.readouterr().err


def test_a_failed_run_makes_exit_code_1_and_is_named(capsys, monkeypatch):
    row = synthetic.row(status="failed", value=None, valid=None, error="RuntimeError: no luck")
    monkeypatch.setattr(sweeps, "sweep", lambda *_, **__: Swept([row], 1))
    Store("runs").append(row)
    assert main([*TINY, "--model", "gla"]) == 1
    assert "failed: metala d64 lr 0.01: RuntimeError: no luck" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["table", "plot"])
def test_table_and_plot_are_made_from_rows_alone_without_torch(folder, name):
    for lr in (0.003, 0.01):
        Store("stored").append(synthetic.row(lr=lr))
    code = "import sys; from runners.cli import main; code = main(sys.argv[1:]);"
    code += "assert not {'torch', 'zoo', 'tasks'} & {*sys.modules}; sys.exit(code)"
    command = [sys.executable, "-c", code, name, "mqar", "--rows", "stored", "--out", "made"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, check=True
    )
    files = [Path(word) for word in done.stdout.split() if word.startswith("made/")]
    assert files
    assert all(file.stat().st_size for file in files)


def test_models_are_listed_and_one_is_shown_with_its_equations(capsys):
    assert main(["models"]) == 0
    assert "metala" in capsys.readouterr().out
    assert main(["models", "metala:no_aug"]) == 0
    assert "S_t = diag(α_t) S_{t-1} + k_tᵀ v_t" in capsys.readouterr().out
    assert main(["models", "metala", "--json", "--d-model", "32"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["name"], told["d_model"]) == ("metala", 32)


def test_check_prints_every_property_and_fails_with_exit_code_1(capsys, monkeypatch):
    assert main(["check", "attention", "--length", "64"]) == 0
    assert "ok      causal" in capsys.readouterr().out
    broken = Certificate("x", 32, "own", [Finding("causal", False, "leaks")], {}, 0)
    monkeypatch.setattr(check, "certificate", lambda *_, **__: broken)
    assert main(["check", "attention", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["ok"] is False


def test_doctor_names_backend_and_reasons_for_every_model(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    by_model = {each["model"]: each for each in told["backends"]}
    assert by_model["attention"]["backend"] == "sdpa"
    assert by_model["hgrn"]["backend"] == "vector"
    assert by_model["gla"]["refused"]["vector"]
    assert {fact["what"] for fact in told["facts"]} >= {"python", "torch", "GPU", "results"}


def test_doctor_lists_models_by_backend_and_explains_those_asked_for(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    main(["doctor"])
    said = capsys.readouterr().out
    assert re.search(r"^  ssm +mamba$", said, re.MULTILINE)
    assert "has no rank-one erase" not in said
    main(["doctor", "delta_net"])
    assert "matrix: has no rank-one erase, which the delta rule needs" in capsys.readouterr().out
    assert main(["doctor", "deltanet"]) == 2


def test_doctor_finds_a_folder_that_cannot_be_written(capsys):
    Path("file").write_text("")
    assert main(["doctor", "--out", "file/runs"]) == 1
    assert "--out" in capsys.readouterr().out


def test_bench_times_a_step(capsys):
    shape = ("--d-model", "8", "--length", "16", "--pairs", "2", "--batch", "4")
    assert main(["bench", "step", "attention", *shape, "--steps", "2", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["step_seconds"] > 0
    assert told["tokens_per_second"] == pytest.approx(64 / told["step_seconds"])


def test_bench_times_the_operator_beside_loops(capsys):
    assert main(["bench", "op", "ssm-quick", "--repeats", "1", "--seconds", "0"]) == 0
    said = capsys.readouterr().out
    assert "loop, unbind" in said
    assert "ssm-quick: b 32, t 32" in said
