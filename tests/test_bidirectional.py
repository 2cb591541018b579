"""Bidirectional mixers of every model against their definition, and padding without effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

import zoo
import zoo.scan
from runners.stacked import slow_maps_allowed
from zoo import maps, plain
from zoo.check import Subject
from zoo.check_directions import LooksAtPositions, both_directions
from zoo.directions import flip, valid
from zoo.mixer import Mixer
from zoo.models.eva import Blocks
from zoo.probes import scaled_decay
from zoo.spec import Dims, Normaliser, Spec, Stream

NAMES = [*zoo.names(), *(f"{name}:{v}" for name in zoo.names() for v in zoo.variants(name))]
OWN_MIX = [name for name in NAMES if not isinstance(zoo.load(name).mix, str)]
LENGTHS = (13, 1, 7)
RWKV4, RETNET = zoo.load("rwkv4"), zoo.load("retnet")
# Switches that no model of the zoo has, or not together.
SPECS = {
    **{name: zoo.load(name) for name in NAMES if name not in OWN_MIX},
    "log keys without a bonus": replace(RWKV4, bonus=None, read="after"),
    "log keys and positions": replace(
        RWKV4, f_alpha=lambda dims: LooksAtPositions(RWKV4.f_alpha(dims))
    ),
    "whole complex state, divided": replace(zoo.load("hgrn"), normaliser=Normaliser("add", 3.0)),
    "complex state read before the update": replace(RETNET, read="before"),
    "positions and a divided complex state": replace(RETNET, normaliser=Normaliser("add", 9.0)),
}


def ready(spec: Spec, **options: object) -> tuple[Subject, Mixer]:
    subject = Subject(spec, 32, "own")
    return subject, subject.mixer(bidirectional=True, **options)  # pyright: ignore[reportArgumentType]


def batch(subject: Subject, lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, Tensor, Tensor]:
    """x: b t d with large numbers at pads; lengths: b; which are tokens: b t."""
    n = torch.tensor(lengths)
    tokens = valid(n, max(lengths))
    x = subject.input(len(lengths), max(lengths))
    return torch.where(tokens.unsqueeze(-1), x, 1e3 * torch.randn_like(x)), n, tokens


def named_gradients(mixer: Mixer, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=y.dtype)
    tensors = {"x": x, **dict(mixer.named_parameters())}
    found = torch.autograd.grad((y * weight).sum(), list(tensors.values()), materialize_grads=True)
    return dict(zip(tensors, found, strict=True))


@pytest.mark.parametrize("name", SPECS)
def test_outputs_and_gradients_are_those_of_the_definition(name: str) -> None:
    subject, mixer = ready(SPECS[name])
    x, lengths, tokens = batch(subject)
    x.requires_grad_()
    y = mixer(x, shared=subject.shared(), lengths=lengths)[0][tokens]  # n d
    rows = [x[i : i + 1, :n] for i, n in enumerate(LENGTHS)]
    expected = torch.cat([plain.layer(mixer, row, subject.shared())[0] for row in rows])
    got, wanted = named_gradients(mixer, x, y), named_gradients(mixer, x, expected)
    # float64; LayerNorm of ZeroS's outputs, which are 0 for a row of one token, amplifies rounding.
    scale = expected.norm()
    assert (y - expected).norm() < 1e-11 * scale
    for tensor, gradient in wanted.items():
        assert (got[tensor] - gradient).norm() < 1e-9 * gradient.norm().clamp(min=scale), tensor
    assert not got["x"][~tokens].any()


def blocks_of_tokens(mixer: Mixer, s: Stream, size: int) -> Tensor:
    """Softmax over the tokens of the own block, one token after the other. Returns: 1 t h v."""
    q, k, v, o = s.q[0], s.k[0], s.v[0], []
    for i in range(len(q)):
        own = slice(i - i % size, i - i % size + size)
        weights = (torch.einsum("hk,jhk->jh", q[i], k[own]) * q.shape[-1] ** -0.5).softmax(0)
        o.append(torch.einsum("jh,jhv->hv", weights, v[own]))
    return torch.stack(o).unsqueeze(0)


def bucket(distance: int, window: int, buckets: int) -> int:
    """T5's, both ways: the second half of the buckets is for keys that follow."""
    half, exact, far = buckets // 2, buckets // 4, abs(distance)
    if far >= exact:
        share = math.log(max(far, 1) / exact) / math.log(window / exact)
        far = min(exact + int(share * (half - exact)), half - 1)
    return far + half * (distance < 0)


