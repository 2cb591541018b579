"""Channel mixers and block norms within a model, and the blocks of the models' authors."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

import zoo
from runners.config import Mqar
from zoo.blocks import CHANNEL_MIXERS, ChannelMix
from zoo.initialisation import SCHEMES
from zoo.model import Model, decay_groups, parameters_by_role, role, state_bytes
from zoo.norms import NORMS, BatchNorm
from zoo.probes import declared_state_bytes

SHIFTED = ("relu2", "relu2_receptance", "relu2_receptance_3.5")


def perturbed(module):
    """Every parameter off its initial value, so that a matrix of zeros hides nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def model(spec, **options):
    spec = zoo.load(spec) if isinstance(spec, str) else spec
    return Model(spec, **{"vocabulary": 32, "d_model": 32, "depth": 2, **options})


def in_steps(net, tokens):
    state, steps = None, []
    for t in range(tokens.shape[1]):
        logits, state = net(tokens[:, t : t + 1], state)
        steps.append(logits)
    return torch.cat(steps, 1)


@pytest.mark.parametrize(
    "options",
    [
        *({"channel_mixer": name} for name in CHANNEL_MIXERS),
        *({"norm": name, "channel_mixer": "relu2"} for name in NORMS),
        {"channel_mixer": "relu2_receptance", "first_mixer": "base_conv"},
        {"channel_mixer": "relu2", "norm": "layer", "model": "attention"},
        {"channel_mixer": "relu2_receptance", "model": "rwkv4", "conv": "k3"},
    ],
    ids=str,
)
def test_decoding_token_by_token_gives_the_same_logits(options):
    options = dict(options)
    net = perturbed(model(options.pop("model", "gla"), **options)).double()
    tokens = torch.arange(18).reshape(2, 9) % 32
    net(tokens)  # batch statistics of its own
    whole, _ = net.eval()(tokens)
    torch.testing.assert_close(in_steps(net, tokens), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_state_bytes_count_what_the_channel_mixer_remembers(name):
    with_it, without = model("gla", channel_mixer=name), model("gla")
    remembered = 4 * 2 * 32 if name in SHIFTED else 0  # float32, two layers, one token each
    for length in (1, 64):
        assert state_bytes(with_it, length) == state_bytes(without, length) + remembered
        assert state_bytes(with_it, length) == declared_state_bytes(with_it, length)


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_gradients_are_finite(name):
    net = model("gla", channel_mixer=name)
    net(torch.arange(24).reshape(2, 12))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_weight_decay_spares_biases_norms_and_mu(name):
    net = model("gla", channel_mixer=name, norm="batch")
    spared = {id(p) for p in decay_groups(net)[1]}
    for n, p in net.named_parameters():
        if role(n) in ("channel", "norm"):
            last = n.rpartition(".")[2]
            assert (id(p) in spared) == (p.dim() == 1), n
            assert (p.dim() == 1) == (last in ("mu_k", "mu_r", "bias") or role(n) == "norm"), n


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_builds_as_its_authors_have_it(name):
    spec = zoo.load(name)
    assert spec.channel in ("none", *CHANNEL_MIXERS)
    assert spec.block_norm in NORMS
    assert spec.model_init in SCHEMES
    own = {"channel_mixer": "own", "norm": "own", "initialisation": "authors"}
    net, tokens = model(spec, **own), torch.arange(18).reshape(2, 9)
    net(tokens)[0].logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    roles = parameters_by_role(net)
    assert sum(roles.values()) == sum(p.numel() for p in net.parameters())
    assert (roles["channel"] > 0) == (spec.channel not in ("none", "identity"))
    assert state_bytes(net.eval(), 64) == declared_state_bytes(net, 64)


def carries_on(name):
    """Models whose published form can be cut between two tokens, or else their variants."""
    names = [name, *(f"{name}:{v}" for v in zoo.variants(name))]
    whole = [n for n in names if "state hand-over" not in zoo.load(n).by_design]
    assert whole, f"{name} has no form that decodes"
    return whole[0]


@pytest.mark.parametrize("name", [carries_on(name) for name in zoo.names()])
def test_every_model_as_its_authors_have_it_decodes_token_by_token(name):
    own = {"channel_mixer": "own", "norm": "own", "initialisation": "authors"}
    net, tokens = perturbed(model(name, **own)).double(), torch.arange(18).reshape(2, 9)
    net(tokens)
    whole, _ = net.eval()(tokens)
    torch.testing.assert_close(in_steps(net, tokens), whole, rtol=1e-10, atol=1e-10)


def test_a_run_can_have_every_channel_mixer_and_norm():
    fields = {n: set(get_args(f.annotation)) for n, f in Mqar.model_fields.items()}
    assert fields["channel_mixer"] == {"none", "own", *CHANNEL_MIXERS}
    assert fields["norm"] == {"own", *NORMS}


def test_own_takes_what_the_spec_says():
    spec = replace(zoo.load("gla"), channel="relu2_receptance", block_norm="batch")
    block = model(spec, channel_mixer="own", norm="own").blocks[1]
    assert isinstance(block.channel, ChannelMix)
    assert isinstance(block.mixer_norm, BatchNorm)
    assert model(spec).blocks[0].channel is None
