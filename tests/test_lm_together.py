"""Processes that train one model together do what one does, and survive what one survives."""

import importlib.util
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.utils._pytree import tree_map

from results.store import Store
from runners import lm_probes, lm_run, trained
from runners.cli import main
from runners.together import Together, seed_of
from runners.together_shards import hide, show
from tests import keeping, lm_tiny, lm_together
from tests.lm_together import AT, MODELS, STRATEGIES
from tests.test_lm_run import lasting

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="needs accelerate"
)
MADE = [(strategy, model) for strategy in STRATEGIES for model in MODELS[strategy]]
TIMEOUT = 120  # seconds


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """What `lm_together.py cases` leaves."""
    root = tmp_path_factory.mktemp("together")
    lm_tiny.made(lm_together.config(root), root)
    process = lm_together.start("cases", root)
    said, _ = ended(process)
    assert process.returncode == 0, said
    assert "Warning" not in said, said
    return root


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lm_probes, "probe", lambda *_, **__: {})


def ended(process):
    """What it said. One that hangs takes its processes with it."""
    try:
        return process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        raise


def row(root, name, rank=0):
    return json.loads((root / f"{name}.{rank}.json").read_text())


def weights(folder):
    (kept,) = folder.iterdir()
    return trained.load(kept).model.state_dict()


def alone(root, model, **fields):
    """Row and weights of the same run by one process."""
    run = lm_together.config(root, model, **fields)
    models = root / "alone" / run.key
    return lm_run.run(run, data=root / "data", models=models), weights(models)


def furthest(ours, theirs):
    return max((ours[name] - x).abs().max().item() for name, x in theirs.items())


@pytest.mark.parametrize(("strategy", "model"), MADE)
def test_two_processes_train_as_one(root, strategy, model):
    ours, (theirs, expected) = row(root, f"{strategy}-{model}"), alone(root, model)
    for name in ("curve_loss", "curve_valid", "value", "value_nats"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6)
    assert ours["key"] == theirs["key"]
    assert (ours["processes"], ours["strategy"], ours["step_form"]) == (2, strategy, "eager")
    assert ours["test_bytes"] == theirs["test_bytes"]
    # One process that adds its gradients up in another order is as far away, give or take.
    reordered = alone(root, model, accumulate=4)[1]
    found = weights(root / f"{strategy}-{model}")
    assert furthest(found, expected) <= 4 * furthest(reordered, expected)


def test_layers_share_one_dict_whatever_is_copied_on_the_way():
    shared = {"v_first": torch.ones(1)}
    sent = hide(torch.nn.Identity(), (None, None, 0, shared))
    copied = tree_map(lambda x: x, sent)
    assert show(torch.nn.Identity(), copied)[-1] is shared


def test_these_runs_are_clipped(root):
    kept, free = (alone(root, "metala", clip=clip)[1] for clip in (0.1, 0.0))
    assert furthest(kept, free) > 1e-4


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_process_alone_that_diverges_is_seen_by_all(root, strategy):
    rows = [row(root, f"{strategy}-diverged", rank) for rank in range(2)]
    assert [found["status"] for found in rows] == ["diverged"] * 2
    assert all("loss nan at update 2" in found["error"] for found in rows)
    assert not (root / f"{strategy}-diverged").exists()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(root, strategy):
    ours, whole = row(root, f"{strategy}-resumed"), row(root, f"{strategy}-whole")
    assert (ours["resumed"], ours["resumed_notes"]) == (1, "")
    assert lasting(ours) == lasting(whole)
    found, expected = (weights(root / f"{strategy}-{name}") for name in ("resumed", "whole"))
    assert all(torch.equal(found[name], x) for name, x in expected.items())


def test_dropout_differs_between_processes(root):
    (path,) = (root / "moved" / "ddp").rglob(f"{AT:010d}.safetensors")
    states = safetensors.torch.load_file(path)
    assert not torch.equal(states["generator.0"], states["generator_of_1.0"])
    assert seed_of(0, 1) != seed_of(1, 1) != seed_of(1, 2)


