"""Initial tables, bounds and random features that mean and spread alone would not tell apart."""

import math
from dataclasses import replace

import pytest
import torch

import zoo
from tests.test_initialisation import alpha_of, facts
from zoo.mixer import Mixer
from zoo.spec import State, Stream


@pytest.mark.parametrize("place", ["0/2", "1/2", "1/3", "5/12"])
def test_rwkv6_starts_from_the_official_tables(place):
    layer, depth = map(int, place.split("/"))
    official = facts("rwkv6")["tables_d_model_8"][place]
    spec = replace(zoo.load("rwkv6"), state=lambda d: State(2, 4, 4))
    get = Mixer(spec, 8, layer=layer, depth=depth).get_parameter
    ours = {f"time_maa_{i}": row for i, row in zip("wkvrg", get("local.mu"))} | {
        "time_maa_x": get("local.mu_x"),
        "time_decay": get("f_alpha.inner.w"),
        "time_faaaa": get("now.u").flatten(),
        "ln_x.weight": get("norm.weight"),
    }
    assert set(ours) == set(official)
    for n, p in ours.items():
        torch.testing.assert_close(p.detach(), torch.tensor(official[n]), atol=1e-6, rtol=1e-6)


def test_rwkv6_forgets_at_the_official_rates():
    w = Mixer(zoo.load("rwkv6"), 768, layer=0, depth=12).get_parameter("f_alpha.inner.w")
    for channel, official in facts("rwkv6")["alpha_layer_0_d_model_768"].items():
        assert torch.exp(-torch.exp(w[int(channel)])).item() == pytest.approx(official, rel=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", ["hgrn2", "hgrn2:fla", "hgrn2:standalone"])
def test_hgrn2_starts_with_lower_bounds_of_layer_over_depth(name, layer):
    spec = zoo.load(name)
    assert spec.shared is not None
    mixer = Mixer(spec, 16, layer=layer, depth=3)
    with torch.no_grad():
        mixer.get_parameter("f_alpha.project.weight").fill_(1)
    alpha = alpha_of(mixer, torch.full((1, 1, 16), -100.0), dict(spec.shared(3, 16)))
    official = facts(name)["lower_bounds_of_3_layers"][layer]
    torch.testing.assert_close(alpha, torch.full_like(alpha, official), atol=1e-6, rtol=1e-6)


def test_griffin_draws_the_base_of_its_power_between_0_9_and_0_999():
    base = torch.sigmoid(-Mixer(zoo.load("griffin"), 4096).get_parameter("f_alpha.Lambda"))
    assert 0.9 - 1e-5 <= base.min() <= 0.901
    assert 0.998 <= base.max() <= 0.999 + 1e-5


def test_griffin_divides_its_output_by_the_square_root_of_depth():
    w = Mixer(zoo.load("griffin"), 256, depth=12).get_parameter("w_o.weight")
    assert w.std().item() == pytest.approx((2 / (12 * 256)) ** 0.5, rel=0.02)


def test_lru_starts_with_the_gain_that_keeps_a_unit_state():
    decay = Mixer(zoo.load("lru"), 256).f_alpha(Stream(torch.zeros(1, 1, 256)))
    torch.testing.assert_close(
        decay.gain, (1 - torch.exp(-2 * decay.rate)).sqrt(), atol=1e-4, rtol=0
    )


def test_performer_rows_are_orthogonal_in_blocks_and_as_long_as_gaussian_ones():
    rows = dict(Mixer(zoo.load("performer"), 64).named_buffers())["f_k.rows"]  # 266 x 64
    first = rows[:64] / rows[:64].norm(dim=1, keepdim=True)
    torch.testing.assert_close(first @ first.T, torch.eye(64), atol=1e-5, rtol=0)
    # The squared length of 64 Gaussian numbers: mean 64, variance 128; 266 rows, 4 standard errors.
    square = rows.square().sum(1)
    assert abs(square.mean().item() - 64) < 4 * math.sqrt(128 / 266)
    assert square.std().item() == pytest.approx(math.sqrt(128), rel=0.25)


def test_rfa_rows_are_gaussian_and_differ_between_heads():
    rows = dict(Mixer(zoo.load("rfa"), 256).named_buffers())["f_k.rows"]  # 4 heads x 64 x 64
    assert abs(rows.mean().item()) < 4 / math.sqrt(rows.numel())
    assert rows.std().item() == pytest.approx(1.0, abs=4 / math.sqrt(2 * rows.numel()))
    kurtosis = (rows / rows.std()).pow(4).mean().item()
    assert kurtosis == pytest.approx(3.0, abs=4 * math.sqrt(24 / rows.numel()))
    assert not torch.equal(rows[0], rows[1])
