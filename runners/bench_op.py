"""CPU time of the scan operator, forward and backward, beside plain loops: `lazoo bench op`."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from zoo.scan import choose, scan
from zoo.scan.turning import multiplied
from zoo.spec import Decay, Erase

Tensors = dict[str, Tensor]
Form = Callable[[Tensors], Tensor]


@dataclass(frozen=True)
class Shape:
    """Sizes of one timing. kind: of the decay; q and k have one head for all where it is `ssm`, and
    are the same at every token where it is `static`, a complex one. erases: A_t is less rank one.
    """

    name: str
    kind: str
    b: int
    t: int
    h: int
    d_k: int
    d_v: int
    erases: bool = False


SHAPES = (
    Shape("matrix", "channel", 8, 256, 2, 64, 64),
    Shape("scalar", "head", 8, 256, 2, 64, 64),
    Shape("vector", "head", 8, 512, 128, 1, 1),
    Shape("ssm", "ssm", 8, 512, 128, 16, 1),
    Shape("fft", "static", 4, 256, 64, 64, 1),
    Shape("delta", "keep", 8, 256, 4, 32, 32, erases=True),
    Shape("delta-head", "head", 8, 256, 4, 32, 32, erases=True),
    Shape("delta-channel", "channel", 8, 256, 4, 32, 32, erases=True),
    # What a model of width 64 asks for at the quick preset's length.
    Shape("matrix-quick", "channel", 32, 32, 2, 32, 32),
    Shape("keep-quick", "keep", 32, 32, 1, 273, 65),
    Shape("vector-quick", "head", 32, 32, 64, 1, 2),
    Shape("ssm-quick", "ssm", 32, 32, 128, 16, 1),
)


@dataclass(frozen=True)
class OpTime:
    """Seconds of CPU time of one forward and backward pass, gradients to every input.

    slower: this form's median divided by that of the backend that "auto" takes, which comes first.
    """

    shape: Shape
    form: str
    repeats: int
    shortest: float
    median: float
    slower: float


HEADER = ("shape", "form", "median", "shortest", "slower", "calls")


def line(found: OpTime) -> tuple[str, ...]:
    """A row under HEADER."""
    milliseconds = (f"{1e3 * x:,.2f} ms" for x in (found.median, found.shortest))
    return (
        *(found.shape.name, found.form),
        *milliseconds,
        *(f"{found.slower:.2f} x", str(found.repeats)),
    )


def bench_op(
    shapes: Sequence[Shape] = SHAPES, repeats: int = 20, seconds: float = 3.0
) -> list[OpTime]:
    """Times every form that can run each shape, on one thread.

    repeats: timed calls of a form, after one that is not timed. seconds: no further call is begun
    after that long, so that a very slow form is timed once, its first call.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [found for shape in shapes for found in bench_shape(shape, repeats, seconds)]
    finally:
        torch.set_num_threads(threads)


def bench_shape(shape: Shape, repeats: int, seconds: float) -> list[OpTime]:
    x, times = inputs(shape), {}
    for name, form in forms_of(shape, x).items():
        begin, taken = time.perf_counter(), [forward_backward(form, x)]
        while len(taken) <= repeats and time.perf_counter() - begin < seconds:
            taken.append(forward_backward(form, x))
        times[name] = taken[1:] or taken
    fast = median(next(iter(times.values())))
    return [
        OpTime(shape, name, len(taken), min(taken), median(taken), median(taken) / fast)
        for name, taken in times.items()
    ]


