"""zoology's training step beside ours: what it is built from, with a stand-in for the library."""

import sys
from typing import Any

import pytest
import torch

from results.store import Store
from runners import bench_zoology
from runners.bench_step import batches, zoology_step
from runners.cli import main
from runners.grids import changed

CPU = torch.device("cpu")
SMALL = "--d-model 16 --length 16 --pairs 2 --batch 4 --steps 2"
PEER = """
import torch
from torch import nn

class ModelConfig:
    def __init__(self, **fields):
        self.__dict__.update(fields)

class LanguageModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size)

    def forward(self, input_ids, return_embeddings=True):
        hidden = self.embedding(input_ids)
        return hidden if return_embeddings else self.head(hidden)
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """A stand-in for zoology with the two classes that are used of it."""
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "zoology"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("config", "model"):
        (package / f"{name}.py").write_text(PEER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoology"]:
        del sys.modules[name]


def test_a_peer_stands_beside_ours_with_the_ratio(peer, capsys):
    assert main(["bench", "step", "attention", "gla", *SMALL.split()]) == 0
    said = capsys.readouterr().out
    assert "ours/theirs" in said
    assert "Attention, zoology" in said
    found = [each for each in Store("runs").read("bench") if each["model"] == "attention"]
    ours, theirs = sorted(found, key=lambda each: each["peer"])
    assert (ours["peer"], theirs["peer"]) == ("", "zoology")
    assert theirs["ratio"] == pytest.approx(ours["median_seconds"] / theirs["median_seconds"])


def test_the_peer_learns_from_labelled_positions_alone(peer):
    config = changed(zoology_step("attention"), d_model=8, length=16, pairs=2, batch=4)
    model: Any = bench_zoology.language_model(changed(config, train_rows=32), CPU)
    step = bench_zoology.Step(model, config, batches(changed(config, train_rows=32), CPU))
    before = model.embedding.weight.clone()
    tokens, positions, targets = next(batches(changed(config, train_rows=32), CPU))
    labels = bench_zoology.labels_of(tokens, positions, targets)
    assert (labels != bench_zoology.UNLABELLED).sum() == 4 * 2
    assert torch.equal(labels.gather(1, positions), targets)
    step()
    assert not torch.equal(model.embedding.weight, before)


def test_the_peer_has_our_heads_and_features(peer):
    config = changed(zoology_step("based:one_head+features8"), d_model=128)
    hybrid = bench_zoology.mixer(config)
    _, based = hybrid["kwargs"]["configs"]
    assert (based["kwargs"]["feature_dim"], based["kwargs"]["num_heads"]) == (8, 1)
    own = bench_zoology.mixer(changed(zoology_step("attention"), d_model=128))
    assert own["kwargs"]["num_heads"] == 2
    assert "not for gla" in bench_zoology.reason(zoology_step("gla"))
