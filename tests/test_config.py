"""Configs: complete, frozen, and refused with both numbers and what to type instead."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from runners.config import Mqar, explain

SMALL: dict[str, Any] = {"vocabulary": 64, "length": 32, "pairs": 4}


def message(**fields: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        Mqar(**fields)
    return explain(refused.value)


def test_every_field_is_described():
    assert [n for n, f in Mqar.model_fields.items() if not f.description] == []


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Mqar(model="metala"), "lr", 1.0)  # noqa: B010 - pyright would refuse the statement


def test_key_is_the_same_on_every_machine():
    assert Mqar(model="metala").key == "c8c928a879ef7a0f"
    assert Mqar(model="attention", lr=4.642e-4, tied=False, **SMALL).key == "842d6b27cc015997"


def test_key_depends_on_every_field():
    other = {
        "model": "gla",
        "conv": "k2",
        "channel_mixer": "mlp",
        "norm": "rms",
        "positions": "learned",
        "first_mixer": "base_conv",
        "initialisation": "zoology",
        "schedule": "constant",
        "selection": "test",
        "precision": "bf16",
        "backend": "loop",
        "filler": "random",
        "mixture": "zoology",
    }
    base: dict[str, Any] = Mqar(model="attention").model_dump()
    keys = {Mqar(**base).key}
    for name, value in base.items():
        new = other.get(name) or (not value if isinstance(value, bool) else value + 1)
        keys.add(Mqar.model_construct(**{**base, name: new}).key)
    assert len(keys) == 1 + len(base)


def test_key_ignores_how_a_number_was_written():
    assert Mqar(model="metala", lr=1).key == Mqar(model="metala", lr=1.0).key


def test_a_config_survives_json():
    config = Mqar(model="metala:no_aug", lr=0.003, **SMALL)
    assert Mqar(**json.loads(config.model_dump_json())).key == config.key


@pytest.mark.parametrize("name", list(Mqar.model_fields))
def test_a_misspelt_field_is_refused_with_the_right_one(name):
    for typo in (name[:-1] + "q" if len(name) > 2 else name + "q", name[0] + name):
        assert f"did you mean {name}?" in message(model="metala", **{typo: 1})


@pytest.mark.parametrize(("theirs", "ours"), [("learning_rate", "lr"), ("n_layers", "depth")])
def test_names_of_other_suites_are_understood(theirs, ours):
    assert (
        message(model="metala", **{theirs: 1}) == f"{theirs} is not a field; did you mean {ours}?"
    )


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"model": "metla"}, ["metla", "did you mean metala?"]),
        ({"model": "metala:no_agu"}, ["no_agu", "no_aug"]),
        ({}, ["model is missing"]),
        ({"model": "metala", "pairs": 40, "length": 64}, ["64", "160", "16"]),
        ({"model": "metala", "vocabulary": 64, "length": 64}, ["64", "65"]),
        ({"model": "metala", "d_model": 20}, ["20", "16"]),
        ({"model": "metala", "batch": 64, "train_rows": 32}, ["64", "32"]),
        ({"model": "metala", "warmup": 20, "updates": 10}, ["20", "10"]),
        ({"model": "metala", "warmup": 20, "schedule": "cosine-epoch"}, ["20", "cosine"]),
        ({"model": "metala", "conv": "q2"}, ["q2", "k2"]),
        ({"model": "metala", "backend": "matrx"}, ["matrx", "did you mean matrix?"]),
        ({"model": "metala", "precision": "fp61"}, ["fp61", "fp32 or bf16", "did you mean"]),
        ({"model": "metala", "attention_dropout": 0.1}, ["0.1", "metala"]),
        ({"model": "metala", "positions": "rope"}, ["rope", "MetaLA"]),
        ({"model": "metala", "mixture": "zoology", "length": 64}, ["64", "zoology"]),
        ({"model": "metala", "lr": float("nan")}, ["lr", "nan"]),
        ({"model": "metala", "lr": 0}, ["lr 0", "greater than 0"]),
        ({"model": "metala", "batch": "many"}, ["batch 'many'", "integer"]),
    ],
)
def test_what_cannot_run_is_refused_in_plain_words(fields, parts):
    found = message(**fields)
    assert [part for part in parts if part not in found] == []
    assert "Value error" not in found
    assert "pydantic" not in found


def test_a_mixture_is_as_long_as_its_longest_row():
    assert Mqar(model="metala", mixture="zoology").max_length == 1024
