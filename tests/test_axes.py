"""Which runs flags and presets ask for."""

from runners import axes
from runners.config import Mqar
from runners.presets import preset


def test_several_values_make_every_combination():
    flags = {"model": ("gla", "attention"), "d_model": (64, 128), "lr": (0.1, 0.1)}
    runs = axes.product(Mqar, flags)
    assert [(run.model, run.d_model) for run in runs] == [
        ("gla", 64),
        ("gla", 128),
        ("attention", 64),
        ("attention", 128),
    ]


def test_a_value_that_the_preset_has_selects_its_runs():
    runs = axes.narrowed(preset("paper"), {"model": ("metala",), "d_model": (64,), "pairs": (16,)})
    assert {run.model for run in runs} == {"metala:mqar+conv2", "metala:mqar+conv2_silu"}
    assert set(runs) <= set(preset("paper"))
    assert len(runs) == 8


def test_a_value_that_the_preset_lacks_is_put_into_all_its_runs():
    runs = axes.narrowed(preset("quick"), {"updates": (40,), "warmup": (4,), "seed": (0, 1)})
    assert len(runs) == 2 * len(preset("quick"))
    assert {(run.updates, run.warmup) for run in runs} == {(40, 4)}


def test_a_model_that_the_preset_lacks_takes_what_most_of_its_models_share():
    runs = axes.narrowed(preset("paper"), {"model": ("metala:no_aug",)})
    usual = axes.narrowed(preset("paper"), {"model": ("hgrn",)})
    assert [run.model_copy(update={"model": "hgrn"}) for run in runs] == usual
