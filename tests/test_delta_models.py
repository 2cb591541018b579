"""What is particular to the delta-rule family: RWKV-7's first value and tables, erase and start."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zoo
from zoo.check import perturb
from zoo.mixer import Mixer
from zoo.model import Model
from zoo.spec import State, Stream

OFFICIAL = json.loads((Path(__file__).parent / "golden/rwkv7.json").read_text())["initialisation"]


def rwkv7(depth):
    net = Model(zoo.load("rwkv7"), vocabulary=16, d_model=32, depth=depth).double().eval()
    perturb(net)  # W_O starts at 0
    return net


def test_rwkv7_layers_mix_in_the_value_that_layer_0_left():
    first, later = (Mixer(zoo.load("rwkv7"), 32, layer=i, depth=2).double() for i in (0, 1))
    perturb(later)
    x, shared = torch.randn(2, 7, 32).double(), {}
    first(x, shared=shared)
    assert list(shared) == ["v_first"]
    assert shared["v_first"].shape == (2, 7, 1, 32)
    left = dict(shared)
    mixed, alone = later(x, shared=shared)[0], later(x)[0]
    assert shared == left
    assert (mixed - alone).abs().max() > 1e-3


def test_rwkv7_alone_takes_zeros_for_the_first_value():
    later = Mixer(zoo.load("rwkv7"), 32, layer=1, depth=2).double()
    perturb(later)
    x = torch.randn(2, 7, 32).double()
    zeros = {"v_first": torch.zeros(2, 7, 1, 32).double()}
    assert torch.equal(later(x)[0], later(x, shared=zeros)[0])


def test_rwkv7_decodes_with_the_first_value_of_each_token():
    net, tokens = rwkv7(3), torch.arange(18).reshape(2, 9) % 16
    whole, state, parts = net(tokens)[0], None, []
    for t in range(9):
        logits, state = net(tokens[:, t : t + 1], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("place", ["0/2", "1/2", "1/3", "5/12"])
def test_rwkv7_starts_from_the_official_tables(place):
    layer, depth = map(int, place.split("/"))
    spec = replace(zoo.load("rwkv7"), state=lambda d: State(2, 4, 4))
    get = Mixer(spec, 8, layer=layer, depth=depth).get_parameter
    ours = {
        "x_r": get("f_q.mu"),
        "x_w": get("f_alpha.inner.mu"),
        "x_k": get("f_k.raw.mu"),
        "x_v": get("f_v.mu"),
        "x_a": get("f_k.strength.mu"),
        "x_g": get("f_g.mu"),
        "w0": get("f_alpha.inner.inner.bias"),
        "a0": get("f_k.strength.inner.bias"),
        "k_k": get("f_k.k_k"),
        "k_a": get("f_k.k_a"),
        "r_k": get("now.r_k"),
    }
    if layer > 0:  # there it exists in layer 0 too, without a use
        ours["v0"] = get("f_v.inner.share.bias")
    official = OFFICIAL["tables_d_model_8_heads_of_4"][place]
    assert set(ours) == set(official) - ({"v0"} if layer == 0 else set())
    for name, p in ours.items():
        expected = torch.tensor(official[name]).view(p.shape)
        torch.testing.assert_close(p.detach(), expected, atol=1e-6, rtol=1e-6)


def test_rwkv7_projections_start_orthogonal_with_the_official_gains():
    get = Mixer(zoo.load("rwkv7"), 256, layer=1, depth=2).get_parameter
    names = {"receptance": "f_q.inner", "key": "f_k.raw.inner", "value": "f_v.inner.own"}
    for official, name in names.items():
        w, gain = get(f"{name}.weight"), OFFICIAL[f"{official}_orthogonal_gain"]
        torch.testing.assert_close(w @ w.T, gain**2 * torch.eye(256), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["gated_delta_net", "kda"])
def test_decays_start_with_steps_between_a_thousandth_and_a_tenth(name):
    mixer = Mixer(zoo.load(name), 256)
    step = mixer.f_alpha(Stream(torch.zeros(1, 1, 256))).step
    assert 1e-3 * (1 - 1e-4) <= step.min() <= step.max() <= 1e-1 * (1 + 1e-4)


@pytest.mark.parametrize("name", ["delta_net", "gated_delta_net", "kda"])
def test_what_is_erased_is_what_a_key_of_length_1_finds_in_the_decayed_state(name):
    mixer = Mixer(zoo.load(name), 32).double()
    s = Stream(torch.randn(1, 1, 32).double())
    s.decay, s.k = mixer.f_alpha(s), mixer.f_k(s)
    assert mixer.erase is not None
    erase, key, log = mixer.erase(s), s.notes["key"], s.decay.log()
    alpha = torch.ones(()) if log is None else log.exp()
    assert torch.equal(erase.write, s.k)
    torch.testing.assert_close(erase.read, alpha * key, rtol=1e-12, atol=0)
    # 1e-6 under the root: a key of length 0.03 and more is off by at most 1e-3.
    torch.testing.assert_close(key.norm(dim=3), torch.ones_like(key[..., 0]), atol=1e-3, rtol=0)
