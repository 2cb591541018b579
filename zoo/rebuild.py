"""What the config.json of a trained model says of its Model, and the way back to a Model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import zoo
from zoo.model import Model

MODEL_TYPE = "lazoo"
# Arguments of Model that readers of a config.json know by another name.
WRITTEN = {
    "vocabulary": "vocab_size",
    "max_length": "max_position_embeddings",
    "tied": "tie_word_embeddings",
}
# Which backend can run is a question of the machine that loads the model.
LEFT_OUT = ("self", "spec", "backend")


def arguments() -> dict[str, Any]:
    """Of Model, as a config.json writes them, with their defaults; None where there is none."""
    known = inspect.signature(Model.__init__).parameters.values()
    return {
        WRITTEN.get(p.name, p.name): None if p.default is p.empty else p.default
        for p in known
        if p.name not in LEFT_OUT
    }


def described(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a config.json. name: of the model in the zoo; values: of Model's arguments."""
    given = {WRITTEN.get(key, key): value for key, value in values.items()}
    chosen = {"zoo_model": name, **arguments(), **given}
    assert len(chosen) == 1 + len(arguments()), f"Model has not all of the arguments {list(values)}"
    assert None not in chosen.values(), f"Model needs more arguments than {list(values)}"
    return chosen


def rebuilt(told: Mapping[str, Any]) -> Model:
    """The Model that a config.json describes, with weights of its own initialisation.

    Raises: ValueError where the zoo lacks the model, or has another one of that name.
    """
    name = told.get("zoo_model")
    if not isinstance(name, str) or not name:
        raise ValueError(
            "config.json has no zoo_model, so it is not of a model of this zoo; give a folder that"
            " lazoo lm has written"
        )
    _check_plugin(name, dict(told.get("about") or {}).get("plugin_sha256") or "")
    missing = [key for key in arguments() if told.get(key) is None]
    if missing:
        raise ValueError(
            f"config.json lacks {', '.join(missing)}, without which no {name} is built"
        )
    own = {written: name for name, written in WRITTEN.items()}
    try:
        return Model(zoo.load(name), **{own.get(key, key): told[key] for key in arguments()})
    except TypeError as error:
        raise ValueError(f"config.json is damaged, no {name} is built from it: {error}") from None


def float64(model: Model, told: Mapping[str, Any]) -> Model:
    """The model in float64 where its weights are; other weights fit into float32 as they are."""
    return model.double() if str(told.get("dtype", "")).endswith("float64") else model


def _check_plugin(name: str, trained_with: str) -> None:
    known = name.partition(":")[0] in zoo.names()
    if trained_with and not known:
        raise ValueError(
            f"{name} is a model of a user's file; give that file: --plugin FILE on the command"
            " line, zoo.plugin(FILE) in Python"
        )
    now = zoo.plugin_sha256(name)
    if known and now != trained_with:
        raise ValueError(
            f"{name} was trained with {_file(trained_with)}, and {name} is now of {_file(now)};"
            " give the file as it was: --plugin FILE on the command line, zoo.plugin(FILE) in"
            " Python"
        )


def _file(sha256: str) -> str:
    return f"a plugin of sha256 {sha256[:12]}" if sha256 else "the zoo itself"
