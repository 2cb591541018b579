"""Language models on a GPU: runs whose step is captured, and generation from the state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from runners import lm_run, trained
from runners.generation import generate
from tests import gpu_cases, lm_tiny

pytestmark = pytest.mark.gpu
MODELS = ("attention", "linformer", "gla", "rwkv4", "mamba", "hgrn", "metala", "delta_net")


def run(root: Path, model: str, **fields):
    config = lm_tiny.config(root, model, d_model=64, batch=8, updates=12, lr=0.003, **fields)
    lm_tiny.made(config, root)
    return config, lm_run.run(config, data=root / "data", models=root / "models")


@pytest.mark.parametrize("model", MODELS)
def test_a_captured_run_learns_as_one_on_a_cpu(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, row = run(tmp_path, model)
    assert (row["status"], row["steps"], row["step_form"]) == ("ok", 12, "cuda graph")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    host = lm_run.run(config, data=tmp_path / "data")
    # Two forms of a scan that round differently end within 1e-8 of each other on a CPU, after the
    # same updates; a GPU rounds differently in every sum, so a thousand times that is allowed.
    assert row["value"] == pytest.approx(host["value"], rel=1e-5)
    assert row["state_bytes"] == host["state_bytes"]


@pytest.mark.parametrize("fields", [{"precision": "bf16"}, {"accumulate": 2}, {"dropout": 0.1}])
def test_every_form_of_a_run_is_captured(fields, tmp_path: Path) -> None:
    _, row = run(tmp_path, "metala", **fields)
    assert (row["status"], row["step_form"]) == ("ok", "cuda graph")
    assert row["value"] < 6.5  # 8 for a blind guess; 5.5 on a CPU


@pytest.mark.parametrize("model", MODELS)
def test_generation_is_the_same_as_on_a_cpu(model: str, tmp_path: Path) -> None:
    _, row = run(tmp_path, model)
    found = trained.load(tmp_path / "models" / row["key"])
    prompt = found.tokeniser.encode("The sea ")
    on_cpu = list(generate(found.model.double(), prompt, tokens=24))
    on_gpu = list(generate(found.model.to(gpu_cases.DEVICE), prompt, tokens=24))
    assert on_gpu == on_cpu
