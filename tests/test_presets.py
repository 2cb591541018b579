"""Presets are what their sources say, and every run in them is possible."""

import pytest

import zoo
from runners import presets
from runners.estimate import estimate
from runners.grids import changed, logspace
from runners.zoology import figure2_run


@pytest.mark.parametrize("name", list(presets.MQAR))
def test_runs_of_a_preset_differ(name):
    runs = presets.preset(name)
    assert len({run.key for run in runs}) == len(runs)


@pytest.mark.parametrize("name", list(presets.MQAR))
def test_a_preset_names_its_source_and_what_is_ours(name):
    words = presets.describe(name)
    assert "arXiv" in words or "MetaLA" in words or "Ours" in words


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean paper-hard"):
        presets.preset("paper_hard")


def test_quick_gives_every_model_the_same_search_budget_and_convolution():
    runs = presets.preset("quick")
    models = {run.model.partition(":")[0] for run in runs}
    assert len(models) == 8
    assert models <= set(zoo.names())
    fixed = {run.model_dump_json(exclude={"model", "d_model", "lr"}) for run in runs}
    assert len(fixed) == 1
    assert len(runs) == 8 * 3 * 3
    assert {run.conv for run in runs} == {"k2"}
    assert {run.selection for run in runs} == {"validation"}


def test_the_zoo_preset_is_quick_for_every_model_at_one_width():
    runs = presets.preset("zoo")
    assert {run.model.partition(":")[0] for run in runs} == set(zoo.names())
    assert {run.d_model for run in runs} == {64}
    assert len(runs) == 3 * len(zoo.names())
    keys = {run.key for run in presets.preset("quick") if run.d_model == 64}
    assert keys <= {run.key for run in runs}


def test_reference_is_quick_at_one_width_for_longer():
    runs = presets.preset("reference")
    assert {run.d_model for run in runs} == {64}
    assert min(run.updates for run in runs) > presets.QUICK.updates
    assert len(runs) == 8 * 4


def test_paper_is_figure_3():
    runs = presets.preset("paper")
    assert {(run.length, run.pairs) for run in runs} == {(256, 16), (512, 64)}
    assert {run.d_model for run in runs} == {64, 128, 256, 512}
    assert {run.depth for run in runs} == {2}
    assert {run.selection for run in runs} == {"validation"}
    short = sorted({run.lr for run in runs if run.length == 256})
    long = sorted({run.lr for run in runs if run.length == 512})
    assert short == [1e-4, 4.642e-4, 2.154e-3, 1e-2]
    assert long == [1e-5, 4.642e-5, 1e-4, 2.154e-4, 4.642e-4, 1e-3, 2.154e-3, 1e-2]
    assert len(runs) == 8 * 4 * (4 + 8)


@pytest.mark.parametrize("model", ["gla:mqar", "metala:mqar+conv2", "metala:mqar+conv2_silu"])
def test_paper_has_two_heads_with_total_width_d(model):
    assert model in {run.model for run in presets.preset("paper")}
    state = zoo.load(model).state(128)
    assert (state.heads, state.heads * state.d_k, state.heads * state.d_v) == (2, 128, 128)


def test_paper_hard_is_table_a7():
    runs = presets.preset("paper-hard")
    assert {(run.length, run.pairs) for run in runs} == {(512, 80)}
    assert {run.d_model for run in runs} == {64, 128}
    names = {run.model.partition(":")[0] for run in runs}
    assert names == {"attention", "mamba", "metala"}


@pytest.mark.parametrize(
    ("length", "pairs", "batch", "epoch"),
    [(64, 4, 512, 196), (128, 8, 512, 196), (256, 16, 256, 391), (512, 64, 128, 782)],
)
def test_figure_2_has_zoologys_batches_and_epochs(length, pairs, batch, epoch):
    runs = [r for r in presets.preset("zoology-figure2") if r.length == length]
    assert {r.pairs for r in runs} == {pairs}
    assert {(r.batch, r.updates, r.evaluate_every) for r in runs} == {(batch, 64 * epoch, epoch)}
    assert {r.filler for r in runs} == {"zeros"}
    assert len(runs) == 4 * 4 * 4


@pytest.mark.parametrize("name", ["zoology-figure2", "zoology-mixed"])
def test_zoologys_protocol_keeps_its_oddities(name):
    for run in presets.preset(name):
        assert (run.selection, run.shuffle, run.decay_all) == ("test", False, True)
        assert (run.schedule, run.warmup, run.clip, run.stop_at) == ("cosine-epoch", 0, 0.0, 0.99)
        assert (run.weight_decay, run.initialisation, run.depth) == (0.1, "zoology", 2)
        mamba = run.model.startswith("mamba")
        assert run.channel_mixer == ("none" if mamba else "identity")
        assert run.dropout == (0.0 if mamba else 0.1)
        assert run.attention_dropout == (0.1 if run.model.startswith("attention") else 0.0)


def test_mixed_has_zoologys_epochs_and_no_positions():
    runs = presets.preset("zoology-mixed")
    assert {(r.batch, r.evaluate_every, r.updates) for r in runs} == {(256, 707, 32 * 707)}
    assert {r.positions for r in runs} == {"none"}
    assert {r.first_mixer for r in runs if not r.model.startswith("mamba")} == {"base_conv"}
    assert sorted({r.lr for r in runs}) == logspace(-3, -1.5, 4)


def test_figure_2_attention_has_as_many_parameters_as_zoologys():
    from runners.config import build

    model = build(figure2_run("attention:one_head+biased", 64, 4))
    assert sum(p.numel() for p in model.parameters()) == 562_304


def test_estimate_times_each_shape_once_and_counts_its_runs():
    run = changed(presets.QUICK, train_rows=64, valid_rows=8, test_rows=8)
    runs = [changed(run, lr=lr, d_model=d) for d in (16, 32) for lr in (0.01, 0.02, 0.03)]
    found = estimate(runs)
    assert [(shape.d_model, shape.runs) for shape in found.shapes] == [(16, 3), (32, 3)]
    assert found.seconds > 700 * 6 * 1e-4
