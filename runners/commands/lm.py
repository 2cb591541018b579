"""lazoo lm: language models from flags or a preset, then their table and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from runners import axes, lm_presets
from runners.commands import flag, sweeps
from runners.commands.teller import Teller
from runners.execution import Execution
from runners.lm_config import Lm
from runners.lm_estimate import estimate
from tasks.lm import data, identity

PRESET = f"a named list of runs: {', '.join(lm_presets.LM)}. {sweeps.BESIDE}"
DATA = "folder of the token caches; what needs no download is made there, see lazoo data lm"
STRATEGY = (
    "how processes that torchrun starts train one model: ddp, each has all of it; fsdp, each has a"
    " part"
)
CHECKPOINT = "minutes between two checkpoints of a run; one that was killed goes on from the last"


@dataclass(frozen=True)
class Sweep(sweeps.Sweep):
    """What is run, and how."""

    preset: Annotated[str, flag(PRESET)] = ""
    data: Annotated[Path, flag(DATA, "data")] = Path("data")
    checkpoint_minutes: Annotated[float, flag(CHECKPOINT, "10")] = 10.0
    strategy: Annotated[Literal["ddp", "fsdp"], flag(STRATEGY, "ddp")] = "ddp"


def main(argv: Sequence[str]) -> int:
    return sweeps.main(COMMAND, argv)


def executed(options: Sweep) -> Execution:
    """Raises: ValueError for what cannot be executed."""
    return sweeps.with_checkpoints(options, options.data, options.checkpoint_minutes)


def narrowed(preset: str, given: sweeps.Given) -> list[Lm]:
    return axes.narrowed(lm_presets.preset(preset), given)


def cost(run: Lm) -> float:
    """Multiplications of a run, roughly."""
    softmax = run.model.partition(":")[0] == "attention"
    each = 12 * run.d_model**2 + (run.seq_len * run.d_model if softmax else 0)
    return run.tokens * (run.depth * each + run.vocabulary * run.d_model)


def completed(run: Lm, options: Sweep) -> Lm:
    """The run with a hash of what outside of this package decides its text."""
    found = identity.of(run.corpus, run.tokeniser, options.data)
    return run.model_copy(update={"text_sha256": found})


def ready(runs: Sequence[Lm], options: Sweep) -> None:
    """Makes the token caches of these runs. Raises: ValueError with what to type."""
    teller = Teller()
    try:
        for corpus, tokeniser in dict.fromkeys((run.corpus, run.tokeniser) for run in runs):
            data.prepare(corpus, tokeniser, options.data, tell=teller)
    finally:
        teller.end()


EXAMPLES = (
    "lazoo lm --preset quick",
    "lazoo lm --preset quick --model metala gla --seed 0 --lr 0.001 0.003",
    "lazoo lm --preset quick --model linformer --conv k4-silu",
    "lazoo lm --model metala --corpus my_texts --tokeniser bpe-4096 --updates 500",
    "lazoo lm --preset paper-360m --dry-run",
)
ABOUT = "Train language models that differ in their token mixer alone, then write table and plots."
Arguments = sweeps.arguments(Lm, Sweep, ABOUT)
COMMAND = sweeps.Command(
    name="lm",
    config=Lm,
    arguments=Arguments,
    examples=EXAMPLES,
    preset=lm_presets.preset,
    narrowed=narrowed,
    cost=cost,
    execution=executed,
    estimate=estimate,
    bound="no run ends before its budget",
    table="lm",
    plot="lm",
    prepare=ready,
    completed=completed,
)
