"""lazoo mqar: a grid of MQAR runs from flags or a preset, then the table and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from runners import axes, presets
from runners.commands import flag, sweeps
from runners.config import Mqar
from runners.estimate import estimate
from runners.execution import Execution

PRESET = f"a named list of runs: {', '.join(presets.MQAR)}. {sweeps.BESIDE}"
STACK = (
    "runs that differ in lr and seed alone and train as one batched model, at most so many; their"
    " results agree with single runs up to rounding and dropout draws"
)


@dataclass(frozen=True)
class Sweep(sweeps.Sweep):
    """What is run, and how."""

    preset: Annotated[str, flag(PRESET)] = ""
    stack: Annotated[int, flag(STACK, "1")] = 1


def main(argv: Sequence[str]) -> int:
    return sweeps.main(COMMAND, argv)


def executed(options: Sweep) -> Execution:
    """Raises: ValueError for what cannot be executed."""
    if options.stack < 1:
        raise ValueError(f"stack {options.stack} trains nothing; type --stack 1, or more than 1")
    if options.stack > 1 and options.compile:
        raise ValueError("stacked runs cannot be compiled; leave out --compile, or type --stack 1")
    return Execution(options.stack, options.graph, options.compile)


def narrowed(preset: str, given: sweeps.Given) -> list[Mqar]:
    return axes.narrowed(presets.preset(preset), given)


def cost(run: Mqar) -> float:
    """Multiplications of a run, roughly: projections of all tokens, the head on all labels."""
    tokens, labels = run.batch * run.max_length, run.batch * run.pairs
    body = tokens * run.depth * 6 * run.d_model**2
    return run.updates * (body + labels * run.vocabulary * run.d_model)


EXAMPLES = (
    "lazoo mqar --preset quick",
    "lazoo mqar --preset paper --dry-run",
    "lazoo mqar --preset quick --model metala gla --d-model 32 --lr 0.003 0.01",
    "lazoo mqar --model metala --d-model 32 64 --length 64 --pairs 4 --vocabulary 256 --dry-run",
)
ABOUT = "Run or sweep multi-query associative recall, then write table and plot."
Arguments = sweeps.arguments(Mqar, Sweep, ABOUT)
COMMAND = sweeps.Command(
    name="mqar",
    config=Mqar,
    arguments=Arguments,
    examples=EXAMPLES,
    preset=presets.preset,
    narrowed=narrowed,
    cost=cost,
    execution=executed,
    estimate=estimate,
    bound="runs that reach stop_at end sooner",
    table="mqar",
    plot="mqar",
)
