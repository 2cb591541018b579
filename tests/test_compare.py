"""lazoo compare: both ways round the same, nothing for a model and itself, sentences in words."""

import functools
import json
from itertools import pairwise
from pathlib import Path

import pytest

import zoo
from runners.cli import main
from zoo.compare import compare

PAIRS = [*pairwise(zoo.names()), *(("metala", name) for name in zoo.names() if name != "metala")]
PLUGIN = """
from dataclasses import replace
from zoo import maps
from zoo.models.gla import SPEC as GLA
SPEC = replace(GLA, label="Mine", norm=maps.rms_norm("head"))
"""


@functools.cache
def terms(one, other):
    return compare(one, other)


def differing(one, other):
    return {term.name: term for term in terms(one, other) if not term.same}


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_order_of_two_models_changes_sides_and_nothing_else(one, other):
    there, back = terms(one, other), terms(other, one)
    assert [(t.name, t.one, t.other, t.same) for t in there if not t.same] == [
        (t.name, t.other, t.one, t.same) for t in back if not t.same
    ]
    assert [t.name for t in there if t.same] == [t.name for t in back if t.same]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_every_difference_is_one_sentence_with_both_names_and_equality_none(one, other):
    for term in terms(one, other):
        assert bool(term.sentence) == (not term.same)
        if term.same:
            assert term.one == term.other
        else:
            assert term.one != term.other
            assert one in term.sentence
            assert other in term.sentence
            assert term.sentence.endswith(".")


@pytest.mark.parametrize("name", zoo.names())
def test_a_model_does_not_differ_from_itself(name):
    assert not differing(name, name)


def test_metala_is_told_from_gla():
    apart = differing("metala", "gla")
    assert apart["f_k"].sentence == (
        "metala has k = 1 - α, tied to the decay and without parameters, "
        "instead of k = x W_k, which gla has."
    )
    assert "k 0 against 2,048" in apart["parameters"].sentence
    assert {"local", "now", "f_alpha", "heads", "kept"} <= set(apart)
    assert not {"f_q", "f_v", "decay", "scale", "order"} & set(apart)


def test_an_ablation_differs_in_what_it_leaves_out():
    assert set(differing("metala", "metala:no_aug")) == {"now", "parameters"}


def test_equal_formulas_with_other_parameters_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "_plugins", {})
    path = tmp_path / "plain_norm.py"
    path.write_text(PLUGIN)
    zoo.plugin(path)
    apart = {term.name: term for term in compare("gla", "plain_norm") if not term.same}
    assert set(apart) == {"norm", "parameters"}
    assert apart["norm"].sentence == (
        "Both have norm RMS_head, gla with weight, plain_norm with no parameters."
    )


def test_the_command_prints_differences_and_equal_terms(capsys):
    assert main(["compare", "metala", "gla"]) == 0
    said = capsys.readouterr().out
    assert "instead of k = x W_k" in said
    assert "the same as printed" in said
    assert max(map(len, said.split("\n- ")[0].splitlines())) <= 120
    assert main(["compare", "gla", "gla"]) == 0
    assert "gla and gla do not differ" in capsys.readouterr().out


def test_json_has_terms_and_both_models(capsys):
    assert main(["compare", "metala", "mamba", "--json", "--d-model", "32"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in told["models"]] == ["metala", "mamba"]
    assert told["models"][0]["d_model"] == 32
    assert {"name", "one", "other", "same", "sentence"} == set(told["terms"][0])


def test_a_plugin_can_be_compared(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "_plugins", {})
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PLUGIN)
    assert main(["compare", "mine", "gla", "--plugin", "mine.py"]) == 0
    assert "mine with no parameters" in capsys.readouterr().out


def test_an_unknown_model_is_refused_with_a_suggestion(capsys):
    assert main(["compare", "metala", "glaa"]) == 2
    assert "did you mean gla" in capsys.readouterr().err
