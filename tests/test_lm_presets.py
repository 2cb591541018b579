"""Presets of language models: what the paper says number by number, and equal terms for all."""

import pytest
import torch

import zoo
from results import published
from runners import lm_presets
from runners.lm_config import Lm
from runners.lm_presets import LM, preset
from zoo.model import Model

# What models of one preset may differ in, beside the search.
OF_A_MODEL = {"model": "", "positions": "none"}
SEARCHED = {"lr": 1e-3, "seed": 0, "data_seed": 0}


def one_of_each(name: str) -> dict[str, Lm]:
    """The first run of each model of a preset."""
    return {run.model: run for run in reversed(preset(name))}


def parameters(run: Lm) -> int:
    """Of the model, embedding and head included."""
    arguments = dict(run.shape)
    spec = zoo.load(str(arguments.pop("model")))
    with torch.device("meta"):
        return sum(p.numel() for p in Model(spec, **arguments).parameters())  # pyright: ignore


@pytest.mark.parametrize("name", LM)
def test_a_preset_s_runs_are_all_different_and_it_says_what_it_is(name):
    runs = preset(name)
    assert len({run.key for run in runs}) == len(runs)
    assert len(lm_presets.describe(name)) > 100


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean paper-360m"):
        preset("paper360m")


@pytest.mark.parametrize("name", LM)
def test_models_of_a_preset_differ_in_the_mixer_and_attention_s_positions(name):
    runs = preset(name)
    assert len({run.model_copy(update=OF_A_MODEL | SEARCHED).key for run in runs}) == 1
    positions = {(run.model == "attention", run.positions) for run in runs}
    assert positions <= {(True, "rope"), (False, "none")}


@pytest.mark.parametrize("name", LM)
def test_every_model_of_a_preset_has_the_same_search(name):
    runs = preset(name)
    searched = {
        model: [(r.lr, r.seed, r.data_seed) for r in runs if r.model == model]
        for model in one_of_each(name)
    }
    assert len({tuple(values) for values in searched.values()}) == 1


@pytest.mark.parametrize("name", LM)
def test_models_of_a_preset_have_the_same_number_of_parameters(name):
    found = [parameters(run) for run in one_of_each(name).values()]
    assert max(found) / min(found) < 1.01


def test_quick_repeats_initial_values_and_data_together():
    runs = [run for run in preset("quick") if run.model == "metala"]
    assert [(run.seed, run.data_seed) for run in runs] == [(0, 0), (1, 1)] * 2
    assert {(run.corpus, run.tokeniser, run.precision) for run in runs} == {
        ("classics", "bytes", "fp32")
    }


def test_the_quick_ablation_shares_the_runs_of_metala_with_quick():
    keys = [{r.key for r in preset(n) if r.model == "metala"} for n in ("quick", "quick-ablation")]
    assert keys[0] == keys[1]


def test_paper_360m_has_the_budget_of_the_paper():
    for run in preset("paper-360m"):
        assert run.batch * run.seq_len == 2**19
        assert 15e9 <= run.tokens < 15e9 + 2**19
        assert (run.lr, run.lr_end, run.warmup) == (3e-4, 0.1, round(run.updates / 100))
        assert (run.beta2, run.weight_decay, run.clip) == (0.95, 0.1, 1.0)
        assert (run.vocabulary, run.schedule, run.precision) == (50_304, "cosine", "bf16")
        assert 0.35e9 < parameters(run) < 0.365e9


def test_paper_1_4b_has_the_budget_of_the_paper():
    for run in preset("paper-1.4b"):
        assert (run.batch * run.seq_len, run.lr, run.tied) == (2**21, 2e-4, False)
        assert 300e9 <= run.tokens < 300e9 + 2**21
        assert 1.38e9 < parameters(run) < 1.42e9


def test_models_of_the_paper_s_tables_are_those_of_the_presets():
    labels = {"Pythia": "attention"}
    lines = published.read("table5_commonsense")
    for name, large in (("paper-360m", False), ("paper-1.4b", True)):
        rows = [line for line in lines if (float(line["params_billion"]) > 0.5) == large]
        listed = {labels.get(line["model"], line["model"].lower()) for line in rows}
        assert set(one_of_each(name)) == listed


def test_ablation_has_the_rows_of_table_8_in_the_setting_of_paper_360m():
    metala = one_of_each("paper-360m")["metala"]
    runs = preset("ablation")
    assert len(runs) == len(published.read("table8_ablation"))
    assert runs[0].key == metala.key
    assert {run.model for run in runs[1:]} == {
        f"metala:{v}" for v in ("no_aug", "no_conv", "with_key")
    }


def test_small_searches_three_rates_a_factor_of_two_apart():
    runs = [run for run in preset("small") if run.model == "gla"]
    assert [run.lr for run in runs] == [0.001, 0.002, 0.004]
    assert {run.batch * run.seq_len for run in runs} == {65_536}
    assert 1e7 < parameters(runs[0]) < 4e7
