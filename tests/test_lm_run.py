"""run(config) -> row of a language model: columns, equality after kills, what goes wrong."""

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from runners import lm, lm_outcome, lm_run, trained
from runners.engines.recipes import RECIPES
from runners.execution import Execution
from runners.grids import changed
from runners.sweep import sweep
from tasks.lm.data import MissingData
from tests import lm_tiny
from zoo.model import Model

ROOT = Path(__file__).parents[1]
# What differs between two runs that are the same.
OF_THE_MOMENT = (
    *("seconds", "step_seconds", "tokens_per_second", "peak_memory_bytes", "time", "git"),
    *("resumed", "resumed_notes"),
)


def lasting(row):
    return {name: value for name, value in row.items() if name not in OF_THE_MOMENT}


@pytest.fixture
def quick(monkeypatch):
    """Probes take longer than a tiny training."""
    monkeypatch.setattr(lm_outcome.lm_probes, "probe", lambda *_, **__: {})


def run(root: Path, **fields):
    """The row of a tiny run whose tokens are prepared first."""
    config = lm_tiny.config(root, **fields)
    lm_tiny.made(config, root)
    return lm_run.run(config, data=root / "data", models=root / "models")


def test_a_row_has_every_column_and_its_numbers_agree(tmp_path):
    row = run(tmp_path, updates=4, evaluate_every=2)
    blank = RECIPES["lm"].blank(lm_tiny.config(tmp_path, updates=4, evaluate_every=2), "")
    assert set(row) - set(blank) == {"peak_memory_bytes", "peak_memory_kind"}
    assert (row["status"], row["stop"], row["steps"]) == ("ok", "budget", 4)
    assert row["curve_steps"] == [2, 4]
    assert row["higher_is_better"] is False
    # Bytes: one for each token.
    assert row["value"] == pytest.approx(row["value_nats"] / math.log(2))
    assert row["token_perplexity"] == pytest.approx(math.exp(row["value_nats"]))
    assert row["test_bytes"] == row["test_scored_tokens"]
    data = lm_tiny.made(lm_tiny.config(tmp_path), tmp_path)
    nats = row["value"] * math.log(2) * data.test.bytes
    assert row["word_perplexity"] == pytest.approx(math.exp(nats / data.test.words))
    assert row["epochs"] == pytest.approx(16 / ((len(data.train.ids) - 1) // 32))
    assert row["data_sha256"] == data.sha256
    assert json.dumps(row, allow_nan=False)


def test_the_same_config_gives_the_same_row(tmp_path, quick):
    assert lasting(run(tmp_path)) == lasting(run(tmp_path))


def test_training_learns_the_text(tmp_path, quick):
    row = run(tmp_path, model="metala", updates=60, lr=0.02, batch=8, evaluate_every=30)
    assert row["value"] < row["baselines"]["unigram"] - 0.5
    assert row["value"] == pytest.approx(row["valid"], rel=0.1)
    assert row["curve_valid"][-1] < row["curve_valid"][0]


def test_the_test_split_is_looked_at_once_and_last(tmp_path, quick, monkeypatch):
    looked, real = [], lm.score

    def told(model, config, tokens, *rest, **options):
        looked.append(len(tokens.ids))
        return real(model, config, tokens, *rest, **options)

    monkeypatch.setattr(lm, "score", told)
    run(tmp_path, updates=4, evaluate_every=2)
    data = lm_tiny.made(lm_tiny.config(tmp_path), tmp_path)
    assert looked == [len(data.valid.ids)] * 2 + [len(data.test.ids)]


def test_bfloat16_runs_under_autocast(tmp_path, quick):
    assert run(tmp_path, precision="bf16")["value"] == pytest.approx(
        run(tmp_path)["value"], rel=0.02
    )


def test_only_a_part_is_scored_where_that_is_asked(tmp_path, quick):
    row = run(tmp_path, test_tokens=40)
    assert row["test_scored_tokens"] == 2 * 32


def test_the_trained_model_scores_as_its_row_says(tmp_path, quick):
    row = run(tmp_path, updates=3)
    assert row["model_folder"] == row["key"]
    found = trained.load(tmp_path / "models" / row["key"])
    config = lm_tiny.config(tmp_path, updates=3)
    data = lm_tiny.made(config, tmp_path)
    again = lm.score(found.model.eval(), config, data.test, found.tokeniser.token_bytes, 0)
    assert again.bits_per_byte == row["value"]


def test_a_diverged_run_is_a_row_without_a_model(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(lm, "loss", lambda model, batch: model.head_weight.sum() * math.nan)
    row = run(tmp_path)
    assert (row["status"], row["value"], row["model_folder"]) == ("diverged", None, None)
    assert "loss nan at update 1" in row["error"]
    assert not (tmp_path / "models").exists()


def test_too_little_memory_is_a_row_that_says_what_to_type(tmp_path, quick, monkeypatch):
    def lacking(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(lm, "loss", lacking)
    row = run(tmp_path)
    assert row["status"] == "oom"
    assert "split into 4 parts; type a smaller --batch or --seq-len" in row["error"]


def test_a_full_disk_costs_the_folder_and_not_the_row(tmp_path, quick, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trained, "save", full)
    row = run(tmp_path)
    assert (row["status"], row["model_folder"]) == ("ok", "not kept: No space left on device")


def test_without_data_nothing_is_trained(tmp_path):
    with pytest.raises(MissingData, match="lazoo data lm"):
        lm_run.run(lm_tiny.config(tmp_path), data=tmp_path)


def test_a_split_without_a_window_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"valid of .* tokens, and a window needs 4,097"):
        run(tmp_path, seq_len=4096)


def run_it(root: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", lm_tiny.__file__, str(root), str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_after_two_kills_the_row_and_the_model_are_those_of_a_run_at_one_go(tmp_path):
    config = lm_tiny.resumed_run(tmp_path)
    for parts in (2 * 36, 2 * 12):  # in the second epoch, twice
        process = run_it(tmp_path, tmp_path)
        assert process.stdout is not None
        for _ in range(parts):
            assert process.stdout.readline(), "it ended before it was killed"
        process.kill()
        process.communicate()
    (*_, newest) = sorted((tmp_path / "checkpoints" / config.key).glob("*.json"))
    assert 36 < int(newest.stem) < config.updates
    last = run_it(tmp_path, tmp_path)
    last.communicate()
    assert last.returncode == 0
    row = json.loads((tmp_path / "row.json").read_text())
    assert (row["resumed"], row["resumed_notes"]) == (2, "")
    whole = lm_run.run(config, data=tmp_path / "data", models=tmp_path / "whole")
    assert lasting(row) == lasting(whole)
    ours, theirs = (
        trained.load(tmp_path / name / config.key).model.state_dict()
        for name in ("models", "whole")
    )
    assert all(torch.equal(ours[name], x) for name, x in theirs.items())


def test_a_sweep_keeps_models_and_clears_checkpoints(tmp_path, quick):
    from runners.engines import make

    config = lm_tiny.config(tmp_path)
    lm_tiny.made(config, tmp_path)
    execution = Execution(data=str(tmp_path / "data"), checkpoint_minutes=0.0)
    swept = sweep([config], tmp_path / "out", make("local", 1), execution=execution)
    (row,) = swept.rows
    assert row["status"] == "ok", row["error"]
    assert isinstance(trained.load(tmp_path / "out/models" / config.key).model, Model)
    assert not any((tmp_path / "out/checkpoints").glob("*"))


def test_other_texts_are_another_run(tmp_path):
    from tasks.lm import identity

    config = lm_tiny.config(tmp_path)
    root = tmp_path / "data"
    first = identity.of(config.corpus, "bytes", root)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text(lm_tiny.text(30_000, 7))
    assert len(first) == 16
    assert first != identity.of(str(other), "bytes", root)
    assert (
        identity.of("classics", "bpe-4096", root) == identity.of("tinystories", "bytes", root) == ""
    )
    assert changed(config, text_sha256=first).key != config.key


@pytest.mark.parametrize("tokeniser", ["bytes", "bpe-300"])
def test_bits_per_byte_do_not_depend_on_the_tokeniser(tmp_path, quick, tokeniser):
    """A model that gives every token the same probability."""
    config = lm_tiny.config(tmp_path, tokeniser=tokeniser, match="none", depth=1)
    data = lm_tiny.made(config, tmp_path)
    model = lm_run.build(config).eval()
    torch.nn.init.zeros_(model.embedding.weight)
    found = lm.score(model, config, data.test, data.tokeniser.token_bytes, 0)
    scored = np.asarray(data.test.ids[1 : 1 + 32 * lm.windows(config, data.test)])
    size = data.tokeniser.token_bytes[scored]
    expected = math.log2(config.vocabulary) * (size > 0).sum() / size.sum()
    assert found.bits_per_byte == pytest.approx(expected, rel=1e-6)
