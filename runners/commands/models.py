"""lazoo models: the zoo as a table, or one model with its equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import zoo
from runners.commands import Switch, flag, parse, print_json, print_table, refusals
from zoo.describe import describe

EXAMPLES = (
    "lazoo models",
    "lazoo models metala",
    "lazoo models metala:no_aug --d-model 128",
    "lazoo models --json",
)
FUNCTIONS = ("f_q", "f_k", "f_v", "f_alpha", "f_g")


@dataclass(frozen=True)
class Arguments:
    """The zoo as a table, or models with their equations."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], flag("none for all", metavar="MODEL ...")
    ] = ()
    d_model: Annotated[int, flag("width at which state sizes are given, channels", "64")] = 64
    json: Annotated[Switch, flag("the same as JSON")] = False
    plugin: Annotated[tuple[Path, ...], flag("files that define one model each")] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "models", argv, EXAMPLES)
    with refusals("models"):
        for path in arguments.plugin:
            zoo.plugin(path)
        names = arguments.names or zoo.names()
        found = [describe(name, arguments.d_model) for name in names]
    if arguments.json:
        print_json(found)
    elif arguments.names:
        print("\n\n".join(map(one, found)))
    else:
        overview(found, arguments.d_model)
    return 0


def overview(found: Sequence[dict[str, Any]], d_model: int) -> None:
    """Two tables: what the models are, and their five functions."""
    header = ("name", "label", "family", "paper", "decay", f"state at d{d_model}", "variants")
    lines = [
        (*(m[key] for key in ("name", "label", "family", "paper", "decay")), size(m), variants(m))
        for m in found
    ]
    print_table(header, lines)
    print()
    print_table(("name", *FUNCTIONS), [[m[key] for key in ("name", *FUNCTIONS)] for m in found])
    print(
        "\nstate: heads x d_k x d_v, and floats in a layer. lazoo models NAME gives the equations."
    )


def one(model: dict[str, Any]) -> str:
    """One model in full."""
    facts = {
        "family": model["family"],
        "paper": model["paper"],
        "decay": model["decay"],
        f"state at d{model['d_model']}": size(model),
        "variants": variants(model),
    }
    width = max(map(len, facts))
    return "\n".join(
        [
            f"{model['name']} ({model['label']})",
            "",
            *(f"  {name:<{width}}  {text}" for name, text in facts.items()),
            "",
            *(f"  {line}" for line in model["equations"]),
            "",
            *(f"  {line}".rstrip() for line in model["documentation"].splitlines()),
        ]
    )


def size(model: dict[str, Any]) -> str:
    shape = f"{model['heads']} x {model['d_k']} x {model['d_v']}"
    if model["state_floats"] is None:
        return f"{shape}, KV cache"
    return f"{shape}, {model['state_floats']:,}"


def variants(model: dict[str, Any]) -> str:
    return ", ".join(model["variants"]) or "-"