def test_another_strategy_goes_on_and_says_so(root):
    ours = row(root, "moved")
    assert ours["resumed_notes"] == f"strategy ddp until update {AT}, then fsdp"
    assert ours["curve_loss"] == pytest.approx(row(root, "ddp-metala")["curve_loss"], rel=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_process_goes_on_where_two_were(root, strategy, tmp_path):
    run, kept = lm_together.config(root), tmp_path / "kept"
    shutil.copytree(root / "moved" / strategy, kept)
    ours = lm_run.run(run, data=root / "data", checkpoints=kept)
    theirs = alone(root, "metala")[0]
    assert ours["resumed_notes"] == (
        f"processes 2 until update {AT}, then 1; strategy {strategy} until update {AT}, then none"
    )
    assert ours["curve_loss"] == pytest.approx(theirs["curve_loss"], rel=1e-6)


@pytest.fixture
def own(tmp_path):
    """A place for a sweep of its own."""
    lm_tiny.made(lm_together.config(tmp_path), tmp_path)
    return tmp_path


def rows_of(root):
    return {found["key"]: found for found in Store(root / "out").read("lm")}


def test_a_run_that_fails_for_one_process_ends_them_all_with_a_row(own):
    process = lm_together.start("sweep", own, "ddp", "alone")
    said, _ = ended(process)
    assert process.returncode != 0
    assert "seven is not eight" in said
    assert [found["status"] for found in rows_of(own).values()] == ["failed"]


def read_until(lines, words):
    while words not in (line := lines.readline()):
        assert line, "it ended by itself"


FLAGS = (
    "--model metala --seq-len 32 --batch 4 --updates 12 --evaluate-every 1 --d-model 32 --depth 2"
    " --accumulate 2 --clip 0.1 --lr 0.003 --dropout 0.1 --warmup 2 --seed 0 1 --strategy fsdp"
)


def test_after_sigterm_the_same_command_does_the_rest(own):
    """The first run of two is cut off in the middle; before it, one fails for both processes."""
    process = lm_together.start("sweep", own, "fsdp", "slow")
    for _ in range(9):
        read_until(process.stdout, "part")
    process.send_signal(signal.SIGTERM)
    said, _ = ended(process)
    assert "stopped by SIGTERM: 0 of 2 runs are done" in said
    assert [(own / f"code.{rank}").read_text() for rank in range(2)] == ["143", "143"]
    (failed,) = rows_of(own).values()
    assert "batch 5 is not divisible by 2 processes; type --batch 4 or 6" in failed["error"]

    places = f"--corpus {own / 'texts'} --data {own / 'data'} --out {own / 'out'}"
    command = [sys.executable, "-m", "runners.cli", *shlex.split(f"lm {FLAGS} {places}")]
    again = lm_together.torchrun(command, stderr=subprocess.PIPE)
    out, err = ended(again)
    assert again.returncode == 0, err
    assert out.count("bits per byte  token ppl") == 1  # of one process
    rows = [rows_of(own)[key] for key in rows_of(own) if key != failed["key"]]
    assert sorted((row["seed"], row["resumed"], row["status"]) for row in rows) == [
        (0, 1, "ok"),
        (1, 0, "ok"),
    ]
    assert {(row["strategy"], row["processes"]) for row in rows} == {("fsdp", 2)}
    assert not any((own / "out" / "checkpoints").iterdir())


@pytest.fixture
def first_of_two(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)


REFUSED = [
    ("mqar --model gla", "torchrun is for lazoo lm"),
    ("lm --model gla --batch 5", "batch 5 is not divisible by 2 processes; type --batch 4 or 6"),
    ("lm --model gla --timeout 5", "timeout is for one process"),
    ("lm --model gla --compile", "leave out --compile, or torchrun"),
]


@pytest.mark.parametrize(("line", "words"), REFUSED)
def test_what_processes_cannot_do_together_is_refused(first_of_two, capsys, line, words):
    assert main(line.split()) == 2
    assert words in capsys.readouterr().err


def test_without_accelerate_it_says_what_to_install(first_of_two, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["lm", "--model", "gla"]) == 2
    assert "pip install 'linear-attention-zoo[lm]'" in capsys.readouterr().err


def test_the_others_say_nothing(first_of_two, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["lm", "--model", "gla", "--dry-run"]) == 0
    assert main(["lm", "--help"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shares_are_the_batch_whatever_their_number(size):
    class Of:
        def __init__(self, rank):
            self.size, self.rank = size, rank

    rows, odd = np.arange(12), np.arange(7)
    shares = [Together.share(Of(rank), rows) for rank in range(size)]  # pyright: ignore[reportArgumentType]
    assert np.concatenate(shares).tolist() == rows.tolist()
    assert {len(share) for share in shares} == {12 // size}
    unequal = [Together.share_unequal(Of(rank), odd) for rank in range(size)]  # pyright: ignore[reportArgumentType]
    assert np.concatenate(unequal).tolist() == odd.tolist()


def drive(root, seconds):
    """A sweep by one process, once its run is at work that it takes long to keep."""
    process = subprocess.Popen(
        [sys.executable, "-P", keeping.__file__, "drive", str(root), str(seconds)],
        env={"PYTHONPATH": str(lm_together.ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not (root / "begun").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return process


def test_a_local_sweep_waits_for_a_checkpoint_that_takes_long(tmp_path):
    process = drive(tmp_path, 4)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert (tmp_path / "kept").exists()
    assert "a second signal ends it at once" in err


def test_a_second_signal_ends_a_local_sweep_at_once(tmp_path):
    process = drive(tmp_path, 40)
    process.send_signal(signal.SIGTERM)
    read_until(process.stderr, "a second signal")
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert time.monotonic() - begin < 5
    assert not (tmp_path / "kept").exists()
