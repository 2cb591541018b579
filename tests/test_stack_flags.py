"""Flags that say how runs are executed: what they refuse, what they pass on, what they leave."""

import re

import pytest

from results.store import Store
from runners.cli import main
from runners.commands import sweeps
from runners.execution import Execution
from runners.sweep import Swept

TINY = [
    *("mqar", "--d-model", "8", "--vocabulary", "32", "--length", "16", "--pairs", "2"),
    *("--train-rows", "64", "--valid-rows", "8", "--test-rows", "8", "--batch", "8"),
    *("--updates", "4", "--evaluate-every", "2", "--lr", "0.001", "0.01", "--seed", "0", "1"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ("--stack 0", "stack 0 trains nothing; type --stack 1"),
        ("--stack -3", "stack -3 trains nothing; type --stack 1"),
        ("--stack 2 --compile", "leave out --compile, or type --stack 1"),
    ],
)
def test_an_execution_that_cannot_be_is_refused(capsys, flags, hint):
    assert main([*TINY, "--model", "gla", *flags.split()]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "execution"),
    [
        ("", Execution(stack=1, graph=True, compile=False)),
        ("--stack 3 --no-graph", Execution(stack=3, graph=False, compile=False)),
        ("--compile", Execution(stack=1, graph=True, compile=True)),
    ],
)
def test_flags_of_execution_reach_the_sweep(monkeypatch, flags, execution):
    told = {}
    monkeypatch.setattr(sweeps, "report", lambda *_: 0)
    monkeypatch.setattr(sweeps, "sweep", lambda *_, **given: told.update(given) or Swept([], 0))
    assert main([*TINY, "--model", "gla", *flags.split()]) == 0
    assert told["execution"] == execution


def test_a_dry_run_says_how_runs_are_grouped(capsys):
    assert main([*TINY, "--model", "gla", "linformer", "--stack", "3", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "--stack 3 makes 4 groups: 2 of 1 run, 2 of 3 runs" in said


def test_a_dry_run_lets_no_group_end_before_the_runs_in_it(capsys):
    bounds = []
    for flags in (["--jobs", "1"], ["--jobs", "4", "--stack", "4"]):
        assert main([*TINY, "--model", "gla", "--updates", "900", *flags, "--dry-run"]) == 0
        found = re.search(r"at most ([\d.]+) (s|min) with", capsys.readouterr().out)
        assert found
        bounds.append(float(found[1]) * {"s": 1, "min": 60}[found[2]])
    # Equal but for the noise of two timings; four at a time would be a quarter.
    assert bounds[1] > bounds[0] / 2


def test_stacked_runs_have_the_keys_of_single_ones(capsys, monkeypatch):
    monkeypatch.setattr(sweeps, "report", lambda *_: 0)
    assert main([*TINY, "--model", "gla", "--stack", "4", "--jobs", "1"]) == 0
    said = capsys.readouterr().err
    assert "4 runs: 4 to do in 1 group, 1 at a time" in said
    rows = Store("runs").read("mqar")
    assert [(row["status"], row["stacked"], row["steps"]) for row in rows] == [("ok", 4, 4)] * 4
    assert main([*TINY, "--model", "gla"]) == 0
    assert "4 runs: 4 already done, 0 to do" in capsys.readouterr().err
