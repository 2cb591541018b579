"""Time of the scan operator, forward and backward, by every form of it: `lazoo bench op`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial

import torch
from torch import Tensor

from runners.bench_counts import input_bytes
from runners.bench_forms import Form, Named, forms_of
from runners.bench_length import expected
from runners.bench_memory import peak_bytes
from runners.bench_op_time import How, OpTime, blank
from runners.bench_roofline import Ceilings, share
from runners.bench_rows import first_line
from runners.bench_shapes import DTYPES, Shape, Tensors, at_length, inputs
from runners.bench_timing import Timing, ratio, sets, timed
from runners.memory import is_out_of_memory


def bench_shape(shape: Shape, how: How, most: Ceilings) -> Iterator[OpTime]:
    """Every form of a shape, first the one that "auto" takes, with which the others compare."""
    return compared(bench_form(shape, form, how, most) for form in named_forms(shape, how))


def bench_lengths(
    shape: Shape, lengths: Sequence[int], how: How, most: Ceilings
) -> Iterator[OpTime]:
    """Each backend at each length, with as many tokens in a call; plain loops are left out."""
    tokens = max(shape.b * shape.t, *lengths)
    seconds: dict[str, dict[int, float]] = {}
    for length in sorted(lengths):
        at, alone = at_length(shape, length, tokens), replace(how, loops=False)
        forms = named_forms(at, alone)
        known = [seconds.setdefault(form.name, {}) for form in forms]
        yield from compared(hopeful(at, *pair, how, most) for pair in zip(forms, known))


def hopeful(shape: Shape, form: Named, known: dict[int, float], how: How, most: Ceilings) -> OpTime:
    """One form, unless it would take too long. known: its seconds by length, added to."""
    if (would := expected(known, shape.t)) > how.seconds:
        error = f"left out: {would:.1f} s expected, limit {how.seconds:g} s"
        return replace(blank(shape, form, how, most), status="timeout", error=error)
    found = bench_form(shape, form, how, most)
    if found.median is not None:
        known[shape.t] = found.median
    return found


def named_forms(shape: Shape, how: How) -> list[Named]:
    """The choice depends on shapes and devices alone, so one row of few tokens would not do."""
    x = inputs(shape, DTYPES[how.dtype], how.device)
    graph = how.graph and how.device.type == "cuda"
    return forms_of(shape, x, how.backends, how.loops, graph)


def bench_form(shape: Shape, form: Named, how: How, most: Ceilings) -> OpTime:
    """One form at one shape; lack of memory and a failing kernel are a result, too."""
    found = blank(shape, form, how, most)
    try:
        timing, memory = measure(shape, form, how)
    except (RuntimeError, MemoryError) as error:
        status = "oom" if is_out_of_memory(error) else "failed"
        found = replace(found, status=status, error=first_line(error))
    else:
        spread = {name: value for name, value in asdict(timing).items() if hasattr(found, name)}
        reached = share(found.floor_seconds, timing.median)
        found = replace(found, **spread, peak_memory_bytes=memory, share=reached)
    if how.device.type == "cuda":
        torch.cuda.empty_cache()
    return found


def measure(shape: Shape, form: Named, how: How) -> tuple[Timing, int | None]:
    dtype = DTYPES[how.dtype]
    size = sum(input_bytes(shape, dtype.itemsize).values())
    drawn = (inputs(shape, dtype, how.device, i) for i in range(sets(size, how.device)))
    several = [form.layout(x) for x in drawn]
    d_o = torch.randn_like(several[0]["v"])  # b t h v, or as the form has it
    calls = [partial(forward_backward, form.run, x, d_o) for x in several]
    timing = timed(calls, how.device, repeats=how.repeats, seconds=how.seconds, graph=how.graph)
    if timing.median > how.seconds:
        return timing, None
    held = sum(x.numel() * x.element_size() for x in (*several[0].values(), d_o))
    return timing, peak_bytes(calls[0], how.device, held)


def forward_backward(form: Form, x: Tensors, d_o: Tensor) -> None:
    o = form(x)
    torch.autograd.grad(o, list(x.values()), d_o.to(o.dtype))


def compared(found: Iterable[OpTime]) -> Iterator[OpTime]:
    """With `slower`, against the first, as they come."""
    first = None
    for each in found:
        first = first or each
        yield replace(each, slower=ratio(each.median, first.median))
