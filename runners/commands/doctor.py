"""lazoo doctor: what this machine can run, what is missing, the command that fixes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import zoo
from runners import doctor
from runners.commands import Switch, flag, parse, print_json

EXAMPLES = ("lazoo doctor", "lazoo doctor --json")


@dataclass(frozen=True)
class Arguments:
    """What this machine can run, what is missing, and the command that fixes it."""

    out: Annotated[Path, flag("folder that results would go to", "runs")] = Path("runs")
    json: Annotated[Switch, flag("the same as JSON")] = False


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "doctor", argv, EXAMPLES)
    facts = doctor.facts(arguments.out)
    served = [doctor.served(name) for name in zoo.names()]
    well = all(fact.good is not False for fact in facts)
    if arguments.json:
        content = {"ok": well, "facts": facts, "backends": served}
        print_json(
            {k: [asdict(x) for x in v] if isinstance(v, list) else v for k, v in content.items()}
        )
        return int(not well)
    words = {True: "ok", False: "MISSING", None: "-"}
    width = max(len(fact.what) for fact in facts)
    for fact in facts:
        print(f"{words[fact.good]:7}  {fact.what:<{width}}  {fact.said}")
        if fact.remedy:
            print(f"{'':7}  {'':<{width}}  {fact.remedy}")
    print("\nscan backends: which one runs a model here, and why the others do not")
    for each in served:
        print(f"  {each.model}: {each.backend}")
        for name, reason in each.refused.items():
            print(f"      {name}: {reason or 'could run, if asked for with --backend'}")
    return int(not well)
