"""Presets of the Long Range Arena: the published settings, number by number."""

import pytest

import tasks.lra
import zoo
from results import published
from runners import lra_presets
from runners.commands.lra import narrowed
from runners.lra_presets import LRA, preset

A4 = {line["task"]: line for line in published.read("tableA4_lra_hyperparameters")}


@pytest.mark.parametrize("name", LRA)
def test_a_preset_s_runs_are_all_different_and_it_says_what_it_is(name):
    runs = preset(name)
    assert len({run.key for run in runs}) == len(runs)
    assert len(lra_presets.describe(name)) > 200


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean paper"):
        preset("papr")


@pytest.mark.parametrize(
    ("name", "number"), [("paper", 6 * 7), ("s4", 6 * 5), ("lra-original", 6 * 3)]
)
def test_published_settings_are_of_all_six_tasks(name, number):
    runs = preset(name)
    assert list(dict.fromkeys(run.dataset for run in runs)) == list(tasks.lra.TASKS)
    assert {run.data.kind for run in runs} == {"lra"}
    assert len(runs) == number


def test_paper_has_one_setting_per_task_for_all_models():
    for task in tasks.lra.TASKS:
        runs = [run for run in preset("paper") if run.dataset == task]
        told = {run.model_copy(update={"model": "", "positions": ""}).key for run in runs}
        assert len(told) == 1
        orders = {run.positions for run in runs if run.model != "attention"}
        assert len(orders) == 1
        assert next(r.positions for r in runs if r.model == "attention") == "sinusoidal"


@pytest.mark.parametrize("task", tasks.lra.TASKS)
def test_paper_is_table_a4(task):
    run = next(r for r in preset("paper") if (r.dataset, r.model) == (task, "metala"))
    line = A4[task]
    assert run.depth == int(line["depth"])
    assert (run.d_model, run.d_channel) == (int(line["d_model"]), int(line["d_glu"]))
    state = zoo.load(run.model).state(run.d_model)
    assert state.heads * state.d_k == int(line["d_key"])
    assert (run.batch, run.lr) == (int(line["batch_size"]), float(line["lr"]))
    assert run.weight_decay == float(line["weight_decay"])
    assert (run.sublayer_dropout, run.warmup) == (float(line["dropout"]), int(line["warmup_steps"]))
    assert run.bidirectional == (line["bidirectional"] == "yes")


def test_paper_trains_hgrn_s_epochs_and_validates_after_each():
    runs = [run for run in preset("paper") if run.model == "hgrn"]
    epochs = {run.dataset: run.updates / run.epoch_updates for run in runs}
    assert epochs == dict(zip(tasks.lra.TASKS, (50, 32, 20, 100, 200, 100), strict=True))
    assert all(run.evaluate_every == run.epoch_updates for run in runs)
    assert {(run.norm, run.clip, run.schedule, run.seed) for run in runs} == {
        ("batch", 0.0, "cosine", 2222)
    }
    assert {run.dataset: run.dropout for run in runs if run.positions == "none"} == {
        "pathfinder": 0.0,
        "pathx": 0.0,
    }


def test_s4_makes_the_published_updates():
    runs = {run.dataset: run for run in preset("s4") if run.model == "s4d"}
    updates = [runs[task].updates for task in tasks.lra.TASKS]
    assert updates == [120_000, 44_992, 45_960, 180_000, 500_000, 500_000]
    assert {task for task, run in runs.items() if run.block == "post"} == {"listops", "image"}
    assert {(r.norm, r.state_lr, r.weight_decay, r.bidirectional) for r in runs.values()} == {
        ("batch", 0.001, 0.05, True)
    }
    assert {run.positions for run in runs.values()} == {"none"}


def test_lra_original_keeps_its_budgets_schedules_and_tokens():
    runs = {run.dataset: run for run in preset("lra-original") if run.model == "attention"}
    told = {name: (run.updates, run.warmup, run.schedule) for name, run in runs.items()}
    assert told == {
        "listops": (5000, 1000, "rsqrt"),
        "text": (20_000, 8000, "rsqrt"),
        "retrieval": (5000, 8000, "rsqrt"),
        "image": (200 * 175, 175, "cosine"),
        "pathfinder": (200 * 312, 312, "cosine"),
        "pathx": (200 * 2500, 2500, "cosine"),
    }
    inputs = {dict(run.shape)["inputs"] for run in runs.values()}
    assert (inputs, {run.test_weights for run in runs.values()}) == ({"tokens"}, {"last"})
    assert {n for n, run in runs.items() if run.pooling == "mean"} == {"pathfinder", "pathx"}
    assert {n for n, run in runs.items() if run.clip} == {"pathx"}


def test_quick_gives_every_model_the_same_on_small_data_sets():
    runs = preset("quick")
    assert {run.data.kind for run in runs} == {"short"}
    assert {run.data.of for run in runs} == {"listops", "pathfinder", "text"}
    for name in {run.dataset for run in runs}:
        alike = {"model": "", "positions": "none"}
        settings = {r.model_copy(update=alike).key for r in runs if r.dataset == name}
        models = [run.model for run in runs if run.dataset == name]
        assert len(settings) == 1
        assert set(models) == {"attention", "s5", "hgrn", "mamba", "metala"}
        assert len(models) == 5


def test_quick_leaves_positions_to_the_models_on_pathfinder_but_for_attention():
    runs = [run for run in preset("quick") if run.dataset == "pathfinder-easy"]
    positions = {run.model: run.positions for run in runs}
    assert positions.pop("attention") == "sinusoidal"
    assert set(positions.values()) == {"none"}


def test_a_stand_in_has_the_settings_of_its_task():
    (own,) = narrowed("paper", {"dataset": ("text",), "model": ("hgrn",)})
    (other,) = narrowed("paper", {"dataset": ("text-imdb-train",), "model": ("hgrn",)})
    assert other == own.model_copy(update={"dataset": "text-imdb-train"})


def test_a_data_set_of_no_task_of_the_preset_is_refused():
    with pytest.raises(ValueError, match="says nothing of Image"):
        narrowed("quick", {"dataset": ("image-fashion",)})


def test_a_data_set_of_the_preset_selects_its_runs():
    runs = narrowed("quick", {"dataset": ("listops-short",), "model": ("metala",)})
    assert {run.key for run in runs} <= {run.key for run in preset("quick")}
    assert {(run.dataset, run.model) for run in runs} == {("listops-short", "metala")}
