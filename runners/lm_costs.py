"""What language-model runs cost, counted from their shapes: operations, memory, disk.

Nothing here needs memory for a model, and nothing is measured: what a GPU makes of the operations
is left to the reader, who knows its rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from runners import flops
from runners.building import Shape, built
from runners.lm_config import Lm
from runners.progress import counted as numbered
from zoo.model import Model

# Weights, gradients and AdamW's two moments, all in float32.
TRAINED_BYTES = 16
# On disk: the weights of a trained model; weights and moments of a checkpoint, of which two stay.
MODEL_BYTES, CHECKPOINT_BYTES = 4, 12
CHECKPOINTS = 2
# Numbers as wide as the model that a layer keeps of a token for backward: 30 for attention to 120
# for Mamba were counted in float32, without kernels.
KEPT = 50
# Operations per second that a GPU is said to sustain where none is here to ask.
UNIT = 100e12


@dataclass(frozen=True)
class Cost:
    """Of runs of one shape. parameters: of a model. flops: of a token in training."""

    members: list[Lm]
    parameters: int
    flops: float

    @property
    def config(self) -> Lm:
        return self.members[0]

    @property
    def run_flops(self) -> float:
        return self.flops * self.config.tokens

    @property
    def all_flops(self) -> float:
        return self.run_flops * len(self.members)

    @property
    def bytes(self) -> int:
        """What training needs at least, roughly: batches are split where memory lacks, down to one
        window. Kernels and automatic casting change what a layer keeps."""
        run = self.config
        number = 2 if run.precision == "bf16" else 4
        kept = KEPT * number * run.d_model * run.depth * run.seq_len
        return TRAINED_BYTES * self.parameters + kept


def cost(members: list[Lm]) -> Cost:
    """members: runs that differ in nothing that costs anything."""
    return Cost(members, *_counted(members[0].shape, members[0].seq_len))


@lru_cache(maxsize=256)
def _counted(shape: Shape, seq_len: int) -> tuple[int, float]:
    with torch.device("meta"):
        model = built(Model, shape)
    return sum(p.numel() for p in model.parameters()), flops.per_token(model, seq_len)


def totals(costs: Sequence[Cost]) -> str:
    tokens = sum(run.tokens for each in costs for run in each.members)
    each_run = span([each.run_flops for each in costs], "{:.1e}".format)
    return (
        f"{short(tokens)} tokens and {sum(each.all_flops for each in costs):.1e} operations in"
        f" all, {each_run} a run: forward and backward, as many as the models themselves need"
    )


def disk(costs: Sequence[Cost]) -> str:
    models = sum(MODEL_BYTES * each.parameters * len(each.members) for each in costs)
    largest = max(each.parameters for each in costs)
    return (
        f"on disk: {size(models)} for the trained models, up to {size(MODEL_BYTES * largest)} each,"
        f" and up to {size(CHECKPOINTS * CHECKPOINT_BYTES * largest)} for the checkpoints of each"
        " run that trains"
    )


def hours(costs: Sequence[Cost]) -> str:
    """Of runs that were not timed."""
    runs = numbered(sum(len(each.members) for each in costs))
    taken = sum(each.all_flops for each in costs) / UNIT / 3600
    digits = 0 if taken >= 10 else 2
    return (
        f"the {runs} not timed take {taken:,.{digits}f} GPU hours if a GPU sustains"
        f" {UNIT / 1e12:.0f} TFLOP/s in training, which is assumed and not measured; half as many"
        " at twice that rate"
    )


def no_room(costs: Sequence[Cost], memory: int, kind: str) -> str:
    """memory: bytes of the device, which is of that kind."""
    needed = span([each.bytes for each in costs], size)
    return (
        f"not timed, for want of memory: {names(costs)}; training needs about {needed} (weights,"
        f" gradients, AdamW, and one window), and this {kind} has {size(memory)}"
    )


def for_a_gpu(costs: Sequence[Cost], tokens: int) -> str:
    """tokens: of a timed step."""
    needed = span([each.flops * tokens for each in costs], "{:.1e}".format)
    return (
        f"not timed, because they are for a GPU: {names(costs)}; a step of {tokens:,} tokens has"
        f" {needed} operations"
    )


def names(costs: Sequence[Cost]) -> str:
    parameters = span([each.parameters for each in costs], short)
    models = ", ".join(dict.fromkeys(each.config.model for each in costs))
    return f"{models} ({parameters} parameters)"


def span(numbers: Sequence[float], written: Callable[[float], str]) -> str:
    """The least to the most, or the one that they all look like."""
    least, most = written(min(numbers)), written(max(numbers))
    return least if least == most else f"{least} to {most}"


def size(number: float) -> str:
    """1.4 GB, 3.3 MB."""
    return f"{number / 1e9:,.3g} GB" if number >= 1e9 else f"{number / 1e6:,.3g} MB"


def short(number: float) -> str:
    """1.8 trillion, 15 billion, 1.2 million, 4,096."""
    for unit, word in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million")):
        if number >= unit:
            return f"{number / unit:,.3g}{word}"
    return f"{number:,.0f}"
