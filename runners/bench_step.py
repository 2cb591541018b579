"""Seconds of one MQAR training step, the numbers behind `lazoo bench step`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from statistics import median

import torch

from runners import mqar, train
from runners.config import Mqar, build
from runners.grids import changed
from runners.provenance import PeakMemory, device_name
from runners.zoology import figure2_run


@dataclass(frozen=True)
class StepTime:
    """step_seconds: median over `steps` updates, each with its batch, head, loss and optimiser."""

    model: str
    d_model: int
    length: int
    batch: int
    steps: int
    step_seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    backends: list[str]
    device: str
    threads: int


def zoology_step(model: str) -> Mqar:
    """The shape at which zoology's own step was timed: 64 tokens, 4 pairs, batch 512, width 64."""
    return changed(figure2_run(model, 64, 4), lr=2.154e-3)


class Stepper:
    """A model in training that makes a few more steps on demand, to time it beside another."""

    def __init__(self, config: Mqar) -> None:
        torch.manual_seed(config.seed)
        torch.set_flush_denormal(True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.config, self.memory = config, PeakMemory(self.device)
        self.model = build(config, self.device).train()
        self.optimiser = train.make_optimiser(self.model, config)
        rows = changed(config, train_rows=8 * config.batch, valid_rows=1, test_rows=1)
        self.batches = mqar.batches(rows, mqar.splits(rows, self.device).train)

    def __call__(self, steps: int) -> list[float]:
        """Seconds of each of the next updates."""
        seconds = []
        begin = time.perf_counter()
        for batch in islice(self.batches, steps):
            train.step(self.model, self.optimiser, batch, mqar.loss, self.config, self.config.lr)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - begin)
            begin = time.perf_counter()
        return seconds


def bench_step(config: Mqar, steps: int = 10, warm_up: int = 3) -> StepTime:
    """Times `steps` updates of a config after `warm_up` untimed ones, on torch's threads."""
    stepper = Stepper(config)
    stepper(warm_up)
    seconds = median(stepper(steps))
    return StepTime(
        model=config.model,
        d_model=config.d_model,
        length=config.length,
        batch=config.batch,
        steps=steps,
        step_seconds=seconds,
        tokens_per_second=config.batch * config.length / seconds,
        peak_memory_bytes=stepper.memory.bytes(),
        backends=stepper.model.backends(),
        device=device_name(stepper.device),
        threads=torch.get_num_threads(),
    )
