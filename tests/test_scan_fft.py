"""The FFT convolution against the float64 loop: outputs, state and each gradient, by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.scan_cases import DECAYS, Tensors, assert_near, with_gradients
from zoo.scan import Read, choose, explain, scan
from zoo.scan.case import Case
from zoo.scan.chunks import faintest
from zoo.scan.fft import Powers, transform_length
from zoo.spec import Decay

B, H, N = 2, 3, 4
ANGLE = 6.0  # radians per token, the largest

# states turn, shape of rate ("" = none), heads of q and k, d_v
GEOMETRIES = {
    "complex": (True, "channel", H, 1),
    "complex-shared": (True, "channel", 1, 2),
    "complex-per-head": (True, "head", H, 2),
    "complex-keep": (True, "", H, 1),
    "real": (False, "channel", H, 1),
    "real-per-head": (False, "head", 1, 3),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)


def example(geometry: str, decay: str, t: int, dtype: torch.dtype, state: bool = True) -> Tensors:
    turning, rate, heads, d_v = GEOMETRIES[geometry]
    torch.manual_seed(t)
    d_k = 2 * N if turning else N
    x = {name: torch.randn(1, 1, heads, d_k) for name in "qk"} | {"v": torch.randn(B, t, H, d_v)}
    if state:
        x["state"] = torch.randn(B, H, d_k, d_v)
    if rate:
        x["rate"] = DECAYS[decay](torch.rand(H, N if rate == "channel" else 1))
    if turning:
        x["angle"] = ANGLE * torch.rand(H, N)
    return {name: y.to(dtype) for name, y in x.items()}


def run(x: Tensors, backend: str, read: Read = "after", reverse: bool = False) -> Tensors:
    return with_gradients(lambda x: by_scan(x, backend, read, reverse), x)


def by_scan(
    x: Tensors, backend: str, read: Read = "after", reverse: bool = False
) -> tuple[Tensor, Tensor]:
    rate = x.get("rate")
    if rate is not None and rate.shape[1] == N and "angle" in x:
        rate = torch.cat([rate, rate], dim=1)  # of real and of imaginary parts
    order = {"read": read, "reverse": reverse, "state": x.get("state"), "backend": backend}
    decay = Decay(None, rate, x.get("angle"))
    return scan(x["q"], x["k"], x["v"], decay, **order, trusted=True)  # pyright: ignore


def assert_close(got: Tensors, reference: Tensors, t: int) -> None:
    """Exponents down to `faintest`, each rounded by eps of itself; three transforms of log2(n)
    rounded additions; and t times the largest angle, rounded in float64 before it is reduced.
    Beside it, what `faintest` drops.
    """
    dtype = got["end"].dtype
    floor, eps = faintest(dtype, 2), torch.finfo(dtype).eps
    rounding = (3 * math.log2(4 * t) - floor) * eps + ANGLE * t * 2**-53
    assert_near(got, reference, rounding=rounding, dropped=math.exp(floor))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("t", [63, 200])
@geometries
def test_agrees_with_the_loop_at_any_decay(
    geometry: str, t: int, decay: str, dtype: torch.dtype
) -> None:
    x = example(geometry, decay, t, dtype)
    reference = run({name: y.double() for name, y in x.items()}, "loop")
    assert_close(run(x, "fft"), reference, t)


@pytest.mark.parametrize("t", [1, 2, 3, 5, 17, 64, 65, 101])
@geometries
def test_agrees_with_the_loop_at_any_length(geometry: str, t: int) -> None:
    x = example(geometry, "logsigmoid", t, torch.float64, state=t % 2 == 0)
    assert_close(run(x, "fft"), run(x, "loop"), t)


@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("read", ["after", "before"])
@geometries
def test_agrees_with_the_loop_in_every_reading(
    geometry: str, read: Read, reverse: bool, state: bool
) -> None:
    x = example(geometry, "logsigmoid", 41, torch.float64, state)
    assert_close(run(x, "fft", read, reverse), run(x, "loop", read, reverse), 41)


@pytest.mark.parametrize("cut", [1, 31, 63])
@geometries
def test_state_handed_over_equals_one_run(geometry: str, cut: int) -> None:
    x = example(geometry, "logsigmoid", 64, torch.float64)
    whole, end = by_scan(x, "fft")
    first, state = by_scan({**x, "v": x["v"][:, :cut]}, "fft")
    second, last = by_scan({**x, "v": x["v"][:, cut:], "state": state}, "fft")
    got = {"o": torch.cat([first, second], dim=1), "end": last}
    assert_close(got, {"o": whole, "end": end}, 64)


@pytest.mark.parametrize("decay", ["-1e-3", "logsigmoid", "U(-20,0)"])
@geometries
def test_gradients_equal_finite_differences(geometry: str, decay: str) -> None:
    x = example(geometry, decay, 6, torch.float64)

    def function(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return by_scan(dict(zip(x, tensors, strict=True)), "fft")

    inputs = [y.requires_grad_() for y in x.values()]
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


@geometries
def test_vmap_of_gradients_equals_one_by_one(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 21, torch.float64)
    many = torch.stack([x["v"], 2 * x["v"].flip(1), x["v"].cos()])

    def loss(y: Tensors, v: Tensor) -> Tensor:
        o, end = by_scan({**y, "v": v}, "fft")
        return o.sin().sum() + end.cos().sum()

    got = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(x, many)
    for i, v in enumerate(many):
        for name, gradient in torch.func.grad(loss)(x, v).items():
            torch.testing.assert_close(got[name][i], gradient, rtol=1e-12, atol=1e-12)


def test_bfloat16_values_are_computed_in_float32() -> None:
    x = example("complex", "logsigmoid", 50, torch.float32)
    x["v"] = x["v"].bfloat16()
    o, end = by_scan(x, "fft")
    assert (o.dtype, end.dtype) == (torch.bfloat16, torch.float32)
    reference, state = by_scan({name: y.double() for name, y in x.items()}, "loop")
    assert_close({"end": end}, {"end": state}, 50)
    assert (o.double() - reference).norm() < 2**-8 * reference.norm()  # the result has 8 bits


def test_angles_stay_exact_at_long_lengths_in_float32() -> None:
    t, one = 4096, torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    v = torch.zeros(1, t, 1, 1)
    v[:, 0] = 1.0
    o, _ = scan(one, one, v, Decay(angle=torch.tensor([[5.5]])), backend="fft")
    expected = torch.tensor([math.cos(5.5 * i) for i in range(t)])
    # Two angles below 2 pi, each rounded to 2^-22 of it, and transforms of 13 additions.
    torch.testing.assert_close(o.flatten(), expected, rtol=0, atol=3e-6)


class Largest(torch.overrides.TorchFunctionMode):
    """The bytes behind the largest tensor that any operation returns."""

    bytes = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        y = func(*args, **(kwargs or {}))
        if isinstance(y, Tensor):
            self.bytes = max(self.bytes, y.untyped_storage().nbytes())
        return y


def test_nothing_is_laid_out_over_tokens_and_states() -> None:
    t, n = 1024, 32
    q, angle = torch.randn(1, 1, H, 2 * n), torch.rand(H, n)
    with Largest() as largest:
        scan(q, q, torch.randn(1, t, H, 1), Decay(rate=torch.rand(H, 1), angle=angle))
    powers, spectrum = 4 * H * 33 * 2 * n, 8 * H * (t + 1)
    assert largest.bytes <= max(powers, spectrum) < 4 * H * t * n / 4


@pytest.mark.parametrize("decay", DECAYS)
def test_no_product_of_powers_is_subnormal(decay: str) -> None:
    """Arithmetic with such numbers takes tens of times as long."""
    x = example("real", decay, 200, torch.float32)
    powers = Powers.of(Decay(rate=x["rate"]), 200, H, N, x["v"])
    products = powers.starts.unsqueeze(2) * powers.places.unsqueeze(1)
    assert products[products > 0].min() >= torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("least", [1, 2, 7, 8, 9, 127, 511, 8191, 130_001])
def test_a_transform_is_long_enough_and_not_much_longer(least: int) -> None:
    n = transform_length(least)
    assert least <= n <= max(4, 1.25 * least)
    while n % 2 == 0:
        n //= 2
    assert n in (1, 3, 5, 7)


def test_auto_takes_it_where_nothing_depends_on_the_token() -> None:
    q, v, rate = torch.randn(1, 1, H, 4), torch.randn(B, 9, H, 1), torch.rand(H, 4)
    assert choose(q, q, v, Decay(rate=rate)) == "fft"
    assert choose(q, q, v[:, :1], Decay(rate=rate)) == "loop"
    assert choose(q[..., :1], q[..., :1], v, Decay(rate=rate[:, :1])) == "vector"
    dynamic = torch.randn(B, 9, H, 4)
    assert "q and k that are the same" in explain(Case(dynamic, q, v, Decay(rate=rate)))["fft"]
    assert "q and k that are the same" in explain(Case(q, dynamic, v, Decay(rate=rate)))["fft"]
    step = torch.rand(B, 9, H, 1)
    assert "a decay that is the same" in explain(Case(q, q, v, Decay(step, rate)))["fft"]
