"""lazoo doctor: what this machine can run, what is missing, the command that fixes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

import zoo
from runners import doctor
from runners.commands import Switch, flag, parse, print_json, refusals

EXAMPLES = ("lazoo doctor", "lazoo doctor metala delta_net", "lazoo doctor --json")
NAMES = "say of these why each scan backend can run them or not"


@dataclass(frozen=True)
class Arguments:
    """What this machine can run, what is missing, and the command that fixes it."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], flag(NAMES, metavar="MODEL ...")] = ()
    out: Annotated[Path, flag("folder that results would go to", "runs")] = Path("runs")
    data: Annotated[Path, flag("folder of data sets", "data")] = Path("data")
    json: Annotated[Switch, flag("the same as JSON")] = False
    plugin: Annotated[tuple[Path, ...], flag("files that define one model each")] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "doctor", argv, EXAMPLES)
    with refusals("doctor"):
        for path in arguments.plugin:
            zoo.plugin(path)
        served = [doctor.served(name) for name in arguments.names or zoo.names()]
    facts = doctor.facts(arguments.out, arguments.data)
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
    print("\nscan backends, and the models that they run here")
    print(*backends(served, explained=bool(arguments.names)), sep="\n")
    return int(not well)


def backends(served: Sequence[doctor.Served], explained: bool) -> list[str]:
    """A line for each backend; or for each model, with what the other backends say."""
    if explained:
        return [line for each in served for line in reasons(each)]
    models: dict[str, list[str]] = {}
    for each in served:
        models.setdefault(each.backend, []).append(each.model)
    width = max(map(len, models))
    lines = [f"  {backend:<{width}}  {', '.join(names)}" for backend, names in models.items()]
    return [*lines, "lazoo doctor MODEL says why the other backends do not."]


def reasons(each: doctor.Served) -> list[str]:
    lines = [f"  {each.model}: {each.backend}"]
    for name, reason in each.refused.items():
        lines.append(f"      {name}: {reason or 'could run, if asked for with --backend'}")
    return lines
