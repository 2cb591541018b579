"""The fused short convolution against float64: values and gradients by name, streams, vmap."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.scan_cases import Tensors, assert_near
from zoo import convolution, maps
from zoo.spec import Dims, Stream

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ACTIVATIONS = {"none": maps.ACTIVATIONS["none"], "silu": F.silu, "relu": F.relu, "gelu": F.gelu}
DIMS = Dims(d=6, d_u=6, heads=2, d_k=3, d_v=3)
activations = pytest.mark.parametrize("activation", ACTIVATIONS)


def example(kernel: int, t: int, d: int, *, tail: bool = False, bias: bool = False) -> Tensors:
    """float32 values, two rows."""
    x = {"u": torch.randn(2, t, d), "weight": torch.randn(d, kernel)}
    x |= {"tail": torch.randn(2, kernel - 1, d)} if tail and kernel > 1 else {}
    x |= {"bias": torch.randn(d)} if bias else {}
    return {name: y.to(DEVICE) for name, y in x.items()}


def by_kernel(x: Tensors, activation: str) -> Tensor:
    return convolution.fused(x["u"], x.get("tail"), x["weight"], x.get("bias"), activation)


def by_torch(x: Tensors, activation: str) -> Tensor:
    kernel, d = x["weight"].shape[1], x["u"].shape[2]
    tail = x.get("tail", x["u"].new_zeros(2, kernel - 1, d))
    full = torch.cat([tail, x["u"]], dim=1).mT  # b d t
    y = F.conv1d(full, x["weight"].unsqueeze(1), x.get("bias"), groups=d).mT
    return ACTIVATIONS[activation](y)


def gradients(apply, x: Tensors, activation: str) -> Tensors:
    """y and the gradient of a random sum of it, by name."""
    x = {name: y.detach().requires_grad_() for name, y in x.items()}
    y = apply(x, activation)
    torch.manual_seed(1)
    weights = torch.randn(y.shape).to(y)
    found = torch.autograd.grad(y, list(x.values()), weights)
    return {"y": y.detach()} | {f"d{name}": g for name, g in zip(x, found, strict=True)}


def assert_as_float64(x: Tensors, activation: str) -> None:
    """A weight's gradient sums the rows' tokens, each rounded, and the taps and activation 20 more,
    all the same way at worst."""
    terms = 20 + x["u"].shape[0] * x["u"].shape[1]
    exact = gradients(by_torch, {name: y.double() for name, y in x.items()}, activation)
    rounding = terms * torch.finfo(torch.float32).eps / 2
    assert_near(gradients(by_kernel, x, activation), exact, rounding=rounding, dropped=0.0)


@activations
@pytest.mark.parametrize("tail", [False, True], ids=["start", "tail"])
@pytest.mark.parametrize("t", [1, 2, 65])
@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_values_and_gradients_are_those_of_float64(kernel, t, tail, activation):
    assert_as_float64(example(kernel, t, 17, tail=tail, bias=tail or kernel == 2), activation)


@pytest.mark.parametrize(("kernel", "d"), [(4, 1), (3, 33), (8, 64), (5, 130)])
def test_any_width_and_up_to_eight_taps(kernel, d):
    assert_as_float64(example(kernel, 40, d, tail=True, bias=True), "silu")


@activations
def test_large_sums_neither_overflow_nor_lose_their_gradient(activation):
    x = example(2, 9, 3)
    x["u"] = 300 * x["u"]
    assert_as_float64(x, activation)


def test_a_slice_of_a_wider_stream_is_read_where_it_lies():
    wide = torch.randn(2, 9, 40, device=DEVICE)
    x = example(4, 9, 16) | {"u": wide[:, :, 8:24]}
    expected = by_kernel(x | {"u": x["u"].contiguous()}, "silu")
    assert not x["u"].is_contiguous()
    assert torch.equal(by_kernel(x, "silu"), expected)
    assert_as_float64(x, "silu")


def test_a_gradient_that_is_one_number_everywhere_is_read_right():
    x = {name: y.requires_grad_() for name, y in example(4, 9, 5, tail=True).items()}
    y = by_kernel(x, "silu")
    expanded = torch.ones(1, 1, 1, device=DEVICE).expand_as(y)  # what .sum() hands back
    both = (
        torch.autograd.grad(y, list(x.values()), w, retain_graph=True)
        for w in (expanded, 1 * expanded)
    )
    assert all(torch.equal(*pair) for pair in zip(*both))


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_the_result_has_the_dtype_of_the_layer(weights):
    u = torch.randn(2, 9, 6, device=DEVICE).bfloat16().requires_grad_()
    module = maps.ShortConv(6, 4, "silu", bias=True).to(DEVICE, weights)
    plain = convolution.convolved(Stream(u), module, u, module.weight, module.bias, F.silu)
    y = convolution.fused(u, None, module.weight, module.bias, "silu")
    assert y.dtype == plain.dtype == torch.bfloat16
    # Where the weights are bfloat16, too, the plain form rounds the products and every sum to it;
    # otherwise both round the result, in the worst case to neighbours.
    roundings = 4 if weights == torch.bfloat16 else 1
    tolerance = roundings * torch.finfo(torch.bfloat16).eps
    torch.testing.assert_close(y, plain, rtol=tolerance, atol=tolerance)
    tensors = [u, module.weight, module.bias]
    found = torch.autograd.grad(y.float().sum(), tensors)
    assert [g.dtype for g in found] == [torch.bfloat16, weights, weights]


@pytest.mark.parametrize("mapped", ["u weight bias", "weight", "u"])
def test_vmap_of_gradients_equals_one_by_one(mapped):
    x = example(3, 5, 4, tail=True, bias=True)
    members = [example(3, 5, 4, tail=True, bias=True) for _ in range(3)]
    stacks = {
        name: torch.stack([member[name] for member in members]) if name in mapped.split() else y
        for name, y in x.items()
    }
    each = torch.func.grad(lambda x: by_kernel(x, "silu").square().sum())
    dims = {name: 0 if name in mapped.split() else None for name in x}
    found = torch.func.vmap(each, in_dims=(dims,))(stacks)
    for i in range(3):
        one = each({name: y[i] if dims[name] == 0 else y for name, y in stacks.items()})
        for name, y in one.items():
            torch.testing.assert_close(found[name][i], y, msg=name)


def through(module: nn.Module, x: Tensor, cuts: list[int]) -> tuple[Tensor, Tensor]:
    """The module over segments that end at cuts, and the tail it leaves."""
    memory, segments = {}, []
    for part in x.tensor_split(cuts, dim=1):
        s = Stream(part, memory=memory)
        segments.append(module(s))
        memory = s.kept
    (tail,) = memory.values()
    return torch.cat(segments, dim=1), tail


@pytest.mark.parametrize("cuts", [[], [5], [1, 2, 3], [1, 6]], ids=str)
@pytest.mark.parametrize("kind", ["short", "short-tanh", "convolved"])
def test_segments_hand_their_last_tokens_on(kind, cuts, monkeypatch):
    if kind == "convolved":
        module = maps.convolved(maps.linear("q"), 4, "silu")(DIMS)
    else:
        module = maps.ShortConv(6, 4, "tanh" if kind == "short-tanh" else "silu", bias=True)
    module, x = module.to(DEVICE), torch.randn(2, 9, 6, device=DEVICE)
    monkeypatch.setattr(convolution, "refuses", lambda u, weight: "not now")
    expected = through(module, x, [])
    monkeypatch.setattr(convolution, "refuses", lambda u, weight: "")
    torch.testing.assert_close(through(module, x, cuts), expected)


def test_a_sequence_shorter_than_the_taps_keeps_zeros_before_it():
    x, s = torch.randn(2, 1, 6), Stream(torch.zeros(2, 1, 6))
    assert convolution.preceding(s, maps.ShortConv(6, 4, "none", bias=False), x, 3) is None
    assert torch.equal(s.kept["ShortConv"], F.pad(x, (0, 0, 2, 0)))


def test_a_cpu_takes_the_plain_form_and_says_why():
    u, weight = torch.zeros(1, 2, 3), torch.zeros(3, 4)
    assert convolution.choose(u, weight) == "torch"
    assert "needs an NVIDIA GPU" in convolution.refuses(u, weight)
    assert "8 taps at most, not 9" in convolution.refuses(u, torch.zeros(3, 9))


@pytest.mark.gpu
def test_a_gpu_takes_the_kernel():
    u, weight = torch.zeros(1, 2, 3, device="cuda"), torch.zeros(3, 4, device="cuda")
    assert convolution.choose(u, weight) == "triton"
    assert convolution.choose(u.bfloat16(), weight) == "triton"
    assert "float64" in convolution.refuses(u.double(), weight)


@pytest.mark.gpu
@activations
def test_bfloat16_on_a_gpu_errs_no_more_than_the_plain_form(activation):
    x = example(4, 300, 70, tail=True, bias=True)
    x = {name: y.bfloat16() if name in ("u", "tail") else y for name, y in x.items()}
    exact = gradients(by_torch, {name: y.double() for name, y in x.items()}, activation)

    def plain(x: Tensors, activation: str) -> Tensor:
        module = maps.ShortConv(70, 4, "none", bias=True)
        s = Stream(x["u"], memory={"ShortConv": x["tail"]})
        full = s.past(module, x["u"], 3)
        y = sum(full[:, j : j + 300] * x["weight"][:, j] for j in range(4)) + x["bias"]
        return ACTIVATIONS[activation](y)

    got, other = (gradients(apply, x, activation) for apply in (by_kernel, plain))
    for name, y in exact.items():
        error, allowed = ((z[name].double() - y).norm().item() for z in (got, other))
        # Below that it is float32, rounded once for each of the 300 tokens of a sum.
        least = 300 * torch.finfo(torch.float32).eps / 2 * y.norm().item()
        assert error <= 2 * allowed + least, name


@pytest.mark.gpu
def test_fifty_repeats_on_a_gpu_are_equal_to_the_last_bit():
    x = example(4, 300, 70, tail=True, bias=True)
    first = gradients(by_kernel, x, "silu")
    for _ in range(50):
        again = gradients(by_kernel, x, "silu")
        assert all(torch.equal(again[name], y) for name, y in first.items())
