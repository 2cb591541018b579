"""The rank-one erase: the chunked backend and the adapter against the float64 loop."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.scan_cases import DECAYS, Tensors, assert_near, drawn, received, with_gradients
from zoo.scan import Read, choose, explain, fla_delta, pairs, peers, scan
from zoo.scan.case import Case
from zoo.scan.chunks import least, lower
from zoo.spec import Decay, Erase

# Shape of step and of rate ("" = none), heads, one head of q, k, write and read for all, d_k, d_v.
GEOMETRIES = {
    "keep": ("", "", 2, False, 4, 3),
    "keep-shared": ("", "", 3, True, 5, 2),
    "head": ("head", "", 2, False, 4, 3),
    "head-fixed": ("", "head", 3, True, 4, 3),
    "head-rate": ("head", "head", 2, False, 1, 2),
    "channel": ("channel", "", 2, False, 4, 3),
    "channel-fixed": ("", "channel", 2, True, 4, 3),
    "channel-rate": ("channel", "head", 2, False, 3, 5),
    "ssm": ("head", "channel", 2, False, 4, 1),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)
decays = pytest.mark.parametrize("decay", DECAYS)
both_dtypes = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64], ids=["float32", "float64"]
)


def example(geometry: str, decay: str, t: int, dtype: torch.dtype, state: bool = True) -> Tensors:
    """As in test_scan; read has length 1, write lies along it and has up to twice that."""
    step, rate, h, shared, d_k, d_v = GEOMETRIES[geometry]
    torch.manual_seed(t)
    heads = 1 if shared else h
    x = {name: torch.randn(2, t, heads, d_k) for name in ("q", "k", "read")}
    x["v"], x["state"] = torch.randn(2, t, h, d_v), torch.randn(2, h, d_k, d_v)
    x["read"] = F.normalize(x["read"], dim=-1)
    x["write"] = 2 * torch.rand(2, t, heads, 1) * x["read"]
    x |= drawn(step, rate, decay, t, h, d_k)
    return {name: y.to(dtype) for name, y in x.items() if state or name != "state"}


def apply(x: Tensors, backend: str, read: Read = "after", reverse: bool = False) -> list[Tensor]:
    decay, erase = Decay(x.get("step"), x.get("rate")), Erase(x["write"], x["read"])
    options = {"read": read, "reverse": reverse, "state": x.get("state"), "backend": backend}
    return list(scan(x["q"], x["k"], x["v"], decay, erase=erase, **options, trusted=True))


def run(x: Tensors, backend: str, read: Read = "after", reverse: bool = False) -> Tensors:
    return with_gradients(lambda x: apply(x, backend, read, reverse), x)


def assert_close(got: Tensors, reference: Tensors, x: Tensors) -> None:
    """As in test_scan, but a token rounds what stays (1) and what goes (|write| |read| <= 2), three
    times as much as there."""
    dtype = got["end"].dtype
    rounding = 3 * 200 * torch.finfo(dtype).eps / 2  # 3.6e-5 in float32, 6.7e-14 in float64
    dropped = math.exp(least(dtype))
    assert_near(got, reference, rounding=rounding, dropped=dropped, received=received(x))


@both_dtypes
@decays
@pytest.mark.parametrize("t", [1, 7, 63, 200])
@geometries
def test_agrees_with_the_loop_at_any_decay(
    geometry: str, t: int, decay: str, dtype: torch.dtype
) -> None:
    x = example(geometry, decay, t, dtype)
    assert_close(run(x, "delta"), run({name: y.double() for name, y in x.items()}, "loop"), x)


@pytest.mark.parametrize("t", [2, 4, 5, 16, 17, 32, 33, 65, 130])
@geometries
def test_agrees_with_the_loop_at_any_length(geometry: str, t: int) -> None:
    x = example(geometry, "logsigmoid", t, torch.float64, state=t % 2 == 0)
    assert_close(run(x, "delta"), run(x, "loop"), x)


@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("read", ["after", "before"])
@geometries
def test_agrees_with_the_loop_in_every_reading(
    geometry: str, read: Read, reverse: bool, state: bool
) -> None:
    x = example(geometry, "logsigmoid", 41, torch.float64, state)
    assert_close(run(x, "delta", read, reverse), run(x, "loop", read, reverse), x)


@pytest.mark.parametrize("decay", ["-1e-3", "logsigmoid", "U(-20,0)"])
@geometries
def test_the_written_out_map_agrees_with_the_loop(geometry: str, decay: str) -> None:
    x = example(geometry, decay, 37, torch.float64)
    got, reference = apply(x, "parallel"), apply(x, "loop")
    for y, expected in zip(got, reference, strict=True):
        # It subtracts running sums of up to 37 x 20, which doubles round to 1e-13.
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("cut", [1, 31, 63])
@geometries
def test_state_handed_over_equals_one_run(geometry: str, cut: int) -> None:
    x = example(geometry, "logsigmoid", 64, torch.float64)
    whole, state, outputs = run(x, "delta"), x["state"], []
    for part in (slice(0, cut), slice(cut, 64)):
        piece = {n: y if n in ("rate", "state") else y[:, part] for n, y in x.items()}
        o, state = apply({**piece, "state": state}, "delta")
        outputs.append(o)
    got = {"o": torch.cat(outputs, dim=1), "end": state}
    assert_close(got, {n: whole[n] for n in ("o", "end")}, x)


@pytest.mark.parametrize("decay", ["-1e-3", "logsigmoid", "U(-20,0)"])
@geometries
def test_gradients_equal_finite_differences(geometry: str, decay: str) -> None:
    x = example(geometry, decay, 6, torch.float64)
    inputs = [y.requires_grad_() for y in x.values()]

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(apply(dict(zip(x, tensors, strict=True)), "delta"))

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("shared", [(), ("q", "state", "read"), ("step", "rate")], ids=str)
@geometries
def test_vmap_of_gradients_equals_one_by_one(geometry: str, shared: tuple[str, ...]) -> None:
    many = [example(geometry, "logsigmoid", t, torch.float64) for t in (21, 22, 23)]
    many = [{n: y if n in ("rate", "state") else y[:, :21] for n, y in x.items()} for x in many]
    stacked = {
        n: many[0][n] if n in shared else torch.stack([x[n] for x in many], dim=1) for n in many[0]
    }

    def loss(x: Tensors) -> Tensor:
        o, end = apply(x, "delta")
        return o.sin().sum() + end.cos().sum()

    dims = ({n: None if n in shared else 1 for n in stacked},)
    got = torch.func.vmap(torch.func.grad(loss), in_dims=dims)(stacked)
    for i, x in enumerate(many):
        one = torch.func.grad(loss)({**x, **{n: many[0][n] for n in shared if n in x}})
        for name in one:
            torch.testing.assert_close(got[name][i], one[name], rtol=1e-12, atol=1e-12)


@geometries
def test_vmap_of_the_backward_pass_alone_gives_jacobians(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 11, torch.float64)

    def jacobian(backend: str) -> Tensor:
        return torch.func.jacrev(lambda v: apply({**x, "v": v}, backend)[0].sum((0, 2, 3)))(x["v"])

    torch.testing.assert_close(jacobian("delta"), jacobian("loop"), rtol=1e-12, atol=1e-12)


@geometries
def test_inference_mode_leaves_nothing_behind_that_training_stumbles_over(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 23, torch.float32)
    lower.cache_clear()
    with torch.inference_mode():
        o, end = apply(x, "delta")
    trained = run(x, "delta")
    assert torch.equal(o, trained["o"])
    assert torch.equal(end, trained["end"])


@decays
def test_no_factor_is_infinite_and_no_weight_is_subnormal(decay: str) -> None:
    log = -DECAYS[decay](torch.rand(3, 2, 1, 16, 5))  # n b h c k
    two = (torch.ones(3, 2, 1, 16, 5), torch.ones(3, 2, 1, 16, 5))
    for w in (pairs.ByHead(log[..., :1], two, two), pairs.ByChannel(log, two, two)):
        weights = [y for row in w.pairs() for y in row]
        for y in (*weights, w.far(two[0]), w.late(two[0]), w.whole):
            assert y.isfinite().all()
            assert y[y > 0].min() >= torch.finfo(torch.float32).tiny


def test_reflections_keep_the_state_finite_and_as_large_for_ever() -> None:
    """write = 2 read turns one direction of the state round, every token another one."""
    x = example("keep", "-30", 4000, torch.float32)
    x = {**x, "write": 2 * x["read"], "k": torch.zeros_like(x["k"])}
    _, end = apply(x, "delta")
    torch.testing.assert_close(end.norm(dim=2), x["state"].norm(dim=2), rtol=1e-3, atol=0)


@geometries
def test_later_tokens_reach_no_earlier_output(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 70, torch.float64)
    inputs = [x[n].requires_grad_() for n in ("q", "k", "v", "write", "read", "step") if n in x]
    for gradient in torch.autograd.grad(apply(x, "delta")[0][:, :33].sum(), inputs):
        assert not gradient[:, 33:].any()


@geometries
def test_bfloat16_computes_in_float32(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 50, torch.bfloat16)
    got = run(x, "delta")
    reference = run({name: y.double() for name, y in x.items()}, "delta")
    assert (got["o"].dtype, got["end"].dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(got["end"].double(), reference["end"], rtol=1e-5, atol=1e-5)
    for name in reference:  # only the result is rounded, to 8 bits
        error = (got[name].double() - reference[name]).norm() / reference[name].norm()
        assert error < 2**-8, name


@geometries
def test_autocast_changes_nothing(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 50, torch.float32)
    q = x["q"].requires_grad_()
    o, end = apply(x, "delta")
    with torch.autocast("cpu", torch.bfloat16):
        o_cast, end_cast = apply(x, "delta")
    (dq,), (dq_cast,) = (torch.autograd.grad(y.sum(), q) for y in (o, o_cast))
    assert all(map(torch.equal, (o, end, dq), (o_cast, end_cast, dq_cast)))


def test_second_derivatives_are_refused_with_a_hint() -> None:
    x = example("channel", "logsigmoid", 9, torch.float64)
    q = x["q"].requires_grad_()
    (gradient,) = torch.autograd.grad(apply(x, "delta")[0].square().sum(), q, create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='loop'"):
        torch.autograd.grad(gradient.sum(), q)


def test_auto_takes_it_for_an_erase_and_for_nothing_else() -> None:
    x = example("channel", "logsigmoid", 8, torch.float32)
    q, k, v, decay, erase = x["q"], x["k"], x["v"], Decay(x["step"]), Erase(x["write"], x["read"])
    assert choose(q, k, v, decay, erase=erase) == "delta"
    assert choose(q, k, v, decay) == "matrix"
    assert explain(Case(q, k, v, decay))["delta"] == "is for a rank-one erase, and there is none"
    assert "rank-one erase" in explain(Case(q, k, v, decay, erase))["matrix"]


@pytest.mark.parametrize("part", ["write", "read"])
def test_an_erase_of_the_wrong_shape_is_named_with_both_numbers(part: str) -> None:
    x = example("channel", "logsigmoid", 8, torch.float32)
    with pytest.raises(ValueError, match=rf"erase.{part} has shape \(2, 7, 2, 4\).*\(2, 8, 2 or 1"):
        apply({**x, part: x[part][:, 1:]}, "delta")


def test_flash_linear_attention_says_why_it_cannot_run_here() -> None:
    x = example("channel", "logsigmoid", 8, torch.float32)
    with pytest.raises(ValueError, match="fla_delta: needs an NVIDIA GPU, and v is on cpu"):
        apply(x, "fla_delta")


def dplr(q, k, v, a, b, gk, scale, initial_state, output_final_state):
    """What fla's kernel computes, token by token, as its own reference has it (dplr/naive.py):
    S_t = exp(gk_t) S_{t-1} + b_t^T (a_t S_{t-1}) + k_t^T v_t, o_t = scale q_t S_t."""
    assert output_final_state
    S, o = torch.zeros_like(k[:, 0, :, :, None] * v[:, 0, :, None]), []
    S = S if initial_state is None else initial_state
    for t in range(q.shape[1]):
        gone = torch.einsum("bhk,bhkv->bhv", a[:, t], S)
        S = gk[:, t].exp().unsqueeze(-1) * S + b[:, t].unsqueeze(-1) * gone.unsqueeze(-2)
        S = S + k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        o.append(scale * torch.einsum("bhk,bhkv->bhv", q[:, t], S))
    return torch.stack(o, dim=1), S


@pytest.mark.parametrize("state", [True, False], ids=["state", "no-state"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reverse"])
@pytest.mark.parametrize("read", ["after", "before"])
@geometries
def test_what_flash_linear_attention_is_handed_stands_for_the_same(
    geometry: str, read: Read, reverse: bool, state: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter alone, on a CPU: its kernel is replaced by what the kernel computes."""
    monkeypatch.setattr(peers, "function", lambda module, name: dplr)
    monkeypatch.setattr(fla_delta, "refuses", lambda case: "")
    x = example(geometry, "logsigmoid", 11, torch.float64, state)
    assert_close(run(x, "fla_delta", read, reverse), run(x, "loop", read, reverse), x)


@pytest.mark.gpu
@pytest.mark.parametrize("decay", ["-1e-3", "logsigmoid", "spikes-of-200"])
@pytest.mark.parametrize("geometry", ["keep", "head", "channel"])
def test_flash_linear_attention_agrees_with_the_loop(geometry: str, decay: str) -> None:
    """Needs an NVIDIA GPU and flash-linear-attention."""
    pytest.importorskip("fla")
    x = {name: y.cuda() for name, y in example(geometry, decay, 200, torch.float32).items()}
    got, reference = run(x, "fla_delta"), run({name: y.double() for name, y in x.items()}, "loop")
    for name, y in reference.items():
        # TF32 keeps 10 bits: each of 200 tokens rounds three numbers by 2^-11, in any direction.
        assert (got[name].double() - y).norm() / y.norm() <= math.sqrt(3 * 200) * 2**-11, name
