"""What surrounds the mixers of the classifier against formulas: norms, positions, blocks, heads."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo.blocks import WITH_INNER, Place, channel_layer
from zoo.encoder import mean
from zoo.heads import HEADS
from zoo.layers import Layer
from zoo.mixer import Mixer
from zoo.norms import BatchNorm
from zoo.positions import sinusoids


def spread(norm):
    """Weight, bias and running statistics that are not the initial ones."""
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.add_(torch.rand_like(tensor))
    return norm.double()


def results(norm, x, up, valid):
    """Output, gradients and running statistics after one training step on x."""
    x = x.clone().requires_grad_()
    y = norm(x) if valid is None else norm(x, valid)
    gradients = torch.autograd.grad(y, [x, norm.weight, norm.bias], up)
    return [y.detach(), *gradients, *(b.clone() for b in norm.buffers())]


def twins():
    torch.manual_seed(1)
    ours = spread(BatchNorm(8))
    torchs = nn.BatchNorm1d(8, momentum=0.05).double()
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def test_batch_norm_without_padding_is_torchs():
    x, up = 3 + 2 * torch.randn(2, 4, 6, 8).double()
    ours, torchs = twins()
    full = torch.ones(4, 6, dtype=torch.bool)
    found, expected = (
        results(ours, x, up, full),
        results(torchs, x.flatten(0, 1), up.flatten(0, 1), None),
    )
    expected = [e.view_as(f) for f, e in zip(found, expected, strict=True)]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lengths", [[4, 6, 1, 5], [0, 6, 3, 0], [2, 2, 2, 2]])
def test_batch_norm_is_torchs_on_the_valid_tokens(lengths):
    x, up = 3 + 2 * torch.randn(2, 4, 6, 8).double()
    valid = torch.arange(6) < torch.tensor(lengths).unsqueeze(1)
    ours, torchs = twins()
    found = results(ours, x, up * valid.unsqueeze(-1), valid)
    expected = results(torchs, x[valid], up[valid], None)
    assert found[0].isfinite().all()
    assert found[1][~valid].abs().max() == 0 or valid.all()
    found[:2] = [y[valid] for y in found[:2]]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_batch_norm_of_a_single_valid_token_is_its_bias():
    norm, valid = spread(BatchNorm(8)), torch.zeros(2, 3, dtype=torch.bool)
    valid[0, 0] = True
    y = norm(torch.randn(2, 3, 8).double(), valid)
    torch.testing.assert_close(y[0, 0], norm.bias)
    assert all(b.isfinite().all() for b in norm.buffers())


def test_batch_norm_counts_tokens_exactly_in_bfloat16():
    x, valid = torch.randn(1, 3000, 8).bfloat16(), torch.ones(1, 3000, dtype=torch.bool)
    ours, torchs = BatchNorm(8), nn.BatchNorm1d(8, momentum=0.05)
    y, expected = ours(x, valid), torchs(x[0].float())
    assert y.dtype == torch.bfloat16
    # One rounding to 8 bits.
    torch.testing.assert_close(y[0].float(), expected, rtol=2**-8, atol=0)
    torch.testing.assert_close(ours.running_var, torchs.running_var)


def test_batch_norm_maps_over_models():
    norm, x = BatchNorm(8), torch.randn(3, 4, 6, 8)
    valid = torch.rand(4, 6) < 0.7
    state = {n: torch.stack([y] * 3) for n, y in norm.state_dict().items()}
    mapped = torch.vmap(lambda s, x: torch.func.functional_call(norm, s, (x, valid)))(state, x)
    torch.testing.assert_close(mapped, torch.stack([norm(each, valid) for each in x]))


@pytest.mark.parametrize("d", [6, 7])
def test_sinusoids_alternate_sine_and_cosine_of_one_rate(d):
    expected = torch.zeros(5, d)
    for p in range(5):
        for c in range(d):
            angle = p * 10_000 ** (-(c - c % 2) / d)
            expected[p, c] = math.cos(angle) if c % 2 else math.sin(angle)
    torch.testing.assert_close(sinusoids(5, d), expected)


def layer(block, dropout=0.0, channel="mlp_relu") -> Any:
    torch.manual_seed(0)
    mixer = Mixer(zoo.load("gla"), 32, bidirectional=True)
    made = channel_layer(channel, Place(32))
    return Layer(mixer, made, d=32, norm="layer", block=block, dropout=dropout).double()


def test_a_norm_stands_before_each_sub_layer_or_after_each_sum():
    x, lengths = torch.randn(2, 5, 32).double(), torch.tensor([3, 5])
    net = layer("pre")
    y = x + net.mixer(net.mixer_norm(x), lengths=lengths)[0]
    y = y + net.channel(net.channel_norm(y))
    torch.testing.assert_close(net(x, lengths, None, {}), y)
    net = layer("post")
    y = net.mixer_norm(x + net.mixer(x, lengths=lengths)[0])
    y = net.channel_norm(y + net.channel(y))
    torch.testing.assert_close(net(x, lengths, None, {}), y)


@pytest.mark.parametrize("channel", ["mlp", "relu2", "none"])
def test_dropout_is_on_what_each_sub_layer_adds(channel):
    x = torch.randn(2, 5, 32).double()
    net = layer("pre", dropout=1.0, channel=channel)
    assert torch.equal(net(x, None, None, {}), x)
    assert not torch.allclose(net.eval()(x, None, None, {}), x)


def test_the_mean_is_over_valid_tokens():
    x, lengths = torch.randn(3, 4, 2).double(), torch.tensor([1, 4, 0])
    expected = torch.stack([x[0, 0], x[1].mean(0), torch.zeros(2).double()])
    torch.testing.assert_close(mean(x, lengths), expected)
    torch.testing.assert_close(mean(x, None), x.mean(1))


def linears(head):
    return [m for m in head.double() if isinstance(m, nn.Linear)]


def test_the_standard_head_is_linear_and_for_two_documents_compares_them():
    e = torch.randn(4, 2, 6).double()
    one, two = (HEADS["standard"](6, 9, 3, documents) for documents in (1, 2))
    (last,) = linears(one)
    torch.testing.assert_close(one(e[:, :1]), e[:, 0] @ last.weight.T + last.bias)
    up, down = linears(two)
    first, second = e.unbind(1)
    h = torch.cat([first, second, first - second, first * second], 1) @ up.weight.T + up.bias
    h = 0.5 * h * (1 + torch.erf(h / 2**0.5))  # b d
    assert h.shape == (4, 6)
    torch.testing.assert_close(two(e), h @ down.weight.T + down.bias)


def test_the_head_of_the_lra_code_has_relu_layers_and_halves_its_width_for_two():
    e = torch.randn(4, 2, 6).double()
    one, two = (HEADS["lra"](6, 10, 3, documents) for documents in (1, 2))
    up, down = linears(one)
    h = F.relu(e[:, 0] @ up.weight.T + up.bias)  # b 10
    torch.testing.assert_close(one(e[:, :1]), h @ down.weight.T + down.bias)
    up, middle, down = linears(two)
    h = F.relu(torch.cat([e[:, 0], e[:, 1]], 1) @ up.weight.T + up.bias)  # b 10
    h = F.relu(h @ middle.weight.T + middle.bias)  # b 5
    assert h.shape == (4, 5)
    torch.testing.assert_close(two(e), h @ down.weight.T + down.bias)


@pytest.mark.parametrize("d", [32, 64, 128, 256, 512])
def test_queries_and_keys_of_metala_are_half_as_wide_as_the_model(d):
    dims = Mixer(zoo.load("metala"), d).dims
    assert (dims.heads * dims.d_k, dims.heads * dims.d_v) == (d // 2, d)


@pytest.mark.parametrize("name", WITH_INNER)
def test_a_channel_mixer_takes_an_inner_width(name):
    made: Any = channel_layer(name, Place(8, inner=10))
    widths = {m.out_features for m in made.modules() if isinstance(m, nn.Linear)} - {8}
    assert widths in ({10}, {20})
    assert made.inner == 10
    assert made(torch.randn(1, 2, 8)).shape == (1, 2, 8)


@pytest.mark.parametrize("name", ["identity", "relu2", "relu2_receptance", "relu2_receptance_3.5"])
def test_a_fixed_inner_width_is_not_overruled(name):
    with pytest.raises(ValueError, match=f"d_channel 10 .* which channel_mixer {name} fixes; type"):
        channel_layer(name, Place(8, inner=10))
