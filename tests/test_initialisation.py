"""Initial values against those of the official code (the "initialisation" of the golden files).

"alone" was measured on the official mixer class as its constructor leaves it, "in_model" after the
official language model's own scheme has run over it; d_model 256.
"""

import json
import math
from pathlib import Path

import pytest
import torch

import zoo
from tests.test_golden import MAPS
from zoo.mixer import Mixer
from zoo.spec import Stream

# Which official numbers a model starts from. GLA's docstring: layer of fla, Xavier of the original.
FOLLOWS = {name: (name, "alone") for name in MAPS} | {
    "gla": ("gla:original", "alone"),
    "mamba": ("mamba", "in_model"),
    "mamba2": ("mamba2", "in_model"),
    "mamba2:state64": ("mamba2:state64", "in_model"),
    "rwkv4": ("rwkv4", "in_model"),
    "rwkv6": ("rwkv6", "in_model"),
    "rwkv7": ("rwkv7", "in_model"),
}


def facts(name):
    file = Path(__file__).parent / "golden" / f"{name.replace(':', '.')}.json"
    return json.loads(file.read_text())["initialisation"]


def carried(name, statistic, heads):
    """One official statistic of every parameter by our names: constants sent through the map."""
    source, where = FOLLOWS[name]
    constants = {n: torch.full(s["shape"], s[statistic]) for n, s in facts(source)[where].items()}
    constants["lower_bounds"] = torch.zeros(1, 256)
    return {n: p.mean().item() for n, p in MAPS[source](constants, {"heads": heads}).items()}


def alpha_of(mixer, x, shared=None):
    """|alpha| for inputs x: b t d_u."""
    return mixer.f_alpha(Stream(x, shared=shared)).log().exp()


@pytest.mark.parametrize("name", MAPS)
def test_every_parameter_starts_with_the_official_mean_and_spread(name):
    mixer = Mixer(zoo.load(name), 256, layer=1, depth=2)
    means, spreads = (carried(name, s, mixer.dims.heads) for s in ("mean", "std"))
    parameters = dict(mixer.named_parameters())
    parameters = {n: p for n, p in parameters.items() if n in means}
    for n, p in parameters.items():
        # Both sides are one draw: 5 standard errors, that of a spread being at most s/sqrt(2n).
        spread = abs(spreads[n])  # a map may turn a sign
        error = 5 * math.sqrt(2 / p.numel()) * spread + 2e-5 * max(1, abs(means[n]))
        assert abs(p.std(correction=0).item() - spread) <= error, n
        assert abs(p.mean().item() - means[n]) <= error, n


@pytest.mark.parametrize("name", ["metala", "metala:mqar"])
def test_alpha_is_half_to_the_sixteenth_root_where_the_gate_sees_nothing(name):
    mixer = Mixer(zoo.load(name), 64)
    alpha = alpha_of(mixer, torch.zeros(1, 1, 64))
    torch.testing.assert_close(alpha, torch.full_like(alpha, 0.5 ** (1 / 16)))


def test_metala_keys_start_at_one_minus_that():
    mixer, stream = Mixer(zoo.load("metala"), 64), Stream(torch.zeros(1, 1, 64))
    stream.decay = mixer.f_alpha(stream)
    k = mixer.f_k(stream)
    torch.testing.assert_close(k, torch.full_like(k, 0.0424), atol=1e-4, rtol=0)


@pytest.mark.parametrize("place", ["0/2", "1/2", "1/3", "5/12"])
def test_rwkv4_starts_from_the_official_tables(place):
    layer, depth = map(int, place.split("/"))
    official = facts("rwkv4")["tables_d_model_8"][place]
    get = Mixer(zoo.load("rwkv4"), 8, layer=layer, depth=depth).get_parameter
    ours = {
        "time_decay": get("f_alpha.w"),
        "time_first": get("bonus.u"),
        "time_mix_k": get("f_k.inner.mu"),
        "time_mix_v": get("f_v.mu"),
        "time_mix_r": get("f_g.mu"),
    }
    assert set(ours) == set(official)
    for n, p in ours.items():
        torch.testing.assert_close(p.detach(), torch.tensor(official[n]), atol=1e-6, rtol=1e-6)


def test_rwkv4_forgets_at_the_official_rates():
    mixer = Mixer(zoo.load("rwkv4"), 768, layer=0, depth=2)
    alpha = alpha_of(mixer, torch.zeros(1, 1, 768)).flatten()
    for channel, official in facts("rwkv4")["alpha_layer_0_d_model_768"].items():
        assert alpha[int(channel)].item() == pytest.approx(official, rel=1e-4)


