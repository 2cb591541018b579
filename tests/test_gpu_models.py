"""Every model on a GPU, in float32 and with the backends it takes there, against float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

import zoo
from tests import gpu_cases
from tests.gpu_bounds import FLOAT32, beyond, errors, rms
from tests.scan_cases import Tensors
from zoo.model import Model

pytestmark = pytest.mark.gpu
LENGTH, VOCABULARY = 70, 64
# Backends on a GPU may round this many times as coarsely as torch does on a CPU: a float32 product
# of three TF32 products has an error of 2^-21, not 2^-24, and a sum another order.
COARSER = 2 * 2**3
CHUNK = 64  # tokens, whose roundings may all have the same direction


def model(name: str) -> Model:
    torch.manual_seed(0)
    return Model(zoo.load(name), vocabulary=VOCABULARY, d_model=64, depth=2).eval()


def tokens() -> torch.Tensor:
    return torch.randint(VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(0))


def trained(net: Model) -> Tensors:
    """Logits, and the gradient of a cross-entropy to every parameter, by name."""
    device = next(net.parameters()).device
    x = tokens().to(device)
    logits, _ = net(x)
    F.cross_entropy(logits.flatten(0, 1), x.roll(-1, 1).flatten()).backward()
    parameters = {n: p for n, p in net.named_parameters() if p.grad is not None}
    found = {"logits": logits.detach()} | {n: p.grad for n, p in parameters.items()}
    return {name: y.double().cpu() for name, y in found.items() if y is not None}


def allowed(reference: Tensors, error: dict[str, float]) -> dict[str, float]:
    """What float32 on a CPU has, as much coarser as backends are: it shows how far the model lets a
    rounding grow. Beside that a chunk's roundings, of the tensor and of the largest gradient."""
    size = {name: rms(y) for name, y in reference.items()}
    largest = max(y for name, y in size.items() if name != "logits")
    return {
        name: COARSER * error[name] + FLOAT32 * (CHUNK * size[name] + largest) for name in reference
    }


@pytest.mark.parametrize("name", zoo.names())
def test_logits_and_gradients_on_a_gpu_are_those_of_float64(name: str) -> None:
    net = model(name)
    reference = trained(copy.deepcopy(net).double())
    error = errors(trained(copy.deepcopy(net)), reference)
    found = errors(trained(copy.deepcopy(net).to(gpu_cases.DEVICE)), reference)
    wrong = beyond(found, allowed(reference, error), name)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "name", [n for n in zoo.names() if "state hand-over" not in zoo.load(n).by_design]
)
def test_two_segments_on_a_gpu_give_the_logits_of_one(name: str) -> None:
    net, x, parts = model(name), tokens(), []
    with torch.no_grad():
        reference = {"logits": copy.deepcopy(net).double()(x)[0]}
        error = errors({"logits": net(x)[0]}, reference)
        net, state = net.to(gpu_cases.DEVICE), None
        for part in (x[:, :33], x[:, 33:]):
            logits, state = net(part.to(gpu_cases.DEVICE), state)
            parts.append(logits.cpu())
    bound = COARSER * error["logits"] + FLOAT32 * CHUNK * rms(reference["logits"])
    wrong = beyond(errors({"logits": torch.cat(parts, 1)}, reference), {"logits": bound}, name)
    assert not wrong, "\n".join(wrong)
