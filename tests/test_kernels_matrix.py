"""The matrix state's own kernels against the float64 loop; with no GPU in Triton's interpreter."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.scan_cases import DECAYS, Tensors, assert_near, drawn, received, with_gradients
from zoo.scan import Read, matrix, scalar, triton_matrix
from zoo.scan import scan as operator
from zoo.scan.case import Case
from zoo.scan.chunks import least
from zoo.spec import Decay

pytest.importorskip("triton")

from zoo.kernels import matrix_states
from zoo.kernels.matrix_plan import segments_of

# Products of factors for pairs of tokens that no mask selects may overflow; numpy says so.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in matmul:RuntimeWarning")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# shape of step and of rate ("" = none), heads of q and of k (0 = tied), heads, d_k, d_v
GEOMETRIES = {
    "keep": ("", "", 2, 2, 2, 17, 3),
    "keep-shared": ("", "", 1, 2, 2, 3, 33),
    "head": ("head", "", 1, 1, 3, 5, 1),
    "head-fixed": ("", "head", 2, 2, 2, 33, 3),
    "head-tied": ("head", "head", 2, 0, 2, 4, 3),
    "channel": ("channel", "", 1, 1, 2, 3, 17),
    "channel-fixed": ("", "channel", 1, 1, 1, 17, 3),
    "channel-tied": ("channel", "", 1, 0, 1, 33, 3),
    "step-rate": ("head", "channel", 1, 1, 1, 5, 3),
    "one-channel": ("head", "", 2, 2, 2, 1, 17),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)
one_of_each = pytest.mark.parametrize("geometry", ["keep-shared", "head", "channel-tied"])


def example(geometry: str, t: int, decay: str = "logsigmoid", state: bool = True) -> Tensors:
    step, rate, q_heads, k_heads, h, d_k, d_v = GEOMETRIES[geometry]
    torch.manual_seed(t)
    x = {"q": torch.randn(2, t, q_heads, d_k), "k": torch.randn(2, t, k_heads, d_k)}
    x |= {"v": torch.randn(2, t, h, d_v), "state": torch.randn(2, h, d_k, d_v)}
    x |= drawn(step, rate, decay, t, h, d_k)
    unwanted = ("" if k_heads else "k", "" if state else "state")
    return {name: y.to(DEVICE) for name, y in x.items() if name not in unwanted}


def applied(x: Tensors, read: str, reverse: bool, backend: str = "") -> tuple[Tensor, Tensor]:
    decay = Decay(x.get("step"), x.get("rate"))
    arguments = (x["q"], x.get("k"), x["v"], decay)
    order = {"read": read, "reverse": reverse, "state": x.get("state")}
    if backend:
        return operator(*arguments, **order, backend=backend)  # pyright: ignore[reportArgumentType]
    return triton_matrix.scan(*arguments, **order)


def run(x: Tensors, read: Read = "after", reverse: bool = False) -> Tensors:
    return with_gradients(lambda x: applied(x, read, reverse), x)


def loop(x: Tensors, read: Read = "after", reverse: bool = False) -> Tensors:
    exact = {name: y.double() for name, y in x.items()}
    return with_gradients(lambda x: applied(x, read, reverse, "loop"), exact)


def assert_close(got: Tensors, reference: Tensors, x: Tensors) -> None:
    """At most 130 tokens, each rounding a factor by eps / 2 all the same way, and within 8 tokens
    exponents of 60 on either side of 0, rounded likewise; and exp(least), which replaces faster
    decays."""
    rounding = (130 + 2 * 60) * torch.finfo(torch.float32).eps / 2  # 1.5e-5
    dropped = math.exp(least(torch.float32))
    assert_near(got, reference, rounding=rounding, dropped=dropped, received=received(x))


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("read", ["after", "before"])
@pytest.mark.parametrize("geometry", ["head", "channel", "channel-tied"])
def test_agrees_with_the_loop_at_any_decay(geometry: str, read: Read, decay: str) -> None:
    x = example(geometry, 33 if geometry == "channel-tied" or read == "before" else 65, decay)
    assert_close(run(x, read), loop(x, read), x)


@pytest.mark.parametrize("t", [1, 2, 17, 64, 65, 130])
@one_of_each
def test_agrees_with_the_loop_at_any_length(geometry: str, t: int) -> None:
    x = example(geometry, t)
    assert_close(run(x), loop(x), x)


@geometries
def test_agrees_with_the_loop_in_every_geometry(geometry: str) -> None:
    x = example(geometry, 37)
    assert_close(run(x), loop(x), x)


@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("read", ["after", "before"])
@one_of_each
def test_agrees_with_the_loop_in_every_reading(
    geometry: str, read: Read, reverse: bool, state: bool
) -> None:
    x = example(geometry, 19, state=state)
    assert_close(run(x, read, reverse), loop(x, read, reverse), x)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@one_of_each
def test_segments_of_time_change_nothing(
    geometry: str, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, cuts = example(geometry, 130), []

    def cut(*arguments) -> tuple[int, int]:
        cuts.append(arguments[2])
        return 2, 2  # of 3 chunks

    monkeypatch.setattr(matrix_states, "segments_of", cut)
    assert_close(run(x, reverse=reverse), loop(x, reverse=reverse), x)
    assert cuts == [3, 3]


def test_few_programs_are_cut_into_segments_that_fill_the_chip() -> None:
    x = torch.empty(0)  # 4 multiprocessors
    assert segments_of(x, 4, 100) == (4, 25)
    assert segments_of(x, 1, 100) == (15, 7)  # the last has 2
    assert segments_of(x, 5, 100) == (1, 100)
    assert segments_of(x, 1, 3) == (3, 1)


@one_of_each
def test_a_broadcast_batch_gets_the_sum_of_its_gradients(geometry: str) -> None:
    x = example(geometry, 18)
    for name in ("q", "step", "state"):
        x |= {name: x[name][:1]} if name in x else {}
    full = {n: y.expand(2, *y.shape[1:]) if n != "rate" else y for n, y in x.items()}
    expected = loop(full)
    for name in ("q", "step", "state"):
        if name in x:
            expected[f"d{name}"] = expected[f"d{name}"].sum(0, keepdim=True)
    assert_close(run(x), expected, x)


@pytest.mark.parametrize("shared", [(), ("q", "state"), ("step", "rate")], ids=str)
@pytest.mark.parametrize("geometry", ["keep-shared", "head-fixed", "channel-tied"])
def test_vmap_of_gradients_equals_one_by_one(geometry: str, shared: tuple[str, ...]) -> None:
    many = [example(geometry, t) for t in (9, 10)]
    many = [{n: y if n in ("rate", "state") else y[:, :9] for n, y in x.items()} for x in many]
    stacked = {
        n: many[0][n] if n in shared else torch.stack([x[n] for x in many], dim=1) for n in many[0]
    }

    def loss(x: Tensors) -> Tensor:
        o, end = applied(x, "after", False)
        return o.sin().sum() + end.cos().sum()

    dims = ({n: None if n in shared else 1 for n in stacked},)
    got = torch.func.vmap(torch.func.grad(loss), in_dims=dims)(stacked)
    for i, x in enumerate(many):
        one = torch.func.grad(loss)({**x, **{n: many[0][n] for n in shared if n in x}})
        for name in one:
            torch.testing.assert_close(got[name][i], one[name], rtol=1e-5, atol=1e-6)


@one_of_each
def test_vmap_of_the_backward_pass_alone_gives_jacobians(geometry: str) -> None:
    x = {n: y if n == "rate" else y[:1] for n, y in example(geometry, 5).items()}

    def outputs(v: Tensor, backend: str) -> Tensor:
        return applied({**x, "v": v}, "after", False, backend)[0].sum((0, 2, 3))

    got = torch.func.jacrev(outputs)(x["v"], "")
    expected = torch.func.jacrev(outputs)(x["v"], "loop")
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_later_tokens_reach_no_earlier_output() -> None:
    x = example("channel", 37)
    inputs = [x[name].requires_grad_() for name in ("q", "k", "v", "step")]
    o, _ = applied(x, "after", False)
    for gradient in torch.autograd.grad(o[:, :21].sum(), inputs):
        assert not gradient[:, 21:].any()


def test_what_another_kernel_serves_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_matrix, "reason", lambda case: "")
    q, v = torch.zeros(2, 5, 3, 4), torch.zeros(2, 5, 3, 1)
    ssm = Decay(torch.ones(2, 5, 3, 1), torch.ones(3, 4))
    assert "step x rate" in triton_matrix.refuses(Case(q, q, v, ssm))
    assert not triton_matrix.refuses(Case(q, q, q, ssm))
    assert "triton_vector" in triton_matrix.refuses(Case(v, v, v, Decay()))
    assert not triton_matrix.refuses(Case(v, v, torch.zeros(2, 5, 3, 17), Decay()))


@pytest.mark.gpu
@pytest.mark.parametrize("read", ["after", "before"])
@geometries
def test_bfloat16_errs_at_most_twice_as_much_as_torch(geometry: str, read: Read) -> None:
    x = {n: y.bfloat16() if n in "qkv" else y for n, y in example(geometry, 130).items()}
    plain = scalar if Decay(x.get("step"), x.get("rate")).kind in ("keep", "head") else matrix
    reference, got = loop(x, read), run(x, read)
    torch_s = with_gradients(lambda x: applied(x, read, False, plain.NAME), x)
    for name, y in reference.items():
        errors = [(z[name].double() - y).norm() / y.norm() for z in (got, torch_s)]
        # What torch leaves in float32 is here as good as its factors, rounded to 8 bits; a decay's
        # gradient has sums over up to 8 tokens of which only a difference remains.
        floor = 0.0 if got[name].dtype == torch.bfloat16 else 8**0.5 * 2**-8
        assert errors[0] <= max(2 * errors[1], floor), f"{name}: {errors}"


@pytest.mark.gpu
@geometries
def test_fifty_runs_are_equal_to_the_bit(geometry: str) -> None:
    x = {n: y.bfloat16() if n in "qkv" else y for n, y in example(geometry, 130).items()}
    first = run(x)
    for _ in range(50):
        again = run(x)
        assert all(torch.equal(y, again[name]) for name, y in first.items())
