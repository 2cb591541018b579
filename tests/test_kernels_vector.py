"""The vector state's own kernels against the float64 loop; without a GPU, interpreted."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.scan_cases import DECAYS, Tensors, assert_near, drawn, received, with_gradients
from zoo.scan import Read, triton_vector, vector
from zoo.scan import scan as operator
from zoo.scan.case import Case
from zoo.scan.chunks import faintest
from zoo.spec import Decay

pytest.importorskip("triton")

from zoo.kernels import vector_plan
from zoo.kernels.launch import interpreted
from zoo.kernels.vector import FLOOR

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# shape of step and of rate ("" = none), what q and k are, heads, d_v. own: b t h 1; one: b t 1 1;
# static: 1 1 h 1; ones: a single number, expanded; tied: 1 - alpha.
GEOMETRIES = {
    "keys": ("head", "head", "own", "own", 3, 1),
    "tied": ("head", "", "ones", "tied", 3, 1),
    "tied-three-values": ("head", "head", "own", "tied", 2, 3),
    "tied-fixed": ("", "head", "static", "tied", 3, 1),
    "fixed-pairs": ("", "head", "ones", "ones", 3, 2),
    "shared": ("head", "head", "one", "one", 3, 2),
    "static": ("head", "", "static", "static", 3, 1),
    "keep": ("", "", "own", "own", 3, 2),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)
Inputs = tuple[Tensor, Tensor | None, Tensor, Decay]


def example(geometry: str, t: int, decay: str = "logsigmoid", h: int = 0, d_v: int = 0) -> Tensors:
    step, rate, q, k, heads, values = GEOMETRIES[geometry]
    h, d_v = h or heads, d_v or values
    torch.manual_seed(t)
    shapes = {"own": (2, t, h, 1), "one": (2, t, 1, 1), "static": (1, 1, h, 1)}
    x = {name: torch.randn(shapes[of]) for name, of in (("q", q), ("k", k)) if of in shapes}
    x |= {"v": torch.randn(2, t, h, d_v), "state": torch.randn(2, h, 1, d_v)}
    return {name: y.to(DEVICE) for name, y in (x | drawn(step, rate, decay, t, h, 1)).items()}


def inputs(x: Tensors, geometry: str) -> Inputs:
    ones = x["v"].new_ones(1, 1, 1, 1).expand(*x["v"].shape[:3], 1)
    k = None if GEOMETRIES[geometry][3] == "tied" else x.get("k", ones)
    return x.get("q", ones), k, x["v"], Decay(x.get("step"), x.get("rate"))


def run(x: Tensors, geometry: str, read: Read = "after", reverse: bool = False) -> Tensors:
    order = {"read": read, "reverse": reverse}
    return with_gradients(
        lambda x: triton_vector.scan(*inputs(x, geometry), **order, state=x.get("state")), x
    )


def loop(x: Tensors, geometry: str, read: Read = "after", reverse: bool = False) -> Tensors:
    options = {"read": read, "reverse": reverse, "backend": "loop"}
    return with_gradients(
        lambda x: operator(*inputs(x, geometry), **options, state=x.get("state")),
        {name: y.double() for name, y in x.items()},
    )


def assert_close(got: Tensors, reference: Tensors, x: Tensors) -> None:
    """At most 230 tokens, each rounding a factor by eps / 2 all the same way, and exponents of 50
    in all before nothing is left, rounded by as many eps / 2. Decays below FLOOR are raised to it:
    far below the rounding of 1 - alpha in the reference, from whose derivative it has alpha."""
    rounding = 280 * torch.finfo(torch.float32).eps / 2  # 1.7e-5
    dropped = torch.finfo(torch.float64).eps
    assert math.exp(faintest(torch.float32, 1)) < dropped
    assert_near(got, reference, rounding=rounding, dropped=dropped, received=received(x))


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many that time is cut into three segments or more, of the smallest tiles there are."""
    monkeypatch.setattr(vector_plan, "LEAST_TILES", 1)
    monkeypatch.setattr(vector_plan, "INTERPRETED", (3, 4))
    return 57 if interpreted() else 230


def segments(x: Tensors, geometry: str) -> int:
    q, k, v, _ = inputs(x, geometry)
    q, k = (y if y is None else triton_vector.narrow(y).squeeze(3) for y in (q, k))
    assert q is not None
    return vector_plan.Plan.of(q, k, v, 0, False, back=False).segments


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("geometry", ["keys", "tied", "tied-fixed"])
def test_agrees_with_the_loop_at_any_decay(geometry: str, decay: str) -> None:
    x = example(geometry, 41, decay)
    assert_close(run(x, geometry), loop(x, geometry), x)


