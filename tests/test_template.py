"""The template's switches one by one, each against what it stands for, written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from zoo import maps
from zoo.mixer import Mixer, divide
from zoo.scan import scan
from zoo.spec import Decay, Dims, Erase, Normaliser, Stream

GLA = zoo.load("gla")
DIMS = Dims(d=8, d_u=8, heads=2, d_k=4, d_v=4)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)  # conftest puts float32 back


def erasing(t: int, b: int = 2, h: int = 3, d_k: int = 4, d_v: int = 2) -> dict[str, Tensor]:
    torch.manual_seed(t)
    shapes = dict.fromkeys(("q", "k", "write", "read"), (b, t, h, d_k))
    x = {name: torch.randn(shape) for name, shape in shapes.items()}
    step, state = torch.rand(b, t, h, d_k), torch.randn(b, h, d_k, d_v)
    return x | {"v": torch.randn(b, t, h, d_v), "step": step, "state": state}


@pytest.mark.parametrize("read", ["after", "before"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("backend", ["loop", "parallel"])
def test_an_erase_is_the_matrix_diag_minus_write_times_read(backend, reverse, read):
    x = erasing(9)
    erase = Erase(x["write"], x["read"])
    order = {"read": read, "reverse": reverse, "backend": backend}
    decay = Decay(x["step"])
    o, end = scan(x["q"], x["k"], x["v"], decay, erase=erase, state=x["state"], **order)
    S = x["state"]
    for i in range(9)[:: -1 if reverse else 1]:
        A = torch.diag_embed(torch.exp(-x["step"][:, i]))  # b h k k
        A = A - x["write"][:, i].unsqueeze(-1) @ x["read"][:, i].unsqueeze(-2)
        past, S = S, A @ S + x["k"][:, i].unsqueeze(-1) @ x["v"][:, i].unsqueeze(-2)
        seen = S if read == "after" else past
        expected = (x["q"][:, i].unsqueeze(-2) @ seen).squeeze(-2)
        torch.testing.assert_close(o[:, i], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(end, S, rtol=1e-9, atol=1e-9)


def test_a_running_total_goes_on_where_the_last_segment_ended():
    y = torch.randn(2, 7, 3)
    first = Stream(y[:, :4])
    totals = [first.total("sum", y[:, :4])]
    second = Stream(y[:, 4:], start=4, memory=first.kept)
    totals.append(second.total("sum", y[:, 4:]))
    torch.testing.assert_close(torch.cat(totals, 1), y.cumsum(1))
    assert second.position.tolist() == [4, 5, 6]


def test_keeping_twice_in_one_step_is_a_mistake():
    s = Stream(torch.zeros(1, 2, 3))
    s.keep("a", torch.zeros(1))
    with pytest.raises(AssertionError, match="a keeps something twice"):
        s.keep("a", torch.zeros(1))


def test_a_norm_with_weights_for_each_head_is_group_norm():
    norm, o = maps.layer_norm("head", affine="each", eps=1e-3)(DIMS), torch.randn(3, 5, 2, 4)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
    expected = F.group_norm(o.flatten(2).flatten(0, 1), 2, weight, bias, eps=1e-3)
    torch.testing.assert_close(norm(o).flatten(0, 1).flatten(1), expected)


def test_a_convolved_map_is_a_convolution_of_its_own_channels():
    module, x = maps.convolved(maps.linear("q"), 3, "silu")(DIMS), torch.randn(2, 6, 8)
    y = F.linear(x, module.get_parameter("inner.weight"))
    weight = module.get_parameter("weight").unsqueeze(1)
    expected = F.silu(F.conv1d(F.pad(y.mT, (2, 0)), weight, groups=8).mT)
    torch.testing.assert_close(module(Stream(x)).flatten(2), expected)


def test_a_convolved_map_steps_aside_for_a_named_convolution():
    module = maps.convolved(maps.linear("q"), 3, "silu")(replace(DIMS, own_local=False))
    assert [name for name, _ in module.named_parameters()] == ["inner.weight"]


def test_a_part_is_a_slice_of_the_stream():
    x = torch.randn(2, 3, 8)
    got = maps.part(lambda dims: 4, "k", shared=True)(DIMS)(Stream(x))
    assert torch.equal(got, x[:, :, None, 4:])


@pytest.mark.parametrize(
    ("kind", "below"),
    [
        ("add", lambda q, z: q @ z + 0.1),
        ("clamp", lambda q, z: (q @ z).clamp(min=0.1)),
        ("add_key", lambda q, z: q @ (z + 0.1)),
    ],
)
def test_normalisers_divide_by_what_they_say(kind, below):
    q, z, o = torch.rand(4), torch.rand(4), torch.randn(3)
    got = divide(o, (q @ z)[None], q, Normaliser(kind, 0.1))
    torch.testing.assert_close(got, o / below(q, z))


class Constant(nn.Module):
    formula = "3"

    def __init__(self, dims: Dims) -> None:
        super().__init__()

    def forward(self, s: Stream) -> Tensor:
        return torch.full_like(s.v, 3.0)


@pytest.mark.parametrize("order", ["norm_gate", "gate_norm"])
def test_a_term_of_the_current_token_can_enter_after_the_norm(order):
    spec = replace(GLA, now=Constant, now_at="after_norm", order=order)
    torch.manual_seed(0)
    mixer, x = Mixer(spec, 16), torch.randn(2, 5, 16)
    s, o = Stream(x), torch.randn(2, 5, 4, 4)
    s.v = o
    gate, norm = mixer.f_g, mixer.norm
    assert gate is not None
    assert norm is not None
    expected = (norm(o) + 3) * gate(s) if order == "norm_gate" else norm(o * gate(s)) + 3
    torch.testing.assert_close(mixer._normalise_and_gate(o, s), expected)


class Doubled(nn.Module):
    formula = "2 y"

    def __init__(self, dims: Dims) -> None:
        super().__init__()

    def forward(self, y: Tensor, s: Stream) -> Tensor:
        return 2 * y


def test_post_follows_the_output_projection():
    torch.manual_seed(0)
    plain = Mixer(GLA, 16)
    torch.manual_seed(0)
    doubled, x = Mixer(replace(GLA, post=Doubled), 16), torch.randn(2, 5, 16)
    torch.testing.assert_close(doubled(x)[0], 2 * plain(x)[0])
