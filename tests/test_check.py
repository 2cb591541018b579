"""A certificate that cannot be refused is worth nothing: each fault must be found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo import directions, maps
from zoo import mixer as mixer_module
from zoo.check import certify
from zoo.maps import Projection
from zoo.mixer import Mixer
from zoo.recurrence import Read
from zoo.spec import Decay, Dims, Normaliser, Spec, Stream

GLA = zoo.load("gla")


class Faulty(nn.Module):
    """f_v with a fault behind a correct projection."""

    formula = "?"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner: Projection = maps.linear("v")(dims)  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, s: Stream) -> Tensor:
        return self.spoil(self.inner(s), s)

    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        raise NotImplementedError


class SeesTheFuture(Faulty):
    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        return v + 0.1 * v.roll(-1, dims=1)


class SeesOtherExamples(Faulty):
    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        return v - 0.1 * v.mean(0, keepdim=True)


class ForgetsItsPast(Faulty):
    """A token shift that does not go through Stream.past, so that decoding starts from zeros."""

    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        return v + 0.1 * nn.functional.pad(v, (0, 0, 0, 0, 1, 0))[:, :-1]


class KeepsTooMuch(Faulty):
    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        s.past(self, s.u, 7)
        return v


class HidesGradients(Faulty):
    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        return v.detach() + 0 * v


class RollsDice(Faulty):
    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        return v + 1e-3 * torch.rand_like(v)


class DividesByAlpha(Faulty):
    """The literal K / A of MetaLA Eq. 16: it overflows as soon as the decay is strong."""

    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        assert s.decay.step is not None
        total = s.decay.step.cumsum(1).mean(-1, keepdim=True)
        return v * total.exp() * torch.exp(-total)


class CountsByItself(Faulty):
    """Looks at positions without Stream.position, so that reversed time sees those of the other."""

    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        count = torch.arange(s.start + 1, s.start + 1 + v.shape[1], device=v.device)
        return v * count[:, None, None]


class SeesPadding(Faulty):
    """Takes the length of a row, as cosFormer, but with its padding."""

    def spoil(self, v: Tensor, s: Stream) -> Tensor:
        return v / v.shape[1]


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (SeesTheFuture, "causal"),
        (SeesOtherExamples, "no leak between examples"),
        (ForgetsItsPast, "state hand-over"),
        (ForgetsItsPast, "recurrent = chunked = parallel"),
        (KeepsTooMuch, "state bytes"),
        (HidesGradients, "gradients"),
        (RollsDice, "deterministic"),
        (DividesByAlpha, "strong and weak decay"),
        (CountsByItself, "both directions"),
        (SeesPadding, "padding"),
    ],
)
def test_a_fault_is_found_by_its_property(fault: type[Faulty], found: str) -> None:
    result = certify(replace(GLA, f_v=fault), "faulty", d_model=32, conv="own", length=512)
    assert not result.ok
    assert {f.name: f.passed for f in result.findings}[found] is False


def nothing_back(mixer: Mixer, s: Stream, q: Tensor, v: Tensor) -> Read:
    return replace(mixer._recur(s, q, v, {}), o=torch.zeros_like(v))


def once_more(mixer: Mixer, s: Stream, q: Tensor, v: Tensor) -> Read:
    """The whole sequence for every token, the own one included: no second direction."""
    read = mixer._recur(s, q, v, {})
    return replace(read, o=read.o.sum(1, keepdim=True).expand_as(read.o))


@pytest.mark.parametrize(
    ("fault", "evidence"),
    [(nothing_back, "one does not read the other"), (once_more, "definition differs by")],
)
def test_a_wrong_second_direction_is_found(
    fault: Callable[..., Read], evidence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mixer, "_recur_back", fault)
    result = certify(GLA, "faulty", d_model=32, conv="own", length=64)
    found = {f.name: f for f in result.findings}["both directions"]
    assert found.passed is False
    assert evidence in found.evidence


@pytest.mark.parametrize("name", ["cleared", "valid"])
def test_padding_that_is_not_cleared_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored = {"cleared": lambda x, *_: x, "valid": lambda n, t: torch.ones(len(n), t) > 0}[name]
    monkeypatch.setattr(directions, name, ignored)
    monkeypatch.setattr(mixer_module, "cleared", directions.cleared)
    result = certify(GLA, "faulty", d_model=32, conv="own", length=64)
    assert {f.name: f.passed for f in result.findings}["padding"] is False


def test_a_decay_of_the_wrong_sign_is_found() -> None:
    class Grows(nn.Module):
        def __init__(self, dims: Dims) -> None:
            super().__init__()
            self.inner = GLA.f_alpha(dims)

        def forward(self, s: Stream) -> Decay:
            return Decay(step=-100 * self.inner(s).step)

    result = certify(replace(GLA, f_alpha=Grows), "faulty", d_model=32, conv="own", length=512)
    assert not result.ok


def test_a_sound_model_passes() -> None:
    spec: Spec = replace(GLA, label="sound")
    assert certify(spec, "sound", d_model=32, conv="own", length=512).ok


@pytest.mark.parametrize(
    "changed",
    [
        replace(GLA, order="gate_norm"),
        replace(zoo.load("linformer"), normaliser=Normaliser("clamp", 1e-2)),
        replace(GLA, read="before"),
    ],
    ids=["gate before norm", "clamped normaliser", "read before the update"],
)
def test_switches_that_no_model_of_the_zoo_uses_yet_are_sound(changed: Spec) -> None:
    result = certify(changed, "changed", d_model=32, conv="own", length=512)
    assert not [f for f in result.findings if f.passed is False]


def test_gate_before_norm_is_the_norm_of_the_gated_output() -> None:
    mixer, x = Mixer(replace(GLA, order="gate_norm"), 32), torch.randn(2, 5, 32)
    s, o = Stream(x), torch.randn(2, 5, 4, 8)
    assert mixer.f_g is not None
    assert mixer.norm is not None
    torch.testing.assert_close(mixer._normalise_and_gate(o, s), mixer.norm(o * mixer.f_g(s)))


FUTURE = (
    *("causal", "recurrent = chunked = parallel", "state hand-over"),
    *("both directions", "padding"),
)


class SeesTheMean(nn.Module):
    formula = "x W_v + mean"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = maps.linear("v")(dims)

    def forward(self, s: Stream) -> Tensor:
        v = self.inner(s)
        return v + v.mean(1, keepdim=True)


def test_what_is_excluded_by_design_is_listed_and_not_held_against_a_model() -> None:
    changed = replace(GLA, f_v=SeesTheMean, by_design=dict.fromkeys(FUTURE, "takes the mean"))
    found = certify(changed, "changed", d_model=32, conv="own", length=64)
    assert found.ok
    evidence = {f.name: (f.passed, f.evidence) for f in found.findings}
    assert all(evidence[name][0] is None for name in FUTURE)
    assert evidence["causal"][1].startswith("not so by design: takes the mean (gradient from the")


def test_a_property_wrongly_excluded_by_design_fails() -> None:
    changed = replace(GLA, by_design={"causal": "we thought"})
    found = certify(changed, "changed", d_model=32, conv="own", length=64)
    assert {f.name: f.passed for f in found.findings}["causal"] is False


def test_an_unknown_property_excluded_by_design_is_refused() -> None:
    changed = replace(GLA, by_design={"casual": "?"})
    with pytest.raises(ValueError, match="by_design names casual; properties are shapes, causal"):
        certify(changed, "changed", d_model=32, conv="own", length=64)
