"""The head's loss: in chunks as in one piece, alone as stacked, in float32 as under autocast."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from runners import head_loss

ROWS, VOCABULARY, WIDTH = 37, 11, 8


@pytest.fixture
def chunks(monkeypatch):
    """Logits at once -> the function now works in such chunks."""

    def of(logits: int) -> None:
        monkeypatch.setattr(head_loss, "PLAIN", {"cpu": 0})
        monkeypatch.setattr(head_loss, "CHUNK", {"cpu": logits})

    return of


def drawn(*models: int, dtype: torch.dtype = torch.float64) -> tuple[Any, Any, Any]:
    """hidden, weight and targets, with a first axis of models if asked."""
    hidden = torch.randn(*models, ROWS, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(*models, VOCABULARY, WIDTH, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(VOCABULARY, (ROWS,))


@pytest.mark.parametrize("logits", [1, 100, 10**6])
def test_chunked_head_equals_the_plain_one(chunks, logits):
    hidden, weight, targets = drawn()
    plain = 2 * F.cross_entropy(hidden @ weight.t(), targets)
    chunks(logits)
    ours = 2 * head_loss.head_loss(hidden, weight, targets)
    assert ours.item() == pytest.approx(plain.item(), rel=1e-14)
    pairs = (torch.autograd.grad(loss, (hidden, weight)) for loss in (ours, plain))
    for a, b in zip(*pairs, strict=True):
        assert (a - b).norm() <= 1e-14 * b.norm()


def test_its_gradients_are_those_of_finite_differences(chunks):
    chunks(100)
    hidden, weight, targets = drawn()
    assert torch.autograd.gradcheck(
        lambda h, w: head_loss.head_loss(h, w, targets), (hidden, weight)
    )


def test_chunked_head_survives_a_hopeless_row(chunks):
    chunks(1)
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    loss = head_loss.head_loss(hidden, torch.tensor([[1.0], [-1.0]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(2000)


@pytest.mark.parametrize("logits", [1, 2 * ROWS * VOCABULARY, 10**6])
def test_stacked_heads_are_those_of_each_model(chunks, logits):
    chunks(logits)
    hidden, weight, targets = drawn(3)
    factors = torch.arange(1.0, 4.0, dtype=torch.float64)
    together = vmap(lambda h, w: head_loss.head_loss(h, w, targets))(hidden, weight)  # m
    ours = torch.autograd.grad((factors * together).sum(), (hidden, weight))
    for i in range(3):
        own = (hidden[i].detach().requires_grad_(), weight[i].detach().requires_grad_())
        alone = head_loss.head_loss(*own, targets)
        assert together[i].item() == pytest.approx(alone.item(), rel=1e-14)
        for a, b in zip(ours, torch.autograd.grad(factors[i] * alone, own), strict=True):
            assert (a[i] - b).norm() <= 1e-14 * b.norm()


def test_targets_and_weight_may_be_mapped_or_shared(chunks):
    chunks(100)
    hidden, weight, _ = (x.detach() for x in drawn(3))
    targets = torch.randint(VOCABULARY, (3, ROWS))
    slopes = grad(head_loss.head_loss, argnums=1)
    ours = vmap(slopes, in_dims=(0, None, 0))(hidden, weight[0], targets)
    for i in range(3):
        alone = slopes(hidden[i], weight[0], targets[i])
        assert (ours[i] - alone).norm() <= 1e-14 * alone.norm()


@pytest.mark.parametrize("of_hidden", [torch.float32, torch.bfloat16])
def test_under_autocast_only_products_are_rounded(chunks, of_hidden):
    hidden, weight, targets = (x.detach() for x in drawn(dtype=torch.float32))
    results = []
    for logits in (0, 100):
        if logits:
            chunks(logits)
        h, w = hidden.to(of_hidden).requires_grad_(), weight.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = head_loss.head_loss(h, w, targets)
        loss.backward()
        assert (loss.dtype, h.grad.dtype, w.grad.dtype) == (torch.float32, of_hidden, torch.float32)
        results.append((loss.item(), h.grad.float(), w.grad))
    plain, ours = results
    # The same rounded logits, summed in another order in float32.
    assert ours[0] == pytest.approx(plain[0], rel=1e-6)
    for a, b in zip(ours[1:], plain[1:], strict=True):
        # Logits' gradients and products are each rounded to 8 bits, before or after dividing by n.
        assert (a - b).norm() <= 2 * 2**-8 * b.norm()


def test_many_chunks_are_added_up_in_float32(chunks):
    chunks(1)
    hidden = torch.randn(1, WIDTH).bfloat16()
    weight = torch.randn(VOCABULARY, WIDTH, requires_grad=True)
    slopes = []
    for rows in (1, 1000):  # equal ones: after 256 of them a sum in bfloat16 would stand still
        with torch.autocast("cpu", dtype=torch.bfloat16):
            same = hidden.expand(rows, -1), weight, torch.zeros(rows, dtype=torch.int64)
            loss = head_loss.head_loss(*same)
        slopes += torch.autograd.grad(loss, weight)
    # 1000 roundings of a sum in float32.
    assert (slopes[1] - slopes[0]).norm() <= 1000 * 2**-24 * slopes[0].norm()


@pytest.mark.gpu
def test_on_a_gpu_the_chunked_head_repeats_itself_bit_by_bit(monkeypatch):
    monkeypatch.setattr(head_loss, "PLAIN", {"cuda": 0})
    monkeypatch.setattr(head_loss, "CHUNK", {"cuda": 2**16})
    hidden = torch.randn(512, 64, device="cuda", requires_grad=True)
    weight = torch.randn(2048, 64, device="cuda", requires_grad=True)
    targets = torch.randint(2048, (512,), device="cuda")
    first, *others = (
        torch.autograd.grad(head_loss.head_loss(hidden, weight, targets), (hidden, weight))
        for _ in range(20)
    )
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))
