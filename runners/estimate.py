"""How long a list of runs may take on this machine, from a few real steps of each shape."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from runners import mqar, train
from runners.config import Mqar, build

# Steps are timed on a part of the batch of about this many tokens; seconds grow with the batch. A
# GPU is idle on small parts, so its parts are large.
TIMED_TOKENS = {"cpu": 1024, "cuda": 65_536}
TIMED_STEPS = 3
ENOUGH_SECONDS = 0.3


@dataclass(frozen=True)
class Shape:
    """Runs that cost the same. step_seconds: one update; seconds: one run, validation included."""

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


def estimate(runs: list[Mqar], progress: Callable[[int, int], None] | None = None) -> Estimate:
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
        shapes.append(time_shape(config, len(members)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Estimate(shapes, device.type, torch.get_num_threads())


def time_shape(config: Mqar, count: int) -> Shape:
    """Seconds of an update and of a run. A mixture counts as its longest training row."""
    length = config.length
    if config.mixture != "none":
        mixture = mqar.MIXTURES[config.mixture]
        length = max(setting.length for setting, _ in mixture.train)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = max(1, min(config.batch, TIMED_TOKENS[device.type] // length))
    seconds, valid_seconds = time_steps(config, length, batch, device)
    step_seconds = seconds * config.batch / batch
    evaluations = -(-config.updates // config.evaluate_every)
    tested = config.test_rows * (evaluations + 1 if config.selection == "test" else 1)
    validated = 0 if config.selection == "test" else config.valid_rows * evaluations
    total = config.updates * step_seconds + (tested + validated) * valid_seconds / batch
    setting = config.mixture if config.mixture != "none" else f"{config.length}/{config.pairs}"
    return Shape(config.model, config.d_model, setting, count, step_seconds, total)


def time_steps(config: Mqar, length: int, batch: int, device: torch.device) -> tuple[float, float]:
    """Median seconds of an update, and of a forward pass, on `batch` rows of made-up tokens."""
    model = build(config, device)
    optimiser = train.make_optimiser(model, config)
    tokens = torch.randint(config.vocabulary, (batch, length), device=device)  # b t
    pairs = min(config.pairs, length // 4)
    positions = torch.arange(length - pairs, length, device=device).expand(batch, -1)  # b p
    example = (tokens, positions, tokens[:, -pairs:].contiguous())
    steps, passes = [], []
    for _ in range(1 + TIMED_STEPS):
        begin = time.perf_counter()
        train.step(model, optimiser, example, mqar.loss, config, 1e-3)
        steps.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        with torch.no_grad():
            model.head(mqar.labelled(model, tokens, positions)).sum().item()
        passes.append(time.perf_counter() - begin)
        if len(steps) > 1 and sum(steps) > ENOUGH_SECONDS:
            break
    return statistics.median(steps[1:]), statistics.median(passes[1:])