def test_rwkv4_values_start_orthogonal():
    w = Mixer(zoo.load("rwkv4"), 64).get_parameter("f_v.inner.weight")
    torch.testing.assert_close(w @ w.T, torch.eye(64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["rwkv4", "hgrn", "hgrn:real", "mamba"])
def test_one_layer_starts_finite(name):
    mixer = Mixer(zoo.load(name), 32, layer=0, depth=1)
    assert all(p.isfinite().all() for p in mixer.parameters())


def test_mamba_starts_with_steps_between_a_thousandth_and_a_tenth():
    mixer, official = Mixer(zoo.load("mamba"), 256), facts("mamba")
    low, high = official["step_range"]
    step = mixer.f_alpha(Stream(torch.zeros(1, 1, 512))).step.flatten()  # softplus of the bias
    assert low * (1 - 1e-4) <= step.min() <= step.max() <= high * (1 + 1e-4)
    middle, spread = math.log(low * high) / 2, math.log(high / low) / math.sqrt(12)
    assert abs(step.log().mean().item() - middle) <= 4 * spread / math.sqrt(512)


def test_mamba_starts_with_rates_one_to_sixteen():
    A_log = Mixer(zoo.load("mamba"), 32).get_parameter("f_alpha.A_log")
    official = torch.tensor(facts("mamba")["A_log_of_every_channel"])
    torch.testing.assert_close(A_log.detach(), official.expand(64, 16), atol=1e-6, rtol=1e-6)


def test_hgrn_starts_with_the_official_angles():
    theta = Mixer(zoo.load("hgrn"), 8).get_parameter("f_alpha.theta")
    official = torch.tensor(facts("hgrn")["theta_d_model_8"])
    torch.testing.assert_close(theta.detach(), official, atol=0, rtol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", ["hgrn", "hgrn:real"])
def test_hgrn_starts_with_lower_bounds_of_layer_over_depth(name, layer):
    spec = zoo.load(name)
    assert spec.shared is not None
    mixer = Mixer(spec, 16, layer=layer, depth=3)
    with torch.no_grad():
        mixer.get_parameter("f_alpha.project.weight").fill_(1)
    alpha = alpha_of(mixer, torch.full((1, 1, 16), -100.0), dict(spec.shared(3, 16)))
    official = facts(name)["lower_bounds_of_3_layers"][layer]
    torch.testing.assert_close(alpha, torch.full_like(alpha, official), atol=1e-6, rtol=1e-6)


def test_retnet_decays_and_turns_by_the_official_constants():
    official = facts("retnet")
    wide, narrow = (Mixer(zoo.load("retnet"), d).f_alpha(None) for d in (2048, 16))
    gamma = torch.tensor(official["gamma_of_8_heads"], dtype=torch.float64)
    torch.testing.assert_close(wide.log().exp().flatten(), gamma, atol=0, rtol=1e-12)
    angle = torch.tensor(official["angles_of_8_key_channels"], dtype=torch.float64)
    torch.testing.assert_close(narrow.angle, angle.expand(2, 4), atol=0, rtol=1e-12)


@pytest.mark.parametrize("place", ["0/2", "1/2", "1/3", "2/3", "1/24", "23/24"])
def test_transnormerllm_forgets_at_the_official_rates(place):
    layer, depth = map(int, place.split("/"))
    decay = Mixer(zoo.load("transnormerllm"), 16, layer=layer, depth=depth).f_alpha(None)
    official = torch.tensor(facts("transnormerllm")["alpha_of_8_heads"][place], dtype=torch.float64)
    torch.testing.assert_close(decay.log().exp().flatten(), official, atol=0, rtol=1e-12)


def test_mamba2_starts_with_the_official_rates_and_steps():
    decay = Mixer(zoo.load("mamba2"), 4096).f_alpha(Stream(torch.zeros(1, 1, 4096)))
    for seen, (low, high) in ((decay.rate, (1, 16)), (decay.step, facts("mamba2")["step_range"])):
        assert low * (1 - 1e-4) <= seen.min() <= seen.max() <= high * (1 + 1e-4)
        # 128 heads: a chance of at most 0.8^128 that none is in the upper fifth, in logarithms.
        assert seen.max() > high * (low / high) ** 0.2
