"""What the adapters of other libraries hand over, on a CPU, against the float64 loop.

Each kernel is replaced by a loop with the meaning that its library documents, so that everything
but the kernel is under test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from tests.peer_cases import GEOMETRIES, MODULES, add, example, geometries, run
from tests.peer_kernels import KERNELS, called
from tests.scan_cases import DECAYS, Tensors, assert_near, received
from zoo.scan import Read, peers, scan
from zoo.scan.chunks import least
from zoo.spec import Decay


def assert_close(got: Tensors, reference: Tensors, x: Tensors) -> None:
    """As in test_scan: 200 roundings of float64, and exp(least) in place of faster decays."""
    rounding, dropped = 200 * torch.finfo(torch.float64).eps / 2, math.exp(least(torch.float64))
    assert_near(got, reference, rounding=rounding, dropped=dropped, received=received(x))


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Adapters that refuse nothing, and kernels that run on a CPU."""
    monkeypatch.setattr(peers, "function", lambda module, name: KERNELS[module][name])
    for module in MODULES.values():
        monkeypatch.setattr(module, "refuses", lambda case: "")
    add(monkeypatch)
    called.clear()
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("replaced")
@pytest.mark.parametrize("decay", DECAYS)
@geometries
def test_what_a_kernel_is_handed_stands_for_the_same_at_any_decay(
    geometry: str, decay: str
) -> None:
    x = example(geometry, decay, 19)
    assert_close(run(x, GEOMETRIES[geometry][0]), run(x, "loop"), x)


@pytest.mark.usefixtures("replaced")
@pytest.mark.parametrize("t", [1, 16])
@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("read", ["after", "before"])
@geometries
def test_what_a_kernel_is_handed_stands_for_the_same_in_every_reading(
    geometry: str, read: Read, reverse: bool, state: bool, t: int
) -> None:
    x = example(geometry, "logsigmoid", t, state)
    got = run(x, GEOMETRIES[geometry][0], read, reverse)
    assert_close(got, run(x, "loop", read, reverse), x)


@pytest.mark.usefixtures("replaced")
def test_a_step_of_zero_adds_its_token_and_keeps_the_rest() -> None:
    """v / step, which the library's own parameters would be, does not exist there."""
    x = example("mamba", "logsigmoid", 9)
    x["step"][:, ::2] = 0.0
    assert_close(run(x, "mamba_ssm"), run(x, "loop"), x)


@pytest.mark.usefixtures("replaced")
@pytest.mark.parametrize("read", ["after", "before"])
@pytest.mark.parametrize("geometry", ["gla", "simple", "simple-keep"])
def test_sixteen_bits_reach_the_chunked_kernel_as_they_are(geometry: str, read: Read) -> None:
    x = {name: y.float() for name, y in example(geometry, "logsigmoid", 9).items()}
    x |= {name: x[name].bfloat16() for name in ("q", "k", "v")}
    got = run(x, GEOMETRIES[geometry][0], read)
    reference = run({name: y.double() for name, y in x.items()}, "loop", read)
    kernel = {"fla_gla": "chunk_gla", "fla_simple_gla": "fused_chunk_simple_gla"}
    assert called == [kernel[GEOMETRIES[geometry][0]]]
    assert (got["o"].dtype, got["end"].dtype) == (torch.bfloat16, torch.float32)
    # The loop in place of the kernel rounds k v, o and every gradient to 8 bits.
    assert_near(got, reference, rounding=3 * 2**-8, dropped=0.0)


@pytest.mark.usefixtures("replaced")
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_float32_reaches_a_kernel_with_tf32_only_where_that_is_allowed(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    for geometry in ("gla", "simple"):
        x = {name: y.float() for name, y in example(geometry, "logsigmoid", 9).items()}
        run(x, GEOMETRIES[geometry][0])
    exact = ["fused_recurrent_gla", "fused_recurrent_simple_gla"]
    assert called == (exact if precision == "highest" else ["chunk_gla", "fused_chunk_simple_gla"])


@pytest.mark.usefixtures("replaced")
@pytest.mark.parametrize(
    ("t", "dtype", "kernel"),
    [
        (128, torch.bfloat16, "fused_chunk_simple_gla g_gamma"),
        (16, torch.bfloat16, "fused_chunk_simple_gla g_gamma"),
        (1, torch.bfloat16, "fused_chunk_simple_gla"),
        (65, torch.bfloat16, "fused_chunk_simple_gla"),
        (65, torch.float32, "fused_recurrent_simple_gla g_gamma"),
    ],
    ids=str,
)
def test_a_fixed_decay_is_one_number_unless_a_shorter_chunk_would_overflow(
    t: int, dtype: torch.dtype, kernel: str
) -> None:
    x, rate = example("simple-keep", "-30", t), torch.full((2, 1), 30.0)
    q, k, v = (x[name].to(dtype) for name in ("q", "k", "v"))
    o, _ = scan(q, k, v, Decay(rate=rate), backend="fla_simple_gla")
    expected, _ = scan(q, k, v, Decay(rate=rate), backend="loop")
    assert called == [kernel]
    # The loop in place of the kernel rounds k v and o.
    assert (o - expected).norm() <= 2 * torch.finfo(dtype).eps * expected.norm()
