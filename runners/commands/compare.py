"""lazoo compare: two models term by term, and every difference in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import zoo
from runners.commands import Switch, flag, parse, print_json, print_table, refusals
from zoo.compare import Term, compare
from zoo.describe import describe

EXAMPLES = (
    "lazoo compare metala gla",
    "lazoo compare metala metala:no_aug",
    "lazoo compare hgrn2 my_model --plugin my_model.py --d-model 128",
)


@dataclass(frozen=True)
class Arguments:
    """What tells two models apart, in the template's terms: formulas, sizes, parameters.

    Constants that a formula leaves out, such as an eps, and initial values are not compared.
    """

    one: Annotated[tyro.conf.Positional[str], flag("", metavar="MODEL")]
    other: Annotated[tyro.conf.Positional[str], flag("", metavar="MODEL")]
    d_model: Annotated[int, flag("width at which sizes are given, channels", "64")] = 64
    json: Annotated[Switch, flag("the same as JSON")] = False
    plugin: Annotated[tuple[Path, ...], flag("files that define one model each")] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "compare", argv, EXAMPLES)
    torch.set_num_threads(1)  # tensors are small here: threads would wait for one another
    with refusals("compare"):
        for path in arguments.plugin:
            zoo.plugin(path)
        terms = compare(arguments.one, arguments.other, arguments.d_model)
    if arguments.json:
        models = [describe(name, arguments.d_model) for name in (arguments.one, arguments.other)]
        print_json({"models": models, "terms": [asdict(term) for term in terms]})
        return 0
    show(arguments.one, arguments.other, terms)
    return 0


def show(one: str, other: str, terms: Sequence[Term]) -> None:
    """What differs as a table, what is equal in a few lines, and the differences in words."""
    apart = [term for term in terms if not term.same]
    if apart:
        lines = [(term.name, term.one or "-", term.other or "-") for term in apart]
        print_table(("differs", one, other), lines)
        print()
    equal = [(term.name, term.one) for term in terms if term.same]
    print_table(("the same as printed", ""), equal)
    print()
    for term in apart:
        print(f"- {term.sentence}")
    if not apart:
        print(f"{one} and {other} do not differ in any term of the template.")