def slots_of_chunks(mix: Blocks, s: Stream) -> tuple[Tensor, Tensor]:
    """EVA's kbar and beta, m h c each; what is missing of the last chunk counts as zeros."""
    chunk = mix.chunk
    kbars, betas, scale = [], [], s.q.shape[-1] ** -0.5
    for q, k, v in zip(*(y[0].split(chunk) for y in (s.q, s.k, s.v)), strict=True):
        kbars.append(mix.summary_k(k.sum(0) / chunk))
        mu = kbars[-1] + mix.summary_q(q.sum(0) / chunk)  # h c
        weights = (scale * ((mu * k).sum(-1) - k.square().sum(-1) / 2)).softmax(0)  # j h
        betas.append((weights.unsqueeze(-1) * v).sum(0))
    return torch.stack(kbars), torch.stack(betas)


def eva(mixer: Mixer, s: Stream) -> Tensor:
    mix, q, k, v, o = mixer.mix, s.q[0], s.k[0], s.v[0], []
    assert isinstance(mix, Blocks)
    kbar, beta = slots_of_chunks(mix, s)
    for i in range(len(q)):
        own = range(i - i % mix.window, min(i - i % mix.window + mix.window, len(q)))
        bias = mix.bias[[bucket(i - j, mix.window, len(mix.bias)) for j in own]].unsqueeze(-1)
        near = (q[i] * k[own.start : own.stop]).sum(-1) + bias  # j h
        logits = torch.cat([near, (q[i] * kbar).sum(-1)]) * q.shape[-1] ** -0.5
        values = torch.cat([v[own.start : own.stop], beta])
        o.append((logits.softmax(0).unsqueeze(-1) * values).sum(0))
    return torch.stack(o).unsqueeze(0)


@pytest.mark.parametrize("name", OWN_MIX)
def test_what_mixes_by_itself_is_the_published_two_sided_form(name: str) -> None:
    subject, mixer = ready(zoo.load(name))
    x, lengths, tokens = batch(subject, (150, 70, 64, 1))
    x.requires_grad_()
    y = mixer(x, lengths=lengths)[0][tokens]
    rows = []
    for i, n in enumerate(lengths.tolist()):
        s = plain.stream(mixer, x[i : i + 1, :n], {})
        o = eva(mixer, s) if name.startswith("eva") else blocks_of_tokens(mixer, s, 64)
        rows.append(mixer.w_o(o.flatten(2))[0])
    torch.testing.assert_close(y, torch.cat(rows), rtol=1e-11, atol=1e-12)
    got, wanted = named_gradients(mixer, x, y), named_gradients(mixer, x, torch.cat(rows))
    for tensor, gradient in wanted.items():
        torch.testing.assert_close(got[tensor], gradient, rtol=1e-8, atol=1e-10, msg=tensor)
    assert not got["x"][~tokens].any()


