"""Time and memory of one layer's mixer, forward and backward: `lazoo bench mixer`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import zoo
from runners.bench_memory import KIND, peak_bytes
from runners.bench_rows import first_line, row, timing_columns
from runners.bench_timing import sets, timed
from runners.bench_updates import CLOCKS, clock_of
from runners.memory import is_out_of_memory
from zoo.mixer import Mixer
from zoo.model import Model


@dataclass(frozen=True)
class Layer:
    """One layer at one shape. dtype bf16 is autocast, as in training; parameters are float32."""

    model: str
    d_model: int
    batch: int
    length: int
    dtype: str = "fp32"
    backend: str = "auto"


def bench_mixer(
    layer: Layer, device: torch.device, repeats: int, seconds: float, graph: bool = False
) -> dict[str, Any]:
    """The row of one layer; lack of memory and a failing kernel are rows, too."""
    status, error, found = "ok", "", dict[str, Any]()
    try:
        found = measured(layer, device, repeats, seconds, graph)
    except (RuntimeError, MemoryError) as problem:
        status = "oom" if is_out_of_memory(problem) else "failed"
        error = first_line(problem)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    spec = zoo.load(layer.model)
    step_form = "cuda graph" if graph and device.type == "cuda" else "eager"
    what = {"kind": "mixer", "name": layer.model, "model": layer.model, "label": spec.label}
    what |= {"family": spec.family, "d_model": layer.d_model, "depth": 1, "batch": layer.batch}
    what |= {"length": layer.length, "dtype": layer.dtype, "backend": layer.backend}
    return row(device, what | {"form": "own", "step_form": step_form}, status, error, **found)


def measured(
    layer: Layer, device: torch.device, repeats: int, seconds: float, graph: bool
) -> dict[str, Any]:
    torch.manual_seed(0)
    model = one_layer(layer).to(device).train()
    shape = (layer.batch, layer.length, layer.d_model)
    count = sets(4 * layer.batch * layer.length * layer.d_model, device)
    several = [torch.randn(shape, device=device, requires_grad=True) for _ in range(count)]  # b t d
    d_y = torch.randn(shape, device=device)
    calls = [partial(forward_backward, model, x, d_y, layer.dtype) for x in several]
    clock = clock_of(device)
    options = {"clock": CLOCKS[clock]} if clock in CLOCKS else {}
    timing = timed(calls, device, repeats=repeats, seconds=seconds, graph=graph, **options)
    kept = [*parameters(model), *model.buffers(), several[0], d_y]
    held = sum(x.numel() * x.element_size() for x in kept)
    return timing_columns(timing, clock, layer.batch * layer.length) | {
        "peak_memory_bytes": peak_bytes(calls[0], device, held),
        "peak_memory_kind": KIND,
        "parameters": sum(p.numel() for p in parameters(model)),
        "backends": model.backends(),
    }


def one_layer(layer: Layer) -> Model:
    """A model of one block, which also holds what layers share (HGRN's lower bounds)."""
    spec = zoo.load(layer.model)
    rope = "rope" if spec.mix == "softmax" else "none"
    shape = {"vocabulary": 1, "d_model": layer.d_model, "depth": 1, "positions": rope}
    return Model(spec, **shape, backend=layer.backend)


def parameters(model: Model) -> list[Tensor]:
    return [*mixer_of(model).parameters(), *model.shared.parameters()]


def mixer_of(model: Model) -> Mixer:
    return model.mixers()[0]


def forward_backward(model: Model, x: Tensor, d_y: Tensor, dtype: str) -> None:
    """Gradients to x and to every parameter of the mixer."""
    kind = x.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=dtype == "bf16", cache_enabled=False):
        y, _ = mixer_of(model)(x, shared=dict(model.shared))  # b t d
    wanted = [x, *parameters(model)]
    torch.autograd.grad(y, wanted, d_y.to(y.dtype), allow_unused=True)
