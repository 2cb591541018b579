"""How long a list of runs may take on this machine, from a few real steps of each shape."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from runners import mqar, stack
from runners.config import Mqar, build
from runners.execution import Execution
from runners.run import ONE_BY_ONE, step_of

# Steps are timed on a part of the batch of about this many tokens; seconds grow with the batch. A
# GPU is idle on small parts, so its parts are large.
TIMED_TOKENS = {"cpu": 1024, "cuda": 65_536}
TIMED_STEPS = 3
ENOUGH_SECONDS = 0.3


@dataclass(frozen=True)
class Shape:
    """Runs that cost the same. step_seconds: one update; seconds: one run, validation included.

    Of stacked runs each has its share.
    """

    model: str
    d_model: int
    setting: str
    runs: int
    step_seconds: float
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """shapes: in the order of the runs. seconds: all runs, one by one, none stopping early."""

    shapes: list[Shape]
    device: str
    threads: int

    @property
    def seconds(self) -> float:
        return sum(shape.runs * shape.seconds for shape in self.shapes)


def estimate(
    runs: list[Mqar],
    progress: Callable[[int, int], None] | None = None,
    execution: Execution = ONE_BY_ONE,
) -> Estimate:
    """Times every distinct shape among `runs` once. progress: called with (done, all) shapes.

    An upper bound in so far as every run is counted to the end of its budget; real runs stop when
    they solve the task.
    """
    groups: dict[Mqar, list[Mqar]] = {}
    for config in runs:
        alike = {"lr": 1e-3, "seed": 0, "data_seed": 0}
        groups.setdefault(config.model_copy(update=alike), []).append(config)
    shapes: list[Shape] = []
    for done, (config, members) in enumerate(groups.items()):
        if progress is not None:
            progress(done, len(groups))
        together = max(map(len, stack.groups(members, execution.stack)))
        shapes.append(time_shape(config, len(members), together, execution))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Estimate(shapes, device.type, torch.get_num_threads())


def time_shape(config: Mqar, count: int, together: int, execution: Execution) -> Shape:
    """Seconds of an update and of a run. A mixture counts as its longest training row.

    together: so many of the `count` runs make every update at once.
    """
    length = config.length
    if config.mixture != "none":
        mixture = mqar.MIXTURES[config.mixture]
        length = max(setting.length for setting, _ in mixture.train)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = max(1, min(config.batch, TIMED_TOKENS[device.type] // length))
    seconds, valid_seconds = time_steps([config] * together, length, batch, device, execution)
    step_seconds = seconds / together * config.batch / batch
    evaluations = -(-config.updates // config.evaluate_every)
    tested = config.test_rows * (evaluations + 1 if config.selection == "test" else 1)
    validated = 0 if config.selection == "test" else config.valid_rows * evaluations
    total = config.updates * step_seconds + (tested + validated) * valid_seconds / batch
    setting = config.mixture if config.mixture != "none" else f"{config.length}/{config.pairs}"
    return Shape(config.model, config.d_model, setting, count, step_seconds, total)


def time_steps(
    configs: list[Mqar], length: int, batch: int, device: torch.device, execution: Execution
) -> tuple[float, float]:
    """Median seconds of an update of all, and of one's forward pass, on `batch` made-up rows."""
    config, models = configs[0], [build(each, device) for each in configs]
    step = step_of(models, configs, device, execution, 1)
    tokens = torch.randint(config.vocabulary, (batch, length), device=device)  # b t
    pairs = min(config.pairs, length // 4)
    positions = torch.arange(length - pairs, length, device=device).repeat(batch, 1)  # b p
    example = (tokens, positions, tokens[:, -pairs:].contiguous())
    steps, passes = [], []
    untimed = 1 if device.type == "cpu" else step.warm_up
    for update in range(untimed + TIMED_STEPS):
        begin = time.perf_counter()
        # Of a short run, the rates of its last update go on.
        step(example, min(update + 1, config.updates))
        step.look()
        steps.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        with torch.no_grad():
            models[0].head(mqar.labelled(models[0], tokens, positions)).sum().item()
        passes.append(time.perf_counter() - begin)
        if len(steps) > untimed and sum(steps) > ENOUGH_SECONDS:
            break
    return statistics.median(steps[untimed:]), statistics.median(passes[untimed:])
