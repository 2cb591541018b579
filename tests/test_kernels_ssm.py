"""The selective scan's kernels against the float64 loop: on a GPU, else in Triton's interpreter."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from tests.scan_cases import (
    DECAYS,
    Tensors,
    assert_near,
    drawn,
    received,
    with_gradients,
)
from zoo.kernels import ssm, ssm_segments
from zoo.scan import case, loop, one_minus_alpha, triton_ssm
from zoo.scan import ssm as plain
from zoo.scan.chunks import least
from zoo.spec import Decay

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# heads, d_k, heads of q and k are one, k = 1 - alpha
GEOMETRIES = {
    "shared": (5, 4, True, False),
    "own": (3, 3, False, False),
    "tied": (3, 2, True, True),
    "one-key": (2, 1, False, False),
    "one-head": (1, 5, True, True),
    "blocks-of-channels": (37, 16, True, False),
    "odd-17": (9, 17, True, False),
    "odd-33": (3, 33, False, True),
    "most": (3, 64, True, False),
}
some = pytest.mark.parametrize("geometry", ["shared", "own", "tied"])
orders = pytest.mark.parametrize(
    ("geometry", "read", "reverse"),
    [("shared", read, reverse) for read in ("after", "before") for reverse in (False, True)]
    + [("tied", "before", False), ("own", "after", True)],
)


def example(geometry: str, decay: str, t: int, b: int = 1, state: bool = True) -> Tensors:
    h, d_k, shared, tied = GEOMETRIES[geometry]
    torch.manual_seed(t)
    heads = 1 if shared else h
    x = {"q": torch.randn(2, t, heads, d_k), "v": torch.randn(2, t, h, 1)}
    if not tied:
        x["k"] = torch.randn(2, t, heads, d_k)
    if state:
        x["state"] = torch.randn(2, h, d_k, 1)
    x |= drawn("head", "channel", decay, t, h, d_k)
    return {name: (y if name == "rate" else y[:b]).to(DEVICE) for name, y in x.items()}


def apply(x: Tensors, read: str, reverse: bool, backend: Any = triton_ssm) -> tuple[Tensor, Tensor]:
    decay, k = Decay(x["step"], x["rate"]), x.get("k")
    if k is None and backend is not triton_ssm:
        k = one_minus_alpha(decay)
    order = {"read": read, "reverse": reverse, "state": x.get("state")}
    return backend.scan(x["q"], k, x["v"], decay, **order)


def run(
    x: Tensors, read: str = "after", reverse: bool = False, backend: Any = triton_ssm
) -> Tensors:
    return with_gradients(lambda x: apply(x, read, reverse, backend), x)


def assert_equals_the_loop(x: Tensors, read: str = "after", reverse: bool = False) -> None:
    """Each token rounds a factor by eps / 2, or, on a GPU, whose exp2 is off by two units in the
    last place, by 2.5 eps, all the same way; and exp(least) is below what is rounded away."""
    got = run(x, read, reverse)
    reference = run({name: y.double() for name, y in x.items()}, read, reverse, Reference)
    per_token = torch.finfo(torch.float32).eps * (2.5 if DEVICE == "cuda" else 0.5)
    rounding, dropped = 200 * per_token, math.exp(least(torch.float32))
    assert_near(got, reference, rounding=rounding, dropped=dropped, received=received(x))


class Reference:
    """The loop, with the heads of q and k made many, as zoo.scan.scan does it."""

    @staticmethod
    def scan(q: Tensor, k: Tensor, v: Tensor, decay: Decay, **order) -> tuple[Tensor, Tensor]:
        q, k = (x.expand(*v.shape[:3], q.shape[3]) for x in (q, k))
        return loop.scan(q, k, v, decay, **order)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("geometry", ["shared", "tied"])
def test_agrees_with_the_loop_at_any_decay(geometry: str, decay: str) -> None:
    assert_equals_the_loop(example(geometry, decay, 33))


@pytest.mark.parametrize("t", [1, 2, 17, 64, 65, 130])
def test_agrees_with_the_loop_at_any_length(t: int) -> None:
    assert_equals_the_loop(example("own" if t % 2 else "tied", "logsigmoid", t, state=t != 64))


@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g not in ("shared", "own", "tied")])
def test_agrees_with_the_loop_at_any_size(geometry: str) -> None:
    assert_equals_the_loop(example(geometry, "logsigmoid", 18, b=2))


@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@orders
def test_agrees_with_the_loop_in_every_reading(
    geometry: str, read: str, reverse: bool, state: bool
) -> None:
    assert_equals_the_loop(example(geometry, "logsigmoid", 19, state=state), read, reverse)


@orders
def test_segments_of_time_change_nothing(
    geometry: str, read: str, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssm_segments, "SHORTEST", 16)
    monkeypatch.setattr(ssm_segments, "multiprocessors", lambda _: 1000)
    x = example(geometry, "logsigmoid", 53, state=reverse)
    order = {"before": read == "before", "reverse": reverse, "back": False}
    plan = ssm_segments.Plan.of(x["v"].squeeze(3), x["q"].shape[3], **order)
    assert (plan.segments, plan.tokens) == (2, 32)
    assert_equals_the_loop(x, read, reverse)


@pytest.mark.skipif(ssm.MIRRORED, reason="tiles are mirrored anyway")
@pytest.mark.parametrize("geometry", ["shared", "own"])
def test_mirrored_tiles_change_nothing(geometry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = example(geometry, "logsigmoid", 21)
    expected = run(x, "before", True)
    original = ssm.Form.of

    def mirrored(*sizes: int, **order: bool) -> ssm.Form:
        return original(*sizes, **order)._replace(mirrored=True)

    monkeypatch.setattr(ssm.Form, "of", mirrored)
    got = run(x, "before", True)
    for name, y in expected.items():
        torch.testing.assert_close(got[name], y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("geometry", "shared"),
    [("shared", ()), ("shared", ("q", "state")), ("shared", ("step", "rate")), ("tied", ())],
)
def test_vmap_of_gradients_equals_one_by_one(
    geometry: str, shared: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssm_segments, "SHORTEST", 8)  # two segments of 16 and 2 tokens
    monkeypatch.setattr(ssm_segments, "multiprocessors", lambda _: 1000)
    many = [example(geometry, "logsigmoid", t) for t in (18, 19)]
    many = [{n: y if n in ("rate", "state") else y[:, :18] for n, y in x.items()} for x in many]
    stacked = {
        n: many[0][n] if n in shared else torch.stack([x[n] for x in many], dim=1) for n in many[0]
    }

    def loss(x: Tensors) -> Tensor:
        o, end = apply(x, "after", False)
        return o.sin().sum() + end.cos().sum()

    dims = ({n: None if n in shared else 1 for n in stacked},)
    got = torch.func.vmap(torch.func.grad(loss), in_dims=dims)(stacked)
    for i, x in enumerate(many):
        one = torch.func.grad(loss)({**x, **{n: many[0][n] for n in shared if n in x}})
        for name in one:  # 18 roundings of eps / 2, and sums over the batch
            torch.testing.assert_close(got[name][i], one[name], rtol=1e-5, atol=1e-5)


def test_vmap_of_the_backward_pass_alone_gives_jacobians() -> None:
    x = example("shared", "logsigmoid", 17)

    def outputs(step: Tensor, backend) -> Tensor:
        return apply({**x, "step": step}, "after", False, backend)[0].sum((0, 2, 3))

    got = torch.func.jacrev(outputs)(x["step"], triton_ssm)
    expected = torch.func.jacrev(outputs)(x["step"], Reference)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_a_batch_of_one_is_broadcast() -> None:
    x = example("shared", "logsigmoid", 17, b=2)
    one = {name: y if name in ("rate", "v") else y[:1] for name, y in x.items()}
    many = {n: y if n in ("rate", "v") else y.expand(2, *y.shape[1:]) for n, y in one.items()}
    got, expected = run({**one, "state": many["state"]}), run(many)
    for name, y in expected.items():
        if got[name].shape[0] == 1 and name != "drate":
            y = y.sum(0, keepdim=True)
        torch.testing.assert_close(got[name], y, rtol=1e-5, atol=1e-5)


@some
def test_tensors_need_not_be_dense(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 20, b=2)
    part = {n: y if n in ("rate", "state") else y[:, 1:18] for n, y in x.items()}
    part["v"] = torch.cat([part["v"]] * 2, dim=2).chunk(2, dim=2)[1]
    whole = {n: y.clone(memory_format=torch.contiguous_format) for n, y in part.items()}
    for got, expected in zip(apply(part, "after", True), apply(whole, "after", True)):
        assert torch.equal(got, expected)
    still = {**part, "q": part["q"][:, :1].expand(-1, 17, -1, -1)}  # no token changes q
    whole["q"] = still["q"].contiguous()
    assert torch.equal(apply(still, "after", False)[0], apply(whole, "after", False)[0])


def test_without_gradients_no_states_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.kernels import ssm_forward

    x, original, returned = example("shared", "logsigmoid", 17), ssm_forward.forward, []

    def forward(*inputs, **order) -> tuple[Tensor, ...]:
        returned.append(original(*inputs, **order))
        return returned[-1]

    monkeypatch.setattr(ssm_forward, "forward", forward)
    expected = apply(x, "after", False)
    with torch.no_grad():
        got = apply(x, "after", False)
    assert [len(each) for each in returned] == [3, 2]
    assert all(map(torch.equal, got, expected))


def test_it_says_why_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    q, v, step, rate = torch.rand(2, 5, 3, 4), torch.rand(2, 5, 3, 1), torch.rand(2, 5, 3, 1), 0.5
    decay = Decay(step, torch.full((3, 4), rate))
    fits = case.Case(q, q, v, decay)
    if DEVICE == "cpu":
        assert "needs an NVIDIA GPU" in triton_ssm.refuses(fits)
    monkeypatch.setattr(triton_ssm, "reason", lambda _: "")
    assert triton_ssm.refuses(fits) == ""
    assert "not kind 'head'" in triton_ssm.refuses(replace(fits, decay=Decay(step)))
    assert "one value channel per head, not 4" in triton_ssm.refuses(replace(fits, v=q))
    wide = torch.rand(2, 5, 3, 65)
    decay = Decay(step, torch.rand(3, 65))
    assert "at most 64 key channels per head, not 65" in triton_ssm.refuses(
        case.Case(wide, wide, v, decay)
    )


@pytest.mark.gpu
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("geometry", ["shared", "own", "tied", "blocks-of-channels"])
def test_bfloat16_inputs_err_at_most_twice_as_much_as_plain_torch(
    geometry: str, decay: str
) -> None:
    x = example(geometry, decay, 200, b=2)
    x = {n: y.bfloat16().float() if n in "qkv" else y for n, y in x.items()}
    halves = {n: y.bfloat16() if n in "qkv" else y for n, y in x.items()}
    exact = run({n: y.double() for n, y in x.items()}, backend=Reference)
    got, other = run(halves), run(x, backend=plain)
    for name, y in exact.items():
        # What plain torch returns is rounded to the dtype in which the kernels return it. What both
        # return in float32 may differ by 200 tokens' rounding, as in assert_equals_the_loop().
        error, its = (
            (z[name].to(got[name].dtype).double() - y).norm().item() for z in (got, other)
        )
        assert error <= 2 * its + 6e-5 * y.norm().item(), name


@pytest.mark.gpu
@pytest.mark.parametrize("geometry", ["shared", "tied", "blocks-of-channels"])
def test_repeats_are_equal_to_the_last_bit(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 300, b=2)
    first = run(x)
    for _ in range(50):
        again = run(x)
        assert all(torch.equal(again[name], y) for name, y in first.items())
