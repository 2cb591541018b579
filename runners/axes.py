"""From flags to runs: every field of a config is a flag, several values of it are an axis."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import field, make_dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import tyro
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from tyro.constructors import PrimitiveConstructorSpec

from runners import errors

C = TypeVar("C", bound=BaseModel)
Axes = Mapping[str, tuple[Any, ...]]


def flags(config: type[BaseModel]) -> type:
    """A dataclass for tyro with a tuple for each field of a config; an empty one was not given."""
    made = [
        (name, _flag(name, info), field(default=())) for name, info in config.model_fields.items()
    ]
    return make_dataclass("Fields", made, frozen=True)


def given(arguments: object, config: type[BaseModel]) -> dict[str, tuple[Any, ...]]:
    """The fields that were given on the command line, with their values."""
    values = {name: getattr(arguments, name) for name in config.model_fields}
    return {name: axis for name, axis in values.items() if axis}


def product(config: type[C], axes: Axes) -> list[C]:
    """One run for each combination of values; the last axis varies fastest.

    Raises: pydantic's ValidationError for the first combination that cannot run.
    """
    combinations = itertools.product(*axes.values())
    return unique([config(**dict(zip(axes, values, strict=True))) for values in combinations])


def narrowed(runs: Sequence[C], axes: Axes) -> list[C]:
    """A preset's runs under the flags given beside it.

    A value that the preset has selects its runs; any other value is put into all of them. A
    model's name also selects its variants. A model that the preset does not have runs with the
    settings that most of the preset's models share.
    Raises: pydantic's ValidationError for the first run that cannot be.
    """
    contents = [run.model_dump() for run in runs]
    for name, values in axes.items():
        chosen: list[dict[str, Any]] = []
        for value in values:
            base = _commonest(contents) if name == "model" else contents
            found = [content for content in contents if _has(content, name, value)]
            chosen += found or [{**content, name: value} for content in base]
        contents = chosen
    # Built at the end only: two flags can be possible together and not one by one.
    return unique([type(runs[0])(**content) for content in contents])


def unique(runs: Sequence[C]) -> list[C]:
    """Without repetitions, in the order of first appearance."""
    return list({run.model_dump_json(): run for run in runs}.values())


def _has(content: Mapping[str, Any], name: str, value: Any) -> bool:
    own = content[name]
    return own == value or (name == "model" and own.partition(":")[0] == value)


def _commonest(contents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of the first model whose settings are those of the most models."""
    settings: dict[str, list[str]] = {}
    for content in contents:
        rest = {name: value for name, value in content.items() if name != "model"}
        settings.setdefault(content["model"], []).append(json.dumps(rest, sort_keys=True))
    counted = list(settings.values())
    model = max(settings, key=lambda name: counted.count(settings[name]))
    return [content for content in contents if content["model"] == model]


def _flag(name: str, info: FieldInfo) -> Any:
    """The annotation of one flag: any number of values, help from description and default."""
    kind = info.annotation
    default = "no default" if info.is_required() else f"default: {_text(info.default)}"
    spec = PrimitiveConstructorSpec(
        nargs="*",
        metavar=_metavar(kind),
        instance_from_str=lambda words: _values(name, kind, words),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [_text(one) for one in value],
    )
    shown = tyro.conf.arg(help=info.description, help_behavior_hint=f"({default})")
    return Annotated[tuple, spec, shown]


def _values(name: str, kind: Any, words: list[str]) -> tuple[Any, ...]:
    if not words and kind is bool:
        return (True,)
    if not words:
        raise ValueError(f"{name} is given without a value")
    return tuple(_value(name, kind, word) for word in words)


def _value(name: str, kind: Any, word: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(word)
    except ValidationError as error:
        problem = errors.lines(error, [])
        raise ValueError(f"{name} {problem.lstrip()}") from None


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "} ..."
    word = {int: "INT", float: "FLOAT", bool: "{true,false}", str: "NAME"}.get(kind, "VALUE")
    return f"{word} ..."


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
