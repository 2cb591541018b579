"""What is told of a model is what runs: sizes, parameters, families; `lazoo models` prints it."""

import json
import re
from typing import Any

import pytest

import zoo
from runners.cli import main
from zoo.describe import FAMILIES, by_family, describe
from zoo.dimensions import dimension, size, written
from zoo.equations import SLOTS
from zoo.mixer import Mixer
from zoo.probes import mixer_floats

WIDTH = 64


@pytest.mark.parametrize("name", zoo.names())
def test_the_dimensions_printed_are_those_of_the_spec(name):
    spec = zoo.load(name)
    assert "varies" not in dimension(spec)
    if spec.mix == "scan":
        assert "varies" not in size(spec)
        d = 4096
        state = spec.state(d)
        value = eval(re.sub(r"(?<=\d)d", "*d", size(spec)).replace("²", "**2"), {"d": d})
        assert value == pytest.approx(state.heads * state.d_k * state.d_v, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([8, 8, 8, 8], "8"),
        ([2, 4, 6, 8], "d/128"),
        ([256**2 + 1, 512**2 + 1, 768**2 + 1, 1024**2 + 1], "d² + 1"),
        ([1, 2, 4, 9], "varies"),
    ],
)
def test_sizes_are_written_as_polynomials(values, text):
    assert written(dict(zip(range(256, 1025, 256), values))) == text


@pytest.mark.parametrize("name", zoo.names())
def test_what_is_told_of_a_model_is_measured(name):
    told: dict[str, Any] = describe(name, WIDTH)
    spec, few = zoo.load(name), told["measured_floats"][128]
    assert told["family"] in FAMILIES
    assert told["grows"] == (spec.mix != "scan")
    mixer = Mixer(spec, WIDTH, layer=1, depth=2)
    assert sum(told["parameters"].values()) == sum(p.numel() for p in mixer.parameters())
    if spec.mix == "scan":
        assert few == mixer_floats(mixer, 128)


def test_the_families_come_in_a_fixed_order():
    order = [FAMILIES.index(zoo.load(name).family) for name in by_family(zoo.names())]
    assert order == sorted(order)


def test_the_overview_lists_every_model_and_fits_a_page(capsys):
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 120
    heads = re.findall(r"^([A-Z]{3}.*?) *$", said, re.M)
    assert heads == 2 * [family.upper() for family in FAMILIES]
    for name in zoo.names():
        assert len(re.findall(rf"^{name} ", said, re.M)) >= 2


def test_one_model_is_told_with_its_conditions_and_what_it_lacks_by_design(capsys):
    assert main(["models", "cosformer", "metala:no_aug", "hgrn"]) == 0
    said = capsys.readouterr().out
    assert "not state hand-over" in said
    assert "C0 met, C1 met, C2 met, C3 met" in said
    assert "o_t = o_t + " not in said.partition("metala:no_aug")[2].partition("hgrn (")[0]
    assert "64 a layer in gamma, which all share" in said


def test_json_is_complete(capsys):
    assert main(["models", "rwkv7", "--json", "--d-model", "32"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert {*SLOTS, "equations", "parameters", "measured_floats", "conditions"} <= set(told)
    assert told["d_model"] == 32
    assert [*told["conditions"]] == ["C0", "C1", "C2", "C3"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("delta_net", "S_t = S_{t-1} - "),
        ("gated_delta_net", "S_t = diag(α_t) S_{t-1} - "),
        ("retnet", "o_t = Re(q_t S_t)"),
        ("hgrn", "o_t = q_t S_t"),
        ("mamba2", "y = RMS_all(o ⊙ g) W_O"),
        ("rwkv4", "o_t = q_t (S_{t-1} + e^u k_tᵀ v_t)"),
        ("s4d", "    (the same at every token)"),
        ("attention", "o_t = Σ_{s≤t} softmax(q_t k_sᵀ / √d_k) v_s"),
    ],
)
def test_equations_show_what_the_template_was_switched_to(name, line):
    told: dict[str, Any] = describe(name)
    assert any(line in equation for equation in told["equations"])
