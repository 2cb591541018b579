"""Configs of the Long Range Arena: complete, refused with what to type, epochs as published."""

from typing import Any

import pytest
from pydantic import ValidationError

from runners import errors
from runners.config import Mqar
from runners.grids import changed
from runners.lra_config import Lra, build, of_epochs

BASE: dict[str, Any] = {"model": "metala", "dataset": "listops-short"}
# Table A4's batch sizes but for Retrieval (64, HGRN's); steps per epoch of the facts file.
EPOCHS = [
    ("listops", "validation", 128, 750),
    ("text", "test", 64, 390),
    ("text", "validation", 64, 351),
    ("retrieval", "validation", 64, 2298),
    ("retrieval", "validation", 128, 1149),
    ("image", "validation", 128, 351),
    ("pathfinder", "validation", 256, 625),
    ("pathx", "validation", 256, 625),
]


def message(**fields: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        Lra(**fields)
    return errors.lines(refused.value, list(Lra.model_fields))


def test_every_field_is_described():
    assert [n for n, f in Lra.model_fields.items() if not f.description] == []


def test_no_field_is_there_that_an_encoder_has_no_use_for():
    assert not {"first_mixer", "tied", "length", "vocabulary"} & set(Lra.model_fields)


@pytest.mark.parametrize(("dataset", "selection", "batch", "updates"), EPOCHS)
def test_an_epoch_has_the_published_number_of_updates(dataset, selection, batch, updates):
    fields = {"dataset": dataset, "selection": selection, "batch": batch}
    run = of_epochs(3, model="attention", **fields)
    assert (run.epoch_updates, run.evaluate_every, run.updates) == (updates, updates, 3 * updates)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"model": "metala"}, ["dataset is missing"]),
        ({"dataset": "listop"}, ["listop", "did you mean listops?"]),
        ({"dataset": "nothing"}, ["nothing", "type one of listops, text"]),
        ({"batch": 20_001}, ["20001", "20000", "type batch 20000 or less"]),
        ({"batch": 8, "accumulate": 9}, ["9", "8", "type accumulate 8 or less"]),
        ({"inputs": "tokens"}, ["inputs tokens", "listops-short", "no pixels"]),
        ({"attention_dropout": 0.1}, ["0.1", "metala"]),
        ({"d_model": 20}, ["20", "16"]),
        ({"warmup": 20, "updates": 10}, ["20", "10"]),
        ({"positions": "rope"}, ["rope", "MetaLA"]),
        ({"d_channel": 8}, ["d_channel", "8", "channel_mixer"]),
        ({"pooling": "cls", "bidirectional": False}, ["cls", "bidirectional"]),
        ({"schedule": "cosin"}, ["did you mean cosine?"]),
        ({"epochs": 3}, ["did you mean updates?"]),
        ({"state_lr": -1.0}, ["state_lr", "-1"]),
        ({"beta2": 1.0}, ["beta2", "less than 1"]),
        ({"test_weights": "first"}, ["best or last"]),
    ],
)
def test_what_cannot_run_is_refused_in_plain_words(fields, parts):
    found = message(**(fields if "model" in fields else {**BASE, **fields}))
    assert [part for part in parts if part not in found] == []
    assert "Value error" not in found


def test_a_warm_up_may_outlast_the_training_only_where_the_rate_has_no_end():
    assert Lra(**BASE, schedule="rsqrt", warmup=20, updates=10).warmup == 20
    assert "warmup" in message(**BASE, schedule="constant", warmup=20, updates=10)


def test_key_is_the_same_on_every_machine():
    assert Lra(**BASE).key == "2a98d60457ab7d7a"
    assert (
        Lra(model="s5", dataset="image", lr=0.0045, norm="batch", seed=1).key == "2d681aa8c8389146"
    )


def test_key_depends_on_every_field():
    base = Lra(model="attention", dataset="image").model_dump()
    keys = {Lra(**base).key}
    for name, value in base.items():
        new = not value if isinstance(value, bool) else value + type(value)("1")
        keys.add(Lra.model_construct(**{**base, name: new}).key)
    assert len(keys) == 1 + len(base)


def test_a_task_is_part_of_the_key():
    shared = set(Lra.model_fields) & set(Mqar.model_fields)
    assert {"model", "lr", "seed"} <= shared
    assert Lra(**BASE).key != Mqar(model="metala").key


def test_a_changed_copy_is_of_the_same_task_and_validated():
    run = changed(Lra(**BASE), lr=0.5)
    assert isinstance(run, Lra)
    assert (run.lr, run.dataset) == (0.5, "listops-short")
    with pytest.raises(ValidationError):
        changed(run, batch=10**6)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dataset": "image"}, ("values", 256, 10, 1, 1024)),
        ({"dataset": "image", "inputs": "tokens"}, ("tokens", 256, 10, 1, 1024)),
        ({"dataset": "retrieval"}, ("tokens", 257, 2, 2, 4000)),
        ({"dataset": "listops"}, ("tokens", 16, 10, 1, 2000)),
    ],
)
def test_the_model_fits_its_data_set(fields, expected):
    shape = dict(Lra(model="attention", d_model=8, depth=1, **fields).shape)
    names = ("inputs", "vocabulary", "classes", "documents", "max_length")
    assert tuple(shape[name] for name in names) == expected


def test_a_built_model_has_the_config_s_dropouts():
    model = build(Lra(**BASE, dropout=0.25, sublayer_dropout=0.5))
    rates = {module.p for module in model.modules() if type(module).__name__ == "Dropout"}
    assert rates == {0.25, 0.5}
