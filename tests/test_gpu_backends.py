"""Every scan backend on a GPU against the float64 loop: numbers, bits, and a captured graph.

Other libraries are asked where they are installed; their first calls tune themselves for a while.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests import gpu_cases
from tests.gpu_bounds import BFLOAT16, FLOAT32, TF32, beyond, bounds, errors, floor
from tests.gpu_cases import BY_NAME, FAMILIES, GEOMETRIES, PLAIN, Asked, own, run

pytestmark = pytest.mark.gpu
REPEATS = 50


@pytest.mark.parametrize("asked", gpu_cases.questions(), ids=str)
def test_every_backend_is_as_near_to_the_loop_as_plain_torch(asked: Asked) -> None:
    x, by = gpu_cases.drawn_for(asked), gpu_cases.weights(asked)
    reference = run(asked, {name: y.double() for name, y in x.items()}, "loop", by)
    names = own(asked, x)
    plain = next(name for name in PLAIN if name in names)
    error = errors(run(asked, x, plain, by), reference)
    # The plain one itself: as on a CPU, every token rounds, with an erase three times.
    rounding = max(asked.t, 200) * (3 if asked.erases else 1) * FLOAT32
    rounding += BFLOAT16 if asked.dtype == torch.bfloat16 else 0.0
    wrong = beyond(error, bounds(asked, x, reference, rounding), plain)
    allowed = bounds(asked, x, reference, floor(asked, x), plain=error)
    for name in set(names) - {plain}:
        wrong += beyond(errors(run(asked, x, name, by), reference), allowed, name)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["keep", "head", "channel", "vector", "ssm", "erase-channel"])
def test_other_libraries_agree_with_the_loop(name: str, dtype: torch.dtype) -> None:
    """Needs flash-linear-attention or mamba-ssm."""
    asked = replace(BY_NAME[name], dtype=dtype)
    x, by = gpu_cases.drawn_for(asked), gpu_cases.weights(asked)
    names = [n for n in gpu_cases.able(asked, x) if n in gpu_cases.peers()]
    if not names:
        pytest.skip("no other library is installed that runs this")
    reference = run(asked, {name: y.double() for name, y in x.items()}, "loop", by)
    # Each of t tokens rounds three numbers, in any direction.
    unit = TF32 if dtype == torch.float32 else BFLOAT16
    allowed = bounds(asked, x, reference, math.sqrt(3 * asked.t) * unit, span=asked.t)
    wrong = []
    for n in names:
        wrong += beyond(errors(run(asked, x, n, by), reference), allowed, n)
    assert not wrong, "\n".join(wrong)


# As they are; and long enough for many programs at once, which may finish in any order.
@pytest.mark.parametrize(
    "asked",
    [
        *(replace(x, dtype=y) for x in GEOMETRIES for y in (torch.float32, torch.bfloat16)),
        *(replace(x, t=2048) for x in FAMILIES),
    ],
    ids=str,
)
def test_a_backend_gives_the_same_bits_every_time(asked: Asked) -> None:
    x, by = gpu_cases.drawn_for(asked), gpu_cases.weights(asked)
    for name in gpu_cases.repeatable(asked, x):
        first = run(asked, x, name, by)
        for _ in range(REPEATS):
            again = run(asked, x, name, by)
            assert all(torch.equal(y, again[n]) for n, y in first.items()), name


@pytest.mark.parametrize("asked", GEOMETRIES, ids=lambda asked: asked.name)
def test_a_captured_graph_replays_to_what_an_eager_pass_gives(asked: Asked) -> None:
    before, after = (gpu_cases.drawn_for(asked, seed) for seed in (2, 3))
    by = gpu_cases.weights(asked)
    for name in own(asked, before):
        x = {n: y.clone().requires_grad_() for n, y in before.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what is made once is made outside the graph
            for _ in range(3):
                gpu_cases.traced(asked, x, name, by)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            got = gpu_cases.traced(asked, x, name, by)
        with torch.no_grad():
            for n, y in x.items():
                y.copy_(after[n])
        graph.replay()
        expected = run(asked, after, name, by)
        # A library's matmul may sum in another order where it gets another workspace.
        reference = {n: y.double() for n, y in expected.items()}
        allowed = bounds(asked, after, reference, floor(asked, after))
        assert not beyond(errors(got, reference), allowed, name)
