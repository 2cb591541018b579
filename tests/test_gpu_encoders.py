"""Every model as a bidirectional classifier of padded rows on a GPU, against float64; one run."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import tasks.lra
import zoo
from runners import lra_run
from tests import gpu_cases, lra_tiny
from tests.gpu_bounds import beyond, errors
from tests.scan_cases import Tensors
from tests.test_gpu_models import allowed
from zoo.encoder import Encoder

pytestmark = pytest.mark.gpu
LENGTHS, VOCABULARY = (70, 33, 1), 64


def encoder(name: str) -> Encoder:
    torch.manual_seed(0)
    return Encoder(
        zoo.load(name),
        inputs="tokens",
        vocabulary=VOCABULARY,
        classes=5,
        documents=1,
        max_length=max(LENGTHS),
        d_model=64,
        depth=2,
        channel_mixer="swiglu",
    ).eval()


def trained(net: Encoder) -> Tensors:
    """Logits, and the gradient of a cross-entropy to every parameter, by name."""
    device = net.embedding.weight.device
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, VOCABULARY, (len(LENGTHS), max(LENGTHS)), generator=generator)
    logits = net(x.to(device), torch.tensor(LENGTHS, device=device))
    F.cross_entropy(logits, torch.arange(len(LENGTHS), device=device)).backward()
    found = {"logits": logits.detach()}
    found |= {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    return {name: y.double().cpu() for name, y in found.items()}


@pytest.mark.parametrize("name", zoo.names())
def test_both_directions_on_a_gpu_are_those_of_float64(name: str) -> None:
    net = encoder(name)
    reference = trained(copy.deepcopy(net).double())
    error = errors(trained(copy.deepcopy(net)), reference)
    found = errors(trained(copy.deepcopy(net).to(gpu_cases.DEVICE)), reference)
    wrong = beyond(found, allowed(reference, error), name)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dataset", ["listops", "pathfinder"])
def test_a_run_on_a_gpu_captures_its_step(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.lra, "DATASETS", dict(tasks.lra.DATASETS))
    lra_tiny.made(dataset, tmp_path)
    config = lra_tiny.config(dataset, "metala", norm="batch", updates=12)
    row = lra_run.run(config, data=tmp_path)
    assert (row["status"], row["steps"], row["step_form"]) == ("ok", 12, "cuda graph")
