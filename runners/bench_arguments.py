"""The flags of `lazoo bench`, one class for each kind of timing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from runners import bench_efficiency
from runners.bench_shapes import BY_NAME
from runners.commands import Switch, flag

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["fp32", "bf16"]
BACKEND = "scan backends by name, beside the one that auto takes; none: on a GPU all that can run"
LENGTHS = "lengths at which every backend runs with as many tokens in a call, for the growth"
PRESETS = ", ".join(bench_efficiency.PRESETS)
THREADS = "CPU threads, one as a run of a sweep has; 0 for as many as torch takes"
Names = tuple[str, ...]
MODELS = tyro.conf.Positional[Names]


@dataclass(frozen=True)
class Common:
    device: Annotated[Device, flag("auto is the GPU where there is one", "auto")] = "auto"
    out: Annotated[Path, flag("folder that rows are added to", "runs")] = Path("runs")
    json: Annotated[Switch, flag("print what was measured as JSON")] = False


@dataclass(frozen=True)
class Op(Common):
    """Time the scan operator, forward and backward, by backend and beside plain loops.

    On a CPU it is CPU time on one thread. Without names: on a CPU the small shapes, on a GPU the
    large ones.
    """

    names: Annotated[
        tyro.conf.Positional[Names], flag(f"of {', '.join(BY_NAME)}", metavar="SHAPE ...")
    ] = ()
    backend: Annotated[Names, flag(BACKEND)] = ()
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"], flag("auto is bf16 on a GPU, fp32 on a CPU", "auto")
    ] = "auto"
    length: Annotated[tuple[int, ...], flag(LENGTHS)] = ()
    repeats: Annotated[int, flag("timed calls of each form", "20")] = 20
    seconds: Annotated[float, flag("after which no further call begins", "3")] = 3.0
    graph: Annotated[Switch, flag("on a GPU, time replays of a CUDA graph of the call")] = False


@dataclass(frozen=True)
class Mixer(Common):
    """Time one layer's mixer, forward and backward."""

    names: Annotated[MODELS, flag("none for all", metavar="MODEL ...")] = ()
    d_model: Annotated[int, flag("width, channels", "128")] = 128
    batch: Annotated[int, flag("rows", "8")] = 8
    length: Annotated[int, flag("tokens of a row", "512")] = 512
    backend: Annotated[str, flag("scan backend", "auto")] = "auto"
    dtype: Annotated[Dtype, flag("bf16 is autocast", "fp32")] = "fp32"
    threads: Annotated[int, flag(THREADS, "1")] = 1
    repeats: Annotated[int, flag("timed calls", "20")] = 20
    seconds: Annotated[float, flag("after which no further call begins", "3")] = 3.0
    graph: Annotated[Switch, flag("on a GPU, time replays of a CUDA graph of the call")] = False


@dataclass(frozen=True)
class Step(Common):
    """Time a training step: batch, forward pass, head, loss, backward pass and optimiser.

    The settings are those of zoology's Figure 2 for each model; the flags below change them. Where
    zoology is installed, its own step for attention and based stands beside ours.
    """

    names: Annotated[MODELS, flag("none for all", metavar="MODEL ...")] = ()
    d_model: Annotated[int, flag("width, channels", "64")] = 64
    length: Annotated[int, flag("tokens of a row", "64")] = 64
    pairs: Annotated[int, flag("key-value pairs of a row", "4")] = 4
    batch: Annotated[int, flag("rows", "512")] = 512
    dtype: Annotated[Dtype, flag("bf16 is autocast", "fp32")] = "fp32"
    steps: Annotated[int, flag("timed updates; their median is printed", "10")] = 10
    threads: Annotated[int, flag(THREADS, "1")] = 1
    eager: Annotated[Switch, flag("on a GPU, no CUDA graph")] = False


@dataclass(frozen=True)
class Sweep(Common):
    """Time a group of runs of the quick task that differ in learning rate and seed: trained as one
    batched model, and one after another."""

    names: Annotated[MODELS, flag("none for those of preset quick", metavar="MODEL ...")] = ()
    d_model: Annotated[int, flag("width, channels", "64")] = 64
    lr: Annotated[tuple[float, ...], flag("learning rates", "0.003 0.01 0.03")] = (
        *(0.003, 0.01),
        0.03,
    )
    seeds: Annotated[int, flag("runs at each rate", "3")] = 3
    updates: Annotated[int, flag("timed updates; their median counts", "10")] = 10
    threads: Annotated[int, flag(THREADS, "1")] = 1
    eager: Annotated[Switch, flag("on a GPU, no CUDA graph")] = False


@dataclass(frozen=True)
class Efficiency(Common):
    """Training throughput and memory of full models at equal parameters, against length (Fig. A2).

    All have the same width and depth, RMSNorm and a SwiGLU whose inner width makes the parameters
    equal. A flag that is given replaces the preset's value.
    """

    names: Annotated[
        MODELS, flag("all for every model; none for the preset's", metavar="MODEL ...")
    ] = ()
    preset: Annotated[str, flag(f"one of {PRESETS}; quick is for a CPU", "quick")] = "quick"
    length: Annotated[tuple[int, ...], flag("lengths, tokens of a row")] = ()
    tokens: Annotated[int, flag("tokens of a batch, at every length", "the preset's")] = 0
    d_model: Annotated[int, flag("width, channels", "the preset's")] = 0
    depth: Annotated[int, flag("number of layers", "the preset's")] = 0
    parameters: Annotated[int, flag("without embeddings", "those of attention")] = 0
    vocabulary: Annotated[int, flag("tokens known to the model", "the preset's")] = 0
    dtype: Annotated[Literal["", "fp32", "bf16"], flag("bf16 is autocast", "the preset's")] = ""
    backend: Annotated[str, flag("scan backend", "the preset's")] = ""
    repeats: Annotated[int, flag("timed updates of a cell", "the preset's")] = 0
    seconds: Annotated[
        float, flag("for the timing of a cell; a longer update is left out", "the preset's")
    ] = 0.0
    threads: Annotated[int, flag(THREADS, "1")] = 1
    eager: Annotated[Switch, flag("on a GPU, no CUDA graph")] = False
