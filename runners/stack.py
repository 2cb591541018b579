"""Runs that differ in learning rate and seed alone, trained together as one batched model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import torch

from runners import mqar
from runners.base import Run
from runners.config import Mqar, build
from runners.execution import Execution
from runners.loop import Progress
from runners.run import run_together
from runners.stacked import Stacked, slow_maps_allowed

R = TypeVar("R", bound=Run)
# Fields of a config that decide whether its model can be mapped, beside those of its shape.
MATTERS = ("dropout", "attention_dropout", "precision", "backend")
# Tokens, at most, of the row that a model is tried on.
TRIED_TOKENS = 1024


def groups(runs: Sequence[R], size: int) -> list[list[R]]:
    """`runs` in groups of at most `size` that can train together, each where its first run stood.

    Alone stay runs of other tasks, and those whose model `why_alone` explains.
    """
    open_groups: dict[str, list[R]] = {}
    made: list[list[R]] = []
    for run in runs:
        if size < 2 or not isinstance(run, Mqar):
            made.append([run])
            continue
        kind = kind_of(run)
        group = open_groups.get(kind)
        if group is None or len(group) == size:
            group = open_groups[kind] = list[R]()
            made.append(group)
        group.append(run)
    return [part for group in made for part in mapped(group)]


def kind_of(run: Run) -> str:
    """Equal for runs that differ in lr and seed alone."""
    return run.model_copy(update={"lr": 1e-3, "seed": 0}).key


def mapped(group: list[R]) -> list[list[R]]:
    """The group, or each of its runs alone."""
    first = group[0]
    if len(group) == 1 or (isinstance(first, Mqar) and not why_alone(first)):
        return [group]
    return [[run] for run in group]


def run_stacked(
    configs: Sequence[Mqar],
    presets: Mapping[str, str],
    progress: Progress | None,
    execution: Execution,
) -> list[dict[str, Any]]:
    """A row for each config of a group; what a single run writes, within rounding.

    Without dropout, that is: masks are drawn for all at once. A model that diverges or reaches its
    threshold is frozen while the others train on. seconds and step_seconds are each model's share,
    tokens_per_second those of all models; see runners.run.run_together for memory and progress.
    """
    if execution.compile:
        raise ValueError("torch.compile does not go with stacked runs; type --stack 1")
    if len(set(map(kind_of, configs))) > 1:
        raise ValueError("only runs that differ in lr and seed alone train as one model")
    return run_together(configs, presets, progress, execution)


def why_alone(config: Mqar) -> str:
    """Why a run cannot train together with others; empty when it can. Tried once for a shape."""
    length = min(config.max_length, TRIED_TOKENS)
    shape = tuple((name, value) for name, value in config.shape if name != "vocabulary")
    return tried(shape, tuple((name, getattr(config, name)) for name in MATTERS), length)


@lru_cache(maxsize=1024)
def tried(
    shape: tuple[tuple[str, Any], ...], matters: tuple[tuple[str, Any], ...], length: int
) -> str:
    """The reason that one update of two such models gives, on one row and few different tokens."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fields = {name: value for name, value in shape if name != "max_length"} | dict(matters)
    config = Mqar.model_construct(**fields, length=dict(shape)["max_length"], vocabulary=8)
    tokens = torch.zeros(1, length, dtype=torch.int64, device=device)  # b t
    batch = (tokens, tokens[:, :1], tokens[:, :1])
    with torch.random.fork_rng(devices=[]), slow_maps_allowed():
        try:
            models = Stacked([build(config, device) for _ in range(2)], mqar.loss)
            before = {name: x.clone() for name, x in models.buffers.items()}
            bf16 = config.precision == "bf16"
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                losses = models.losses(batch)
            models.backward(losses)
        except (RuntimeError, ValueError, TypeError) as error:
            return str(error).partition("\n")[0]
    changed = [name for name, x in models.buffers.items() if not torch.equal(x, before[name])]
    return f"training changes the buffer {changed[0].removeprefix('model.')}" if changed else ""
