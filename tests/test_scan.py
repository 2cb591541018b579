"""Every scan backend against the float64 loop: outputs, state and each gradient, by name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.scan_cases import DECAYS, Tensors, assert_near, drawn, received, with_gradients
from zoo.scan import Read, matrix, scalar, scan, ssm, vector
from zoo.scan.chunks import least, lower
from zoo.spec import Decay

# backend, shape of step and of rate ("" = none), heads, shared q and k, d_k, d_v
GEOMETRIES = {
    "loop": ("loop", "channel", "", 2, False, 3, 2),
    "vector": ("vector", "head", "", 3, False, 1, 1),
    "vector-fixed-two-values": ("vector", "", "head", 3, True, 1, 2),
    "vector-keep": ("vector", "", "", 3, False, 1, 2),
    "ssm": ("ssm", "head", "channel", 5, True, 4, 1),
    "ssm-own-keys": ("ssm", "head", "channel", 3, False, 4, 1),
    "scalar": ("scalar", "head", "", 2, False, 4, 3),
    "scalar-shared": ("scalar", "head", "head", 3, True, 4, 3),
    "scalar-fixed": ("scalar", "", "head", 2, False, 4, 3),
    "scalar-keep": ("scalar", "", "", 2, False, 17, 3),
    "matrix": ("matrix", "channel", "", 2, False, 4, 3),
    "matrix-shared": ("matrix", "channel", "channel", 3, True, 4, 3),
    "matrix-fixed": ("matrix", "", "channel", 2, False, 4, 3),
    "matrix-step-rate": ("matrix", "head", "channel", 2, False, 4, 3),
    "matrix-wide": ("matrix", "channel", "", 1, False, 2, 128),
    "parallel": ("parallel", "channel", "", 2, True, 3, 2),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)
# `parallel` takes differences of running sums, so it is exact for ordinary decays only.
safe = pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g != "parallel"])
by_hand = pytest.mark.parametrize(
    "geometry", ["vector-fixed-two-values", "ssm", "matrix", "matrix-fixed"]
)


def example(geometry: str, decay: str, t: int, dtype: torch.dtype, state: bool = True) -> Tensors:
    """float32 values in `dtype`, so that a float32 run and its float64 reference read the same."""
    _, step, rate, h, shared, d_k, d_v = GEOMETRIES[geometry]
    torch.manual_seed(t)
    x = {
        "q": torch.randn(2, t, 1 if shared else h, d_k),
        "k": torch.randn(2, t, 1 if shared else h, d_k),
        "v": torch.randn(2, t, h, d_v),
        "state": torch.randn(2, h, d_k, d_v),
    }
    x |= drawn(step, rate, decay, t, h, d_k)
    return {name: y.to(dtype) for name, y in x.items() if state or name != "state"}


def run(x: Tensors, backend: str, read: Read = "after", reverse: bool = False) -> Tensors:
    def apply(x: Tensors) -> tuple[Tensor, Tensor]:
        decay = Decay(x.get("step"), x.get("rate"))
        order = {"read": read, "reverse": reverse, "state": x.get("state")}
        return scan(x["q"], x["k"], x["v"], decay, **order, backend=backend)  # pyright: ignore

    return with_gradients(apply, x)


def assert_close(got: Tensors, reference: Tensors, x: Tensors) -> None:
    """200 tokens, each rounding a factor by eps / 2, all the same way; and exp(least), which
    replaces faster decays."""
    dtype = got["end"].dtype
    rounding = 200 * torch.finfo(dtype).eps / 2  # 1.2e-5 in float32, 2.2e-14 in float64
    dropped = math.exp(least(dtype))
    assert_near(got, reference, rounding=rounding, dropped=dropped, received=received(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("t", [63, 200])
@safe
def test_agrees_with_the_loop_at_any_decay(
    geometry: str, t: int, decay: str, dtype: torch.dtype
) -> None:
    x = example(geometry, decay, t, dtype)
    reference = run({name: y.double() for name, y in x.items()}, "loop")
    assert_close(run(x, GEOMETRIES[geometry][0]), reference, x)


@pytest.mark.parametrize("t", [1, 2, 5, 17, 64, 65, 130])
@geometries
def test_agrees_with_the_loop_at_any_length(geometry: str, t: int) -> None:
    x = example(geometry, "logsigmoid", t, torch.float64, state=t % 2 == 0)
    assert_close(run(x, GEOMETRIES[geometry][0]), run(x, "loop"), x)


@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("read", ["after", "before"])
@geometries
def test_agrees_with_the_loop_in_every_reading(
    geometry: str, read: Read, reverse: bool, state: bool
) -> None:
    x = example(geometry, "logsigmoid", 41, torch.float64, state)
    got = run(x, GEOMETRIES[geometry][0], read, reverse)
    assert_close(got, run(x, "loop", read, reverse), x)


@pytest.mark.parametrize("cut", [1, 31, 63])
@geometries
def test_state_handed_over_equals_one_run(geometry: str, cut: int) -> None:
    x, backend = example(geometry, "logsigmoid", 64, torch.float64), GEOMETRIES[geometry][0]
    whole, state, outputs = run(x, backend), x["state"], []
    for part in (slice(0, cut), slice(cut, 64)):
        piece = {n: y if n in ("rate", "state") else y[:, part] for n, y in x.items()}
        result = run({**piece, "state": state}, backend)
        state = result["end"]
        outputs.append(result["o"])
    assert_close(
        {"o": torch.cat(outputs, dim=1), "end": state}, {n: whole[n] for n in ("o", "end")}, x
    )


@pytest.mark.parametrize("decay", ["-1e-3", "logsigmoid", "U(-20,0)"])
@safe
def test_gradients_equal_finite_differences(geometry: str, decay: str) -> None:
    x = example(geometry, decay, 6, torch.float64)
    names = [name for name in x if x[name].numel() < 200]

    def function(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        y = {**x, **dict(zip(names, tensors, strict=True))}
        decay = Decay(y.get("step"), y.get("rate"))
        backend = GEOMETRIES[geometry][0]
        return scan(y["q"], y["k"], y["v"], decay, state=y["state"], backend=backend)

    inputs = [x[name].requires_grad_() for name in names]
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("shared", [(), ("q", "state"), ("step", "rate")], ids=str)
@safe
def test_vmap_of_gradients_equals_one_by_one(geometry: str, shared: tuple[str, ...]) -> None:
    many = [example(geometry, "logsigmoid", t, torch.float64) for t in (21, 22, 23)]
    many = [{n: y if n in ("rate", "state") else y[:, :21] for n, y in x.items()} for x in many]
    stacked = {
        n: many[0][n] if n in shared else torch.stack([x[n] for x in many], dim=1) for n in many[0]
    }

    def loss(x: Tensors) -> Tensor:
        decay, backend = Decay(x.get("step"), x.get("rate")), GEOMETRIES[geometry][0]
        order = {"state": x["state"], "backend": backend, "trusted": True}
        o, end = scan(x["q"], x["k"], x["v"], decay, **order)
        return o.sin().sum() + end.cos().sum()

    dims = ({n: None if n in shared else 1 for n in stacked},)
    got = torch.func.vmap(torch.func.grad(loss), in_dims=dims)(stacked)
    for i, x in enumerate(many):
        one = torch.func.grad(loss)({**x, **{n: many[0][n] for n in shared if n in x}})
        for name in one:
            torch.testing.assert_close(got[name][i], one[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tokens", [1, 4, 7])
def test_ssm_rebuilds_the_states_of_long_sequences(
    tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = example("ssm", "logsigmoid", 50, torch.float64)
    monkeypatch.setattr(ssm, "KEPT", 0)
    monkeypatch.setattr(ssm, "SEGMENT", tokens * x["state"].numel())
    assert_close(run(x, "ssm"), run(x, "loop"), x)


@pytest.mark.parametrize("kept", [0, 500])
@safe
def test_vmap_of_the_backward_pass_alone_gives_jacobians(
    geometry: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = example(geometry, "logsigmoid", 11, torch.float64)
    # ssm: forward keeps its states, or cuts time, where the mapped backward would choose otherwise.
    monkeypatch.setattr(ssm, "KEPT", kept)
    monkeypatch.setattr(ssm, "SEGMENT", 5 * x["state"].numel())
    decay = Decay(x.get("step"), x.get("rate"))

    def outputs(v: Tensor, backend: str) -> Tensor:
        return scan(x["q"], x["k"], v, decay, backend=backend, trusted=True)[0].sum((0, 2, 3))

    jacobian = torch.func.jacrev(outputs)
    got = jacobian(x["v"], GEOMETRIES[geometry][0])
    torch.testing.assert_close(got, jacobian(x["v"], "loop"), rtol=1e-12, atol=1e-12)


@safe
def test_inference_mode_leaves_nothing_behind_that_training_stumbles_over(geometry: str) -> None:
    x, backend = example(geometry, "logsigmoid", 23, torch.float32), GEOMETRIES[geometry][0]
    for module in (matrix.exponents, scalar.masks, lower):
        module.cache_clear()
    with torch.inference_mode():
        decay = Decay(x.get("step"), x.get("rate"))
        order = {"state": x["state"], "backend": backend, "trusted": True}
        o, end = scan(x["q"], x["k"], x["v"], decay, **order)
    trained = run(x, backend)
    assert torch.equal(o, trained["o"])
    assert torch.equal(end, trained["end"])


@pytest.mark.parametrize("decay", DECAYS)
def test_no_factor_is_subnormal_or_infinite(decay: str) -> None:
    """Such factors cost tens of times the usual time: speed would depend on the decay."""
    log = -DECAYS[decay](torch.rand(3, 2, 1, 64, 5))  # n b h c k
    m, table = matrix.Factors(log), scalar.products(log[..., :1])
    v = vector.decays(log[0, :, 0], 4, 16, torch.ones(16, 16).tril())
    # What a query or key brings multiplies what a pair of blocks shares.
    key = m.key.unflatten(3, (16, 1, 4)).transpose(3, 4)  # n b h 1 s 4 k
    products = (m.query.unflatten(3, (16, 4)) * m.start, (key * m.pairs).tril(), *table, *v)
    for x in (m.query, m.key, m.start, m.end, m.pairs, m.whole, *products):
        assert x.isfinite().all()
        assert x[x > 0].min() >= torch.finfo(torch.float32).tiny


@safe
def test_later_tokens_reach_no_earlier_output(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 70, torch.float64)
    inputs = [x[name].requires_grad_() for name in ("q", "k", "v", "step") if name in x]
    o, _ = scan(x["q"], x["k"], x["v"], Decay(x.get("step"), x.get("rate")), state=x["state"])
    for gradient in torch.autograd.grad(o[:, :33].sum(), inputs):
        assert not gradient[:, 33:].any()


@safe
def test_bfloat16_computes_in_float32(geometry: str) -> None:
    x, backend = example(geometry, "logsigmoid", 50, torch.bfloat16), GEOMETRIES[geometry][0]
    got = run(x, backend)
    reference = run({name: y.double() for name, y in x.items()}, backend)
    assert (got["o"].dtype, got["end"].dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(got["end"].double(), reference["end"], rtol=1e-5, atol=1e-5)
    for name in reference:  # only the result is rounded, to 8 bits
        error = (got[name].double() - reference[name]).norm() / reference[name].norm()
        assert error < 2**-8, name


@safe
def test_autocast_changes_nothing(geometry: str) -> None:
    x, backend = example(geometry, "logsigmoid", 50, torch.float32), GEOMETRIES[geometry][0]
    q, decay = x["q"].requires_grad_(), Decay(x.get("step"), x.get("rate"))
    o, end = scan(q, x["k"], x["v"], decay, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        o_cast, end_cast = scan(q, x["k"], x["v"], decay, backend=backend)
    (dq,), (dq_cast,) = (torch.autograd.grad(y.sum(), q) for y in (o, o_cast))
    assert all(map(torch.equal, (o, end, dq), (o_cast, end_cast, dq_cast)))


@by_hand
def test_second_derivatives_are_refused_with_a_hint(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 9, torch.float64)
    q = x["q"].requires_grad_()
    o, _ = scan(q, x["k"], x["v"], Decay(x.get("step"), x.get("rate")))
    (gradient,) = torch.autograd.grad(o.square().sum(), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='loop'"):
        torch.autograd.grad(gradient.sum(), q)
