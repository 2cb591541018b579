"""lazoo lra: runs of the Long Range Arena from flags or a preset, then Table 7 and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tasks.lra
from runners import axes, lra_presets
from runners.commands import flag, sweeps
from runners.commands.teller import Teller
from runners.execution import Execution
from runners.lra_config import Lra
from runners.lra_estimate import estimate
from tasks.lra.data import missing, prepare

PRESET = (
    f"a named list of runs: {', '.join(lra_presets.LRA)}. {sweeps.BESIDE}; a data set that it lacks"
    " is trained as the LRA task that it is, or stands in for"
)
DATA = "folder of the data sets; small ones are made or fetched there, see lazoo data"
CHECKPOINT = "minutes between two checkpoints of a run; one that was killed goes on from the last"


@dataclass(frozen=True)
class Sweep(sweeps.Sweep):
    """What is run, and how."""

    preset: Annotated[str, flag(PRESET)] = ""
    data: Annotated[Path, flag(DATA, "data")] = Path("data")
    checkpoint_minutes: Annotated[float, flag(CHECKPOINT, "10")] = 10.0


def main(argv: Sequence[str]) -> int:
    return sweeps.main(COMMAND, argv)


def executed(options: Sweep) -> Execution:
    """Raises: ValueError for what cannot be executed."""
    return sweeps.with_checkpoints(options, options.data, options.checkpoint_minutes)


def narrowed(preset: str, given: sweeps.Given) -> list[Lra]:
    """As for every task; a data set that the preset lacks takes the runs of its own LRA task."""
    runs = lra_presets.preset(preset)
    for name in given.get("dataset", ()):
        runs += like_its_task(runs, name, preset)
    return axes.narrowed(runs, given)


def like_its_task(runs: Sequence[Lra], name: str, preset: str) -> list[Lra]:
    """The runs of the data set's task, on that data set; none where it is among them already."""
    asked = tasks.lra.dataset(name)
    if any(run.dataset == name for run in runs):
        return []
    alike = [run for run in runs if run.data.of == asked.of]
    if not alike:
        raise ValueError(
            f"preset {preset} says nothing of {tasks.lra.dataset(asked.of).title}, so it cannot"
            f" train {name}; type --preset paper, or --dataset and one of"
            f" {', '.join(dict.fromkeys(run.dataset for run in runs))}"
        )
    first = alike[0].dataset
    # Not validated here: another flag may make possible what this one alone does not.
    return [run.model_copy(update={"dataset": name}) for run in alike if run.dataset == first]


def cost(run: Lra) -> float:
    """Multiplications of a run, roughly: projections of all tokens, and attention's map of them."""
    tokens = run.batch * run.data.documents * run.max_length
    softmax = run.model.partition(":")[0] == "attention"
    each = 12 * run.d_model**2 + (2 * run.max_length * run.d_model if softmax else 0)
    return run.updates * tokens * run.depth * each


def ready(runs: Sequence[Lra], options: Sweep) -> None:
    """Makes or fetches the data sets of these runs. Raises: ValueError with what to type."""
    to_fetch = {
        run.dataset: sum(source.bytes for source in missing(run.dataset, options.data))
        for run in runs
    }
    teller = Teller()
    try:
        # What may be refused comes first, before minutes go into the others.
        for name in sorted(to_fetch, key=to_fetch.__getitem__, reverse=True):
            prepare(name, options.data, tell=teller)
    finally:
        teller.end()


EXAMPLES = (
    "lazoo lra --preset quick",
    "lazoo lra --preset quick --dataset listops-short --model metala hgrn --lr 0.001 0.003",
    "lazoo lra --preset paper --dataset pathfinder --model metala --dry-run",
    "lazoo lra --preset paper --dataset text-imdb-train --model gla",
    "lazoo lra --dataset image-fashion --model s5 --depth 4 --batch 50 --updates 9000 --dry-run",
)
ABOUT = "Run or sweep the Long Range Arena, then write Table 7 and its plot."
Arguments = sweeps.arguments(Lra, Sweep, ABOUT)
COMMAND = sweeps.Command(
    name="lra",
    config=Lra,
    arguments=Arguments,
    examples=EXAMPLES,
    preset=lra_presets.preset,
    narrowed=narrowed,
    cost=cost,
    execution=executed,
    estimate=estimate,
    bound="every row counts as the longest one",
    table="7",
    plot="lra",
    prepare=ready,
)
