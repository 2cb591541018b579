"""How long runs of the Long Range Arena may take on this machine, from real steps on made-up rows.

Every row counts as the longest one, so data with shorter rows take less: the result is an upper
bound, but for the time that a GPU gains on full batches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import tasks.lra
from runners import lra
from runners.estimate import Estimate, Shape
from runners.execution import Execution
from runners.forms import make_step
from runners.lra_config import Lra, build

# Steps are timed on a part of the batch of about this many tokens; seconds grow with the batch.
TIMED_TOKENS = {"cpu": 8192, "cuda": 65_536}
TIMED_STEPS = 3
# A step that takes this long is timed once, and not left out as the first one.
LONG_SECONDS = 2.0
# What changes no run's duration.
ALIKE = {"lr": 1e-3, "seed": 0, "data_seed": 0, "selection": "validation", "weight_decay": 0.0}


def estimate(
    runs: list[Lra], progress: Callable[[int, int], None], execution: Execution
) -> Estimate:
    """Times every distinct shape among `runs` once. progress: called with (done, all) shapes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    groups: dict[Lra, list[Lra]] = {}
    for config in runs:
        groups.setdefault(config.model_copy(update=ALIKE), []).append(config)
    shapes: list[Shape] = []
    for done, members in enumerate(groups.values()):
        progress(done, len(groups))
        shapes.append(time_shape(members, device, execution))
    return Estimate(shapes, device.type, torch.get_num_threads())


def time_shape(members: list[Lra], device: torch.device, execution: Execution) -> Shape:
    """Seconds of an update and of a run, the validations and the test included."""
    config = members[0]
    tokens = config.max_length * config.data.documents  # of a row
    rows = max(1, min(config.batch // config.accumulate, TIMED_TOKENS[device.type] // tokens))
    step, evaluation = time_rows(config, rows, device, execution)
    step_seconds = step * config.batch / rows
    counts = tasks.lra.rows_of(config.data, config.selection)
    evaluations = -(-config.updates // config.evaluate_every)
    evaluated = counts["valid"] * evaluations + counts["test"]
    seconds = config.updates * step_seconds + evaluated * evaluation / rows
    return Shape(config.model, config.d_model, config.dataset, len(members), step_seconds, seconds)


def time_rows(
    config: Lra, rows: int, device: torch.device, execution: Execution
) -> tuple[float, float]:
    """Median seconds of an update and of a validation's forward pass on so many made-up rows."""
    model = build(config, device)
    # All rows at once: they are a part of a batch already.
    alone = config.model_copy(update={"batch": rows, "accumulate": 1})
    step = make_step(model, alone, lra.loss, device=device, execution=execution)
    batch = made_up(config, rows, device)
    steps, passes = [], []
    untimed = 1 if device.type == "cpu" else step.warm_up
    for update in range(1, untimed + TIMED_STEPS + 1):
        steps.append(_seconds(lambda update=update: (step(batch, update), step.look())))
        passes.append(_seconds(lambda: _evaluate(model, batch)))
        if device.type == "cpu" and sum(steps) > LONG_SECONDS:
            break
    warm = untimed if len(steps) > untimed else 0
    return statistics.median(steps[warm:]), statistics.median(passes[warm:])


def made_up(config: Lra, rows: int, device: torch.device) -> tuple[Tensor, ...]:
    """A batch of the longest rows: inputs b t or b 2 t, lengths where data are ragged, labels b."""
    data = config.data
    shape = (rows, data.length) if data.documents == 1 else (rows, data.documents, data.length)
    inputs = torch.randint(1, data.vocabulary, shape)
    labels = torch.randint(data.classes, (rows,))
    if lra.reads_values(config):
        inputs = lra.values(config, inputs)
    lengths = () if data.pixels else (torch.full(shape[:-1], data.length),)
    return tuple(x.to(device) for x in (inputs, *lengths, labels))


def _evaluate(model: torch.nn.Module, batch: tuple[Tensor, ...]) -> float:
    model.eval()
    with torch.no_grad():
        found = lra.logits(model, batch).sum().item()
    model.train()
    return found


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
