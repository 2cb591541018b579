"""lazoo models: the zoo as a table, or one model with its equations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import zoo
from runners.commands import Switch, flag, parse, print_json, print_table, refusals
from zoo.describe import FAMILIES, by_family, describe
from zoo.equations import FUNCTIONS
from zoo.theory.named import named

EXAMPLES = (
    "lazoo models",
    "lazoo models metala",
    "lazoo models metala:no_aug --d-model 128",
    "lazoo models --json",
)
MARKS = {True: "+", False: "-", None: "?"}
WORDS = {True: "met", False: "not met", None: "undecided"}


@dataclass(frozen=True)
class Arguments:
    """The zoo as a table, or models with their equations."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], flag("none for all", metavar="MODEL ...")
    ] = ()
    d_model: Annotated[int, flag("width at which sizes are given, channels", "64")] = 64
    json: Annotated[Switch, flag("the same as JSON")] = False
    plugin: Annotated[tuple[Path, ...], flag("files that define one model each")] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "models", argv, EXAMPLES)
    torch.set_num_threads(1)  # tensors are small here: threads would wait for one another
    with refusals("models"):
        for path in arguments.plugin:
            zoo.plugin(path)
        names = arguments.names or by_family(zoo.names())
        if len(names) > 1:
            print(f"measuring {len(names)} models", file=sys.stderr)
        found = [
            describe(name, arguments.d_model) | {"conditions": conditions(name)} for name in names
        ]
    if arguments.json:
        print_json(found)
    elif arguments.names:
        print("\n\n".join(map(one, found)))
    else:
        overview(found, arguments.d_model)
    return 0


def conditions(name: str) -> dict[str, bool | None]:
    """Which of the paper's conditions the model meets as implemented; None is undecided."""
    return {f"C{i}": met for i, met in enumerate(named(name).met)}


def overview(found: Sequence[dict[str, Any]], d_model: int) -> None:
    """Two tables by family: what the models are, and their five functions."""
    header = ("name", "paper", "decay", "state", "kept", "parameters", "C0-C3", "variants")
    print_table(header, grouped(found, facts))
    print()
    print_table(("name", *FUNCTIONS), grouped(found, functions))
    print(
        f"\nstate: heads x d_k x d_v in a layer of width {d_model}; kept: all floats that it hands "
        "from token to token,\nmeasured; parameters: of one mixer. x is the layer's input, u what "
        "a projection or short convolution makes of it."
    )
    print("C0-C3, as implemented: + met, - not met, ? undecided (lazoo conditions says why).")
    for model in found:
        if model["by_design"]:
            print(f"{model['name']} lacks by design: {', '.join(model['by_design'])}.")
    print("lazoo models NAME gives the equations, lazoo compare NAME NAME what tells two apart.")


def grouped(
    found: Sequence[dict[str, Any]], line: Callable[[dict[str, Any]], Sequence[str]]
) -> list[Sequence[str]]:
    """Lines under the names of their families."""
    made: list[Sequence[str]] = []
    for family in FAMILIES:
        members = [line(model) for model in found if model["family"] == family]
        if members:
            blank = [""] * (len(members[0]) - 1)
            made += [["", *blank]] * bool(made) + [[family.upper(), *blank], *members]
    return made


def facts(model: dict[str, Any]) -> list[str]:
    entries = [model["name"], model["paper"].removeprefix("arXiv "), model["decay"]]
    entries += [shape(model), kept(model), f"{sum(model['parameters'].values()):,}"]
    entries.append(" ".join(MARKS[met] for met in model["conditions"].values()))
    return [*entries, variants(model)]


def functions(model: dict[str, Any]) -> list[str]:
    return [model["name"], *(model[key] for key in FUNCTIONS)]


def one(model: dict[str, Any]) -> str:
    """One model in full."""
    shared = model["shared_parameters"]
    facts = {
        "family": model["family"],
        "paper": model["paper"],
        "decay": model["decay"],
        "dimension": model["dimension"],
        f"state at d{model['d_model']}": f"{shape(model)}; kept {kept(model)} floats{first(model)}",
        "parameters": by_role(model["parameters"])
        + "".join(f", {n:,} a layer in {name}, which all share" for name, n in shared.items()),
        "in its blocks": f"channel mixer {model['channel']}, norm {model['block_norm']}",
        "conditions": ", ".join(
            f"{name} {WORDS[met]}" for name, met in model["conditions"].items()
        ),
        "variants": variants(model),
    }
    for name, reason in model["by_design"].items():
        facts[f"not {name}"] = f"by design: {reason}"
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


def by_role(parameters: dict[str, int]) -> str:
    parts = ", ".join(f"{role} {n:,}" for role, n in parameters.items() if n)
    return f"{sum(parameters.values()):,} in a mixer: {parts}"


def shape(model: dict[str, Any]) -> str:
    return f"{model['heads']} x {model['d_k']} x {model['d_v']}"


def kept(model: dict[str, Any]) -> str:
    """Measured floats; of a state that grows, how it does."""
    (few, before), (many, after) = model["measured_floats"].items()
    return f"{after / many:g} a token" if model["grows"] else f"{after:,}"


def first(model: dict[str, Any]) -> str:
    """What the first layer keeps, if that is something else."""
    n, same = model["first_layer_floats"], list(model["measured_floats"].values())[-1]
    return f" ({n:,} in the first layer)" if n != same else ""


def variants(model: dict[str, Any]) -> str:
    return ", ".join(model["variants"]) or "-"
