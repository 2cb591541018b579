"""How long language-model runs may take on this machine, from real steps on made-up tokens.

What has no room here, and without a GPU what is for one, is not built but counted (lm_costs.py).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runners import lm, lm_costs
from runners.estimate import Estimate, Shape
from runners.execution import Execution
from runners.forms import make_step
from runners.lm_config import Lm, build
from runners.lm_costs import Cost
from runners.memory import lack_of_memory
from zoo.model import Model

# Steps are timed on a part of the batch of about this many tokens; seconds grow with the batch.
TIMED_TOKENS = {"cpu": 4096, "cuda": 65_536}
TIMED_STEPS = 3
# A step that takes this long is timed once, and not left out as the first one.
LONG_SECONDS = 2.0
# Operations of a timed step: a few seconds of one core.
MOST_FLOPS = {"cpu": 1e11, "cuda": float("inf")}
KINDS = {"cpu": "machine", "cuda": "GPU"}
# What changes no run's cost.
ALIKE = {"lr": 1e-3, "seed": 0, "data_seed": 0, "weight_decay": 0.0, "corpus": "classics"}
ALIKE |= {"text_sha256": "", "clip": 1.0, "lr_end": 0.1, "beta2": 0.95, "schedule": "cosine"}


@dataclass(frozen=True)
class Costs(Estimate):
    """shapes: those that were timed. notes: lines on the others, and on what all runs need."""

    notes: list[str]


def estimate(runs: list[Lm], progress: Callable[[int, int], None], execution: Execution) -> Costs:
    """Counts every distinct shape and times those that this machine is for.

    progress: called with (done, all) shapes that are timed.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    groups: dict[Lm, list[Lm]] = {}
    for config in runs:
        groups.setdefault(config.model_copy(update=ALIKE), []).append(config)
    costs = list(map(lm_costs.cost, groups.values()))
    large = [each for each in costs if each.bytes > memory_of(device)]
    slow = [each for each in costs if each not in large and is_for_a_gpu(each, device)]
    small = [each for each in costs if each not in large and each not in slow]
    shapes: list[Shape] = []
    for done, each in enumerate(small):
        progress(done, len(small))
        with lack_of_memory() as lacking:
            shapes.append(time_shape(each, device, execution))
        if lacking:
            large.append(each)
    notes = untimed(large, slow, device)
    notes += [lm_costs.totals(costs), lm_costs.disk(costs)]
    return Costs(shapes, device.type, torch.get_num_threads(), notes)


def is_for_a_gpu(each: Cost, device: torch.device) -> bool:
    """Whether a timed step would take a CPU long."""
    return step_tokens(each.config, device) * each.flops > MOST_FLOPS[device.type]


def memory_of(device: torch.device) -> int:
    """Bytes of the GPU's memory, or of the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def untimed(large: Sequence[Cost], slow: Sequence[Cost], device: torch.device) -> list[str]:
    """What was not timed, why, and how long it takes at an assumed rate."""
    notes = []
    if large:
        notes.append(lm_costs.no_room(large, memory_of(device), KINDS[device.type]))
    for tokens in sorted({step_tokens(each.config, device) for each in slow}):
        alike = [each for each in slow if step_tokens(each.config, device) == tokens]
        notes.append(lm_costs.for_a_gpu(alike, tokens))
    return [*notes, lm_costs.hours([*large, *slow])] if notes else []


def step_tokens(config: Lm, device: torch.device) -> int:
    return rows_of(config, device) * config.seq_len


def rows_of(config: Lm, device: torch.device) -> int:
    """Windows of a timed step."""
    most = -(-config.batch // config.accumulate)
    return max(1, min(most, TIMED_TOKENS[device.type] // config.seq_len))


def time_shape(each: Cost, device: torch.device, execution: Execution) -> Shape:
    """Seconds of an update and of a run, its validations and the test included.

    A validation of the whole split, whose length no config says, is left out.
    """
    config, rows = each.config, rows_of(each.config, device)
    step, evaluation = time_rows(config, rows, device, execution)
    step_seconds = step * config.batch / rows
    evaluations = -(-config.updates // config.evaluate_every)
    evaluated = config.valid_tokens * evaluations + config.test_tokens
    seconds = config.updates * step_seconds + evaluated / config.seq_len * evaluation / rows
    members = len(each.members)
    return Shape(config.model, config.d_model, config.tokeniser, members, step_seconds, seconds)


def time_rows(
    config: Lm, rows: int, device: torch.device, execution: Execution
) -> tuple[float, float]:
    """Median seconds of an update and of a validation's forward pass on so many windows."""
    model = build(config, device)
    # All windows at once: they are a part of a batch already.
    alone = config.model_copy(update={"batch": rows, "accumulate": 1})
    step = make_step(model, alone, lm.loss, device=device, execution=execution)
    tokens = torch.randint(config.vocabulary, (rows, config.seq_len + 1), device=device)
    batch = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    steps, passes = [], []
    untimed = 1 if device.type == "cpu" else step.warm_up
    for update in range(1, untimed + TIMED_STEPS + 1):
        # Of a short run, the rates of its last update go on.
        number = min(update, config.updates)
        steps.append(_seconds(lambda number=number: (step(batch, number), step.look())))
        passes.append(_seconds(lambda: _evaluate(model, batch[0])))
        if device.type == "cpu" and sum(steps) > LONG_SECONDS:
            break
    warm = untimed if len(steps) > untimed else 0
    return statistics.median(steps[warm:]), statistics.median(passes[warm:])


def _evaluate(model: Model, tokens: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        found = model.head(model.hidden(tokens)[0]).sum().item()
    model.train()
    return found


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