def inputs(shape: Shape) -> Tensors:
    """Normal q, k, v; steps whose log decays are logsigmoid of a normal; rates 1, 2 ... for ssm.

    static: rates of 1/1000 to 1/10 and angles up to pi (S4D). erases: keys of length 1 and a write
    strength between 0 and 1 (DeltaNet).
    """
    torch.manual_seed(0)
    b, t, h, d_k = shape.b, shape.t, shape.h, shape.d_k
    size = {"ssm": (b, t, 1), "static": (1, 1, h)}.get(shape.kind, (b, t, h))
    x = {"q": torch.randn(*size, d_k), "k": torch.randn(*size, d_k)}
    x["v"] = torch.randn(b, t, h, shape.d_v)
    if shape.kind == "static":
        x["rate"] = torch.logspace(-3, -1, d_k // 2).repeat(h, 2)
        x["angle"] = torch.linspace(0, math.pi, d_k // 2).repeat(h, 1)
    elif shape.kind != "keep":
        width = d_k if shape.kind == "channel" else 1
        x["step"] = torch.nn.functional.softplus(torch.randn(b, t, h, width))
    if shape.kind == "ssm":
        x["step"] = 0.1 * x["step"]
        x["rate"] = torch.arange(1.0, d_k + 1).repeat(h, 1)
    if shape.erases:
        x["read"] = torch.nn.functional.normalize(x["k"], dim=-1)
        x["write"] = torch.rand(b, t, h, 1) * x["read"]
        x["k"] = x["write"].clone()
    return {name: y.requires_grad_() for name, y in x.items()}


def forms_of(shape: Shape, x: Tensors) -> dict[str, Form]:
    """The backend that "auto" takes, the plain loops and, where it is installed, mambapy's scan."""
    forms: dict[str, Form] = {
        choose(x["q"], x["k"], x["v"], decay_of(x), erase=erase_of(x)): operator,
        "loop, unbind": partial(plain_loop, indexing=False),
        "loop, indexing": partial(plain_loop, indexing=True),
    }
    if importlib.util.find_spec("mambapy") and shape.d_v == 1 and shape.kind in ("head", "ssm"):
        forms["mambapy"] = mambapy_scan
    return forms


def forward_backward(form: Form, x: Tensors) -> float:
    begin = time.process_time()
    o = form(x)
    torch.autograd.grad(o.sum(), list(x.values()))
    return time.process_time() - begin


def decay_of(x: Tensors) -> Decay:
    return Decay(x.get("step"), x.get("rate"), x.get("angle"))


def erase_of(x: Tensors) -> Erase | None:
    return Erase(x["write"], x["read"]) if "write" in x else None


def operator(x: Tensors) -> Tensor:
    return scan(x["q"], x["k"], x["v"], decay_of(x), erase=erase_of(x))[0]


def plain_loop(x: Tensors, indexing: bool) -> Tensor:
    """What one writes first: all alphas at once, then a loop over y[:, t] or over y.unbind(1)."""
    v, log = x["v"], decay_of(x).log()
    b, t, h, d_v = v.shape
    d_k = x["k"].shape[3]
    alpha = torch.ones(()) if log is None else log.exp()
    rows = {name: x[name] for name in ("q", "k", "write", "read") if name in x}
    rows = {name: y.expand(b, t, -1, d_k) for name, y in rows.items()}
    rows |= {"v": v, "alpha": alpha.expand(b, t, h, d_k)}
    each = {} if indexing else {name: y.unbind(1) for name, y in rows.items()}
    if "angle" in x:  # a complex state: key channels are [real | imaginary]
        cos, sin = x["angle"].cos().unsqueeze(-1), x["angle"].sin().unsqueeze(-1)  # h n 1
        sign = torch.cat([torch.ones(d_k // 2), -torch.ones(d_k // 2)])
    S, o = v.new_zeros(b, h, d_k, d_v), []
    for i in range(t):
        y = {name: rows[name][:, i] if indexing else each[name][i] for name in rows}
        past, q_t = S, y["q"]
        S = y["alpha"].unsqueeze(-1) * S  # b h k v
        if "angle" in x:
            S = torch.cat(multiplied(S.mT, cos.mT, sin.mT), dim=-1).mT
            q_t = q_t * sign
        if "write" in y:
            S = S - y["write"].unsqueeze(-1) * (y["read"].unsqueeze(-2) @ past)
        S = S + y["k"].unsqueeze(-1) * y["v"].unsqueeze(-2)
        o.append((q_t.unsqueeze(-2) @ S).squeeze(-2))
    return torch.stack(o, dim=1)


def mambapy_scan(x: Tensors) -> Tensor:
    """The same by mambapy's parallel scan, which wants every alpha and k v as b t h k."""
    from mambapy.pscan import pscan  # pyright: ignore[reportMissingImports]

    log = decay_of(x).log()
    assert log is not None
    states = pscan(log.exp(), x["k"] * x["v"])  # b t h k
    return (states * x["q"]).sum(-1, keepdim=True)
