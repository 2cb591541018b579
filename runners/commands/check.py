"""lazoo check: the certificate of a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import zoo
from runners.commands import Switch, flag, parse, print_json, refusals
from zoo.check import LONG, Certificate, certificate

EXAMPLES = (
    "lazoo check metala",
    "lazoo check metala:no_aug --d-model 64 --conv k2",
    "lazoo check",
)
PLUGIN = "files that define one model each; without names, these are checked"


@dataclass(frozen=True)
class Arguments:
    """Is a model right? Shapes, causality, equal forms, gradients, decays, state bytes."""

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], flag("none for all", metavar="MODEL ...")
    ] = ()
    d_model: Annotated[int, flag("width, channels", "32")] = 32
    conv: Annotated[str, flag("short convolution: own, none, or k2, k4-silu ...", "own")] = "own"
    length: Annotated[int, flag("tokens under strong and weak decay", str(LONG))] = LONG
    json: Annotated[Switch, flag("the same as JSON")] = False
    plugin: Annotated[tuple[Path, ...], flag(PLUGIN)] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "check", argv, EXAMPLES)
    torch.set_flush_denormal(True)
    with refusals("check"):
        plugins = [zoo.plugin(path) for path in arguments.plugin]
        names = list(arguments.names) or plugins or zoo.names()
        for name in names:
            zoo.load(name)
    found: list[Certificate] = []
    for name in names:
        print(f"checking {name}", file=sys.stderr)
        with refusals("check"):
            options = {"d_model": arguments.d_model, "conv": arguments.conv}
            found.append(certificate(name, **options, length=arguments.length))
        if not arguments.json:
            print(text(found[-1]), flush=True)
    if arguments.json:
        print_json([{**asdict(each), "ok": each.ok} for each in found])
    return int(not all(each.ok for each in found))


def text(found: Certificate) -> str:
    """One line for each property, then the numbers."""
    words = {True: "ok", False: "FAILED", None: "-"}
    width = max(len(finding.name) for finding in found.findings)
    parameters = ", ".join(f"{role} {count:,}" for role, count in found.parameters.items())
    return "\n".join(
        [
            f"{found.model}, d_model {found.d_model}, conv {found.conv}: "
            + ("ok" if found.ok else "FAILED"),
            *(f"  {words[f.passed]:6}  {f.name:<{width}}  {f.evidence}" for f in found.findings),
            f"  parameters of two layers: {parameters}",
            f"  state of two layers after 64 tokens: {found.state_bytes:,} bytes",
            "",
        ]
    )