@pytest.mark.parametrize(
    ("geometry", "t"),
    [("fixed-pairs", 1), *(("tied-three-values", t) for t in (1, 2, 17, 64, 65, 130))],
)
def test_agrees_with_the_loop_at_any_length(geometry: str, t: int) -> None:
    x = example(geometry, t)
    assert_close(run(x, geometry), loop(x, geometry), x)


@geometries
def test_agrees_with_the_loop_in_every_geometry(geometry: str) -> None:
    x = example(geometry, 37)
    assert_close(run(x, geometry, "before"), loop(x, geometry, "before"), x)


@pytest.mark.parametrize(("h", "d_v"), [(1, 1), (33, 1), (17, 3), (2, 16), (65, 1), (70, 2)])
def test_agrees_with_the_loop_for_any_number_of_channels(h: int, d_v: int) -> None:
    x = example("tied-three-values", 9, h=h, d_v=d_v)
    assert_close(run(x, "tied-three-values"), loop(x, "tied-three-values"), x)


@pytest.mark.parametrize(("geometry", "h"), [("keys", 70), ("fixed-pairs", 33)])
def test_tiles_as_large_as_a_gpus_agree_with_the_loop(
    geometry: str, h: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter gets small ones, because it is slow."""
    monkeypatch.setattr(vector_plan, "interpreted", lambda: False)
    x = example(geometry, 130, h=h, d_v=1 if geometry == "keys" else 2)
    assert vector_plan.tile(h, x["v"].shape[3])[0] == vector_plan.TOKENS
    assert_close(run(x, geometry, "before"), loop(x, geometry, "before"), x)


@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("read", ["after", "before"])
def test_segments_agree_with_the_loop_in_every_reading(
    read: Read, reverse: bool, state: bool, tokens: int
) -> None:
    geometry = "tied-three-values" if state else "keys"
    x = {n: y for n, y in example(geometry, tokens).items() if state or n != "state"}
    assert segments(x, geometry) >= 3
    assert_close(run(x, geometry, read, reverse), loop(x, geometry, read, reverse), x)


@pytest.mark.parametrize("geometry", ["tied-fixed", "fixed-pairs", "static"])
def test_segments_agree_with_the_loop_in_other_geometries(geometry: str, tokens: int) -> None:
    x = example(geometry, tokens)
    assert segments(x, geometry) >= 3
    assert_close(run(x, geometry), loop(x, geometry), x)


@pytest.mark.parametrize("shared", [(), ("q", "state"), ("step",), ("rate",)], ids=str)
def test_vmap_of_gradients_equals_one_by_one(shared: tuple[str, ...]) -> None:
    many = [
        {n: y[:, :11] if y.dim() == 4 and n != "state" else y for n, y in x.items()}
        for x in (example("keys", t) for t in (11, 12))
    ]
    stacked = {
        n: y if n in shared else torch.stack([x[n] for x in many], 1) for n, y in many[0].items()
    }

    def loss(x: Tensors) -> Tensor:
        order = {"read": "after", "reverse": False, "state": x["state"]}
        o, end = triton_vector.scan(*inputs(x, "keys"), **order)
        return o.sin().sum() + end.cos().sum()

    dims = ({n: None if n in shared else 1 for n in stacked},)
    got = torch.func.vmap(torch.func.grad(loss), in_dims=dims)(stacked)
    for i, x in enumerate(many):
        one = torch.func.grad(loss)({**x, **{n: many[0][n] for n in shared}})
        for name in one:
            torch.testing.assert_close(got[name][i], one[name], rtol=0.0, atol=0.0)


def test_vmap_of_the_backward_pass_alone_gives_jacobians() -> None:
    x = example("tied-three-values", 7)

    def outputs(step: Tensor, backend: str) -> Tensor:
        y = inputs(
            {n: z if backend == "own" else z.double() for n, z in x.items()}, "tied-three-values"
        )
        decay = replace(y[3], step=step)
        if backend == "loop":
            return operator(*y[:3], decay, backend="loop", trusted=True)[0].sum((0, 2, 3))
        order = {"read": "after", "reverse": False, "state": None}
        return triton_vector.scan(*y[:3], decay, **order)[0].sum((0, 2, 3))

    got = torch.func.jacrev(outputs)(x["step"], "own")
    expected = torch.func.jacrev(outputs)(x["step"].double(), "loop")
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)


def test_inputs_may_have_strides_and_gradients_may_be_expanded() -> None:
    x = example("keys", 9)
    apart = {n: torch.stack([y, y], -1)[..., 0].requires_grad_() for n, y in x.items()}
    plain = {n: y.clone().requires_grad_() for n, y in x.items()}
    gradients = []
    for y in (plain, apart):
        order = {"read": "after", "reverse": False, "state": y["state"]}
        o, end = triton_vector.scan(*inputs(y, "keys"), **order)
        gradients.append(torch.autograd.grad(o.sum() + end.sum(), list(y.values())))
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize("asked", [0, 1], ids=["o", "end"])
def test_either_output_alone_has_gradients(asked: int) -> None:
    x = {n: y.requires_grad_() for n, y in example("keys", 5).items()}
    order = {"read": "after", "reverse": False, "state": x["state"]}
    got = triton_vector.scan(*inputs(x, "keys"), **order)
    expected = operator(*inputs(x, "keys"), state=x["state"], backend="loop")
    options = {"inputs": list(x.values()), "materialize_grads": True}
    for y, z in zip(*(torch.autograd.grad(o[asked].sum(), **options) for o in (got, expected))):
        torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-5)


def test_an_expanded_query_is_one_number_unless_its_gradient_is_wanted() -> None:
    ones = torch.ones(1, 1, 1, 1).expand(2, 5, 3, 1)
    assert triton_vector.narrow(ones).shape == (1, 1, 1, 1)
    assert triton_vector.narrow(ones.detach().requires_grad_()).shape == ones.shape
    assert triton_vector.narrow(torch.ones(2, 5, 3, 1)).shape == ones.shape


def test_the_floor_of_decays_is_that_of_the_form_for_cpus() -> None:
    assert faintest(torch.float32, 1) == FLOOR


@pytest.mark.parametrize(
    ("b", "t", "d", "d_v", "segments"),
    [(8, 2048, 1024, 1, 1), (1, 65_536, 1024, 1, 16), (64, 512, 128, 1, 1), (1, 2048, 64, 2, 8)],
)
def test_time_is_cut_where_a_large_gpu_would_idle(
    b: int, t: int, d: int, d_v: int, segments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_plan, "multiprocessors", lambda x: 132)
    monkeypatch.setattr(vector_plan, "interpreted", lambda: False)
    v, q = torch.empty(1).expand(b, t, d, d_v), torch.empty(1, 1, 1)
    plan = vector_plan.Plan.of(q, None, v, 0, False, back=False)
    assert plan.segments == segments
    assert (plan.form.tokens, plan.form.groups, plan.form.lane) == (8, 8, 2)


def test_refuses_what_it_cannot_run() -> None:
    q, v = torch.ones(1, 2, 3, 1, device=DEVICE), torch.ones(1, 2, 3, 17, device=DEVICE)
    reasons = [triton_vector.refuses(Case(x, x, y, Decay())) for x, y in ((q, q), (q, v), (v, q))]
    if DEVICE == "cpu":
        assert all("needs an NVIDIA GPU" in reason for reason in reasons)
    else:
        assert reasons[0] == ""
        assert "17" in reasons[1]
        assert "triton_matrix" in reasons[1]
        assert "not 17" in reasons[2]


@pytest.mark.gpu
@geometries
def test_bfloat16_is_as_near_as_the_plain_form(geometry: str) -> None:
    x = example(geometry, 300, h=96)
    half = {n: y.bfloat16() if n in ("q", "k", "v") else y for n, y in x.items()}
    reference = loop(half, geometry)

    def plain(x: Tensors) -> tuple[Tensor, Tensor]:
        return operator(*inputs(x, geometry), state=x["state"], backend=vector.NAME)

    got, expected = run(half, geometry), with_gradients(plain, half)
    for name, y in reference.items():
        errors = [(z[name].double() - y).norm().item() for z in (got, expected)]
        assert errors[0] <= 2 * errors[1] + 1e-6 * y.norm().item(), name


@pytest.mark.gpu
@pytest.mark.parametrize("t", [300, 5000])
def test_repeats_are_equal_to_the_last_bit(t: int) -> None:
    x = example("keys", t, h=96)
    first = run(x, "keys")
    for _ in range(50):
        again = run(x, "keys")
        assert all(torch.equal(again[name], y) for name, y in first.items())