class OneSided(nn.Module):
    """A mix that is causal and nothing else."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = Blocks(dims, window=4, chunk=2)

    def forward(
        self, s: Stream, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self.inner(s, state)


def test_a_mix_without_a_two_sided_form_is_added_up_from_both_ends() -> None:
    subject, mixer = ready(replace(zoo.load("eva"), mix=OneSided))
    x, lengths, _ = batch(subject)
    y = mixer(x, lengths=lengths)[0]
    assert mixer.mix is not None
    for i, n in enumerate(LENGTHS):
        row = x[i : i + 1, :n]
        there, back = (mixer.mix(plain.stream(mixer, z, {}), {})[0] for z in (row, row.flip(1)))
        expected = mixer.w_o((there + back.flip(1)).flatten(2))
        torch.testing.assert_close(y[i : i + 1, :n], expected)


@pytest.mark.parametrize("name", NAMES)
def test_what_pads_hold_changes_no_bit_of_a_token(name: str) -> None:
    subject, _ = ready(zoo.load(name))
    x, lengths, tokens = batch(subject)
    for bidirectional in (False, True):
        mixer = subject.mixer(bidirectional=bidirectional)
        y = mixer(x, shared=subject.shared(), lengths=lengths)[0]
        poisoned = x.masked_fill(~tokens.unsqueeze(-1), math.nan)
        again = mixer(poisoned, shared=subject.shared(), lengths=lengths)[0]
        assert torch.equal(y, again)
        assert again.isfinite().all()


@pytest.mark.parametrize("name", zoo.names())
def test_lengths_of_all_tokens_are_no_lengths(name: str) -> None:
    subject, mixer = ready(zoo.load(name))
    x = subject.input(2, 37)
    whole, kept = mixer(x, shared=subject.shared())
    again = mixer(x, shared=subject.shared(), lengths=torch.tensor([37, 37]))[0]
    torch.testing.assert_close(again, whole, rtol=1e-11, atol=1e-12)
    assert kept == {}


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("name", [n for n in zoo.names() if zoo.load(n).mix == "scan"])
def test_strong_and_weak_decays_stay_finite_and_near_the_definition(
    name: str, factor: float
) -> None:
    subject, mixer = ready(zoo.load(name), dtype=torch.float32)
    mixer = scaled_decay(mixer, factor)
    x, lengths, tokens = batch(subject, (70, 3))
    narrow = x.float().requires_grad_()
    y = mixer(narrow, shared=subject.shared(torch.float32), lengths=lengths)[0]
    (gradient,) = torch.autograd.grad(y[tokens].square().sum(), narrow)
    assert gradient.isfinite().all()
    exact = scaled_decay(ready(zoo.load(name))[1], factor)
    expected = exact(x, shared=subject.shared(), lengths=lengths)[0][tokens]
    assert y.isfinite().all()
    # Several hundred roundings of 6e-8; ZeroS's output is 0 up to rounding where a token is alone.
    near = 1e-3 * expected.norm() if name != "zeros" else math.inf
    assert (y[tokens] - expected).norm() < near


@pytest.mark.parametrize("name", zoo.names())
def test_bf16_autocast_is_finite_and_near_float32(name: str) -> None:
    subject, mixer = ready(zoo.load(name), dtype=torch.float32)
    x, lengths, tokens = batch(subject)
    x = x.float().requires_grad_()
    shared = subject.shared(torch.float32)
    expected = mixer(x, shared=shared, lengths=lengths)[0][tokens]
    with torch.autocast("cpu", torch.bfloat16):
        y = mixer(x, shared=shared, lengths=lengths)[0]
    (gradient,) = torch.autograd.grad(y[tokens].float().square().sum(), x)
    assert y.isfinite().all()
    assert gradient.isfinite().all()
    assert not gradient[~tokens].any()
    # bfloat16 rounds by 0.4 %, a dozen times in a row; of a lone token ZeroS shows rounding only.
    assert name == "zeros" or (y[tokens] - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("name", zoo.names())
def test_mixers_mapped_over_their_parameters_are_each_as_alone(name: str) -> None:
    subject, first = ready(zoo.load(name))
    second = ready(zoo.load(name))[1]
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(1.1)
    x, lengths, tokens = batch(subject)
    parameters, buffers = stack_module_state([first, second])
    shared = subject.shared()

    def of_one(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        given = {"shared": dict(shared), "lengths": lengths}
        return functional_call(first, (p, b), (x,), given)[0]

    with slow_maps_allowed():
        together = torch.vmap(of_one, randomness="different")(parameters, buffers)
    for mixer, y in zip((first, second), together, strict=True):
        alone = mixer(x, shared=subject.shared(), lengths=lengths)[0]
        torch.testing.assert_close(y[tokens], alone[tokens], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_no_shape_depends_on_data_and_nothing_leaves_the_device(name: str) -> None:
    subject, mixer = ready(zoo.load(name), dtype=torch.float32)
    x, lengths, _ = batch(subject)
    shared = {n: y.to("meta") for n, y in subject.shared(torch.float32).items()}
    y = mixer.to("meta")(x.float().to("meta"), shared=shared, lengths=lengths.to("meta"))[0]
    assert y.shape == x.shape


@pytest.mark.parametrize(
    ("name", "backend"),
    [("hgrn:real", "triton_vector"), ("gla", "triton_matrix")],
)
def test_gpu_kernels_run_both_directions(
    name: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    if not torch.cuda.is_available():
        monkeypatch.setattr(getattr(zoo.scan, backend), "refuses", lambda case: "")
    subject, loop = ready(zoo.load(name), backend="loop", dtype=torch.float32)
    mixer = ready(zoo.load(name), backend=backend, dtype=torch.float32)[1]
    x, lengths, tokens = batch(subject, (9, 4))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shared = {n: y.to(device) for n, y in subject.shared(torch.float32).items()}
    x, lengths = x.float().to(device), lengths.to(device)
    got, expected = (
        m.to(device)(x, shared=shared, lengths=lengths)[0].cpu()[tokens] for m in (mixer, loop)
    )
    assert mixer.backend_ran == backend
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_rotary_attention_in_both_directions_ignores_padding() -> None:
    spec = zoo.load("attention")
    mixer = Mixer(spec, 64, positions="rope", bidirectional=True).double()
    x, lengths = torch.randn(2, 9, 64).double(), torch.tensor([9, 4])
    y = mixer(x, lengths=lengths)[0]
    torch.testing.assert_close(y[1:, :4], mixer(x[1:, :4])[0])
    plainly = Mixer(spec, 64, bidirectional=True).double()
    plainly.load_state_dict(mixer.state_dict())
    assert not torch.allclose(plainly(x)[0], mixer(x)[0])


def test_a_row_of_padding_alone_is_finite() -> None:
    for name in ("attention", "cosformer", "eva", "gla", "zeros"):
        subject, mixer = ready(zoo.load(name))
        x = subject.input(2, 5).requires_grad_()
        y = mixer(x, lengths=torch.tensor([5, 0]))[0]
        (gradient,) = torch.autograd.grad(y[:1].sum(), x)
        assert y.isfinite().all(), name
        assert not gradient[1].any(), name


def test_flip_reverses_the_tokens_and_leaves_padding_in_place() -> None:
    x = torch.arange(10).reshape(2, 5, 1)
    assert flip(x, torch.tensor([3, 5])).flatten(1).tolist() == [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]]
    assert torch.equal(flip(x, None), x.flip(1))
    assert valid(torch.tensor([3, 5, 0]), 5).sum(1).tolist() == [3, 5, 0]


def test_a_state_a_start_and_wrong_lengths_are_refused() -> None:
    mixer, x = Mixer(zoo.load("gla"), 32, bidirectional=True), torch.randn(2, 3, 32)
    state = Mixer(zoo.load("gla"), 32)(x)[1]
    with pytest.raises(ValueError, match=r"GLA: state has .*S, but a bidirectional mixer reads a"):
        mixer(x, state)
    with pytest.raises(ValueError, match="GLA: start is 4, but"):
        mixer(x, start=4)
    for lengths in (torch.tensor([3]), torch.tensor([3.0, 2.0])):
        with pytest.raises(ValueError, match=r"must be torch.int64 of shape \(2,\)"):
            mixer(x, lengths=lengths)


class LeavesItsValue(nn.Module):
    """An f_v that leaves its value for later layers, and in those adds what it finds."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner, self.first = maps.linear("v")(dims), dims.layer == 0

    def forward(self, s: Stream) -> Tensor:
        v = self.inner(s) * (1 + s.position[:, None, None])
        if self.first:
            s.shared["v"] = v
        return v if self.first else v + s.shared["v"]


def test_what_a_reversed_stream_leaves_for_later_layers_is_its_own() -> None:
    spec = replace(zoo.load("linformer"), f_v=LeavesItsValue)
    layers = [Mixer(spec, 32, layer=i, depth=2, bidirectional=True).double() for i in (0, 1)]
    x, shared, lengths = torch.randn(2, 6, 32).double(), dict[str, Tensor](), torch.tensor([6, 4])
    y = [mixer(x, shared=shared, lengths=lengths)[0] for mixer in layers][1]
    v = layers[0].f_v.get_submodule("inner")(Stream(x))
    count = torch.arange(1, 7)[:, None, None]
    torch.testing.assert_close(shared["v"][0], (v * count)[0])
    torch.testing.assert_close(shared["reversed.v"][0], v[0].flip(0) * count)
    alone = dict[str, Tensor]()
    again = [mixer(x[1:, :4], shared=alone)[0] for mixer in layers][1]
    torch.testing.assert_close(y[1:, :4], again)


class FarBelowPadding(nn.Module):
    """Log keys of -300 for tokens, whose exponential float64 holds and the running maximum's floor
    does not, and of 0 for padding."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.heads = dims.heads

    def forward(self, s: Stream) -> Tensor:
        tokens = s.x[..., :1] != 0
        return torch.where(tokens, -300.0, 0.0).double().unsqueeze(-1).expand(-1, -1, self.heads, 1)


def test_the_running_maximum_in_reversed_time_does_not_see_padding() -> None:
    subject, mixer = ready(replace(RWKV4, f_k=FarBelowPadding))
    x, lengths, _ = batch(subject, (9, 4))
    y = mixer(x, lengths=lengths)[0]
    torch.testing.assert_close(y[1:, :4], mixer(x[1:, :4])[0], rtol=1e-10, atol=0)


def test_dropout_of_attention_acts_in_both_directions() -> None:
    mixer = Mixer(zoo.load("attention"), 64, bidirectional=True, attention_dropout=0.5)
    x = torch.randn(1, 9, 64)
    assert not torch.equal(mixer(x)[0], mixer(x)[0])
    assert torch.equal(mixer.eval()(x)[0], mixer(x)[0])


def test_a_convolution_in_front_of_the_maps_is_no_reason_against_reversed_time() -> None:
    for conv, named in (("k2", True), ("own", False)):
        passed, evidence = both_directions(Subject(zoo.load("delta_net"), 32, conv))
        assert passed
        assert ("maps on reversed time" in evidence) == named


def test_maps_run_again_only_where_they_look_at_positions() -> None:
    calls = {}
    for name in ("gla", "griffin", "inline", "retnet", "rwkv7", "zeros"):
        _, mixer = ready(zoo.load(name))
        runs = []
        mixer.f_v.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        mixer(torch.randn(1, 4, 32).double())
        calls[name] = len(runs)
    assert calls == {"gla": 1, "griffin": 2, "inline": 2, "retnet": 2, "rwkv7": 1, "zeros": 2}


def test_the_first_value_of_rwkv7_is_not_disturbed() -> None:
    spec, x, left = zoo.load("rwkv7"), torch.randn(1, 5, 32), []
    for looks in (False, True):
        torch.manual_seed(1)
        mixer, shared = Mixer(spec, 32, bidirectional=True), dict[str, Tensor]()
        mixer.f_alpha = LooksAtPositions(mixer.f_alpha) if looks else mixer.f_alpha
        mixer(x, shared=shared)
        left.append(shared["v_first"])
    assert torch.equal(*left)


def test_the_keys_of_performer_take_their_largest_exponent_from_tokens_alone() -> None:
    subject = Subject(zoo.load("performer"), 2, "own")  # one feature
    x, n = subject.input(1, 4), torch.tensor([2])
    for bidirectional in (False, True):
        mixer = subject.mixer(bidirectional=bidirectional)
        f_k = mixer.f_k.get_submodule("inner").get_parameter("weight")
        rows = mixer.f_k.get_buffer("rows")  # 1 2
        with torch.no_grad():
            x[0, :2] = -torch.linalg.solve(f_k, rows[0]) * torch.tensor([[1.0], [2.0]])
        y = mixer(x, lengths=n)[0][:, :2]
        torch.testing.assert_close(y, mixer(x[:, :2])[0], rtol=1e-12, atol=0)
