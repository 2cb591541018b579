"""Is this model right? What `lazoo check NAME` prints, measured on the running model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import zoo
from zoo.check_directions import both_directions, padding
from zoo.mixer import Mixer
from zoo.model import Model, parameters_by_role, state_bytes
from zoo.probes import (
    EXACT,
    Outcome,
    declared_state_bytes,
    relative,
    run,
    scaled_decay,
    stepwise,
)
from zoo.spec import Spec

LONG = 65_536


@dataclass(frozen=True)
class Finding:
    """One property: passed (None where it does not apply, or is excluded by the model's design) and
    what was seen, in words."""

    name: str
    passed: bool | None
    evidence: str


@dataclass(frozen=True)
class Certificate:
    model: str
    d_model: int
    conv: str
    findings: list[Finding]
    parameters: dict[str, int]
    state_bytes: int

    @property
    def ok(self) -> bool:
        return all(finding.passed is not False for finding in self.findings)


@dataclass(frozen=True)
class Subject:
    """The model under test; builds mixers with the same weights, none of them at 0."""

    spec: Spec
    d_model: int
    conv: str

    def mixer(
        self,
        backend: str = "auto",
        dtype: torch.dtype = torch.float64,
        *,
        bidirectional: bool = False,
    ) -> Mixer:
        options = {"conv": self.conv, "backend": backend, "bidirectional": bidirectional}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            mixer = Mixer(self.spec, self.d_model, layer=1, depth=2, **options)
            perturb(mixer)
        return mixer.to(dtype).eval()

    def shared(self, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        made = {} if self.spec.shared is None else dict(self.spec.shared(2, self.d_model))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            noise = {name: 0.1 * torch.randn_like(y) for name, y in made.items()}
        return {name: (y.detach() + noise[name]).to(dtype) for name, y in made.items()}

    def input(self, b: int, t: int, dtype: torch.dtype = torch.float64) -> Tensor:
        generator = torch.Generator().manual_seed(2)
        return torch.randn(b, t, self.d_model, generator=generator, dtype=torch.float64).to(dtype)


def perturb(module: nn.Module) -> None:
    """Moves every parameter off its initial value, so that a zero init hides nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def certificate(
    name: str, *, d_model: int = 32, conv: str = "own", length: int = LONG
) -> Certificate:
    """Runs every property below on the model `name`; takes seconds.

    length: of the strong and weak decay runs, tokens. Raises: ValueError for an unknown model or a
    width that its state refuses.
    """
    return certify(zoo.load(name), name, d_model=d_model, conv=conv, length=length)


def certify(spec: Spec, name: str, *, d_model: int, conv: str, length: int) -> Certificate:
    """The same for a Spec that is in no file."""
    subject = Subject(spec, d_model, conv)
    unknown = sorted(set(spec.by_design) - set(PROPERTIES))
    if unknown:
        raise ValueError(
            f"{name}: by_design names {', '.join(unknown)}; properties are {', '.join(PROPERTIES)}"
        )
    model = Model(spec, vocabulary=64, d_model=d_model, depth=2, conv=conv)
    findings = []
    for what, check in PROPERTIES.items():
        torch.manual_seed(3)
        try:
            passed, evidence = decays(subject, length) if check is decays else check(subject)
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            passed, evidence = False, f"{type(error).__name__}: {error}"
        reason = spec.by_design.get(what)
        if reason is not None:
            # A model that has the property after all is declared wrongly.
            evidence = f"not so by design: {reason} ({evidence})"
            passed = False if passed else None
        findings.append(Finding(what, passed, evidence))
    roles = {k: n for k, n in parameters_by_role(model).items() if k not in ("embedding", "head")}
    return Certificate(name, d_model, conv, findings, roles, state_bytes(model, 64))


def shapes(subject: Subject) -> Outcome:
    for b, t in ((1, 1), (2, 17), (3, 64)):
        y = run(subject, subject.mixer(), subject.input(b, t))[0]
        if y.shape != (b, t, subject.d_model):
            return False, f"input ({b}, {t}, {subject.d_model}) gave {tuple(y.shape)}"
    return True, "(b, t, d) in and out, t = 1, 17, 64"


def causality(subject: Subject) -> Outcome:
    mixer, x = subject.mixer(), subject.input(2, 37).requires_grad_()
    y = run(subject, mixer, x)[0]
    (gradient,) = torch.autograd.grad(y[:, :20].sum(), x)
    leak = gradient[:, 20:].abs().max().item()
    changed = x.detach().clone()
    changed[:, 20:] += 1
    moved = (run(subject, mixer, changed)[0] - y)[:, :20].abs().max().item()
    reach = (run(subject, mixer, changed)[0] - y)[:, 20:].abs().max().item()
    # Nothing may flow back, unless by the rounding of a Fourier transform, which mixes all tokens.
    flowed = leak >= EXACT if mixer.backend_ran == "fft" else leak > 0
    passed = not flowed and moved < EXACT and reach > 0
    return passed, f"gradient from the future {leak:.1e}, change of the past {moved:.1e}"


def forms(subject: Subject) -> Outcome:
    """Recurrent = chunked = parallel, at odd lengths."""
    worst = 0.0
    for t in (1, 7, 37, 97):
        x = subject.input(2, t)
        whole = run(subject, subject.mixer(), x)[0]
        others = [stepwise(subject, subject.mixer(), x)]
        if subject.spec.mix == "scan":
            # The written-out map takes b t t h k floats.
            small = t <= 37 or subject.mixer().dims.heads * subject.mixer().dims.d_k <= 512
            others += [
                run(subject, subject.mixer(backend), x)[0]
                for backend in ("loop", *["parallel"] * small)
            ]
        worst = max([worst, *(relative(other, whole) for other in others)])
    return worst < EXACT, f"t = 1, 7, 37, 97: largest relative difference {worst:.1e}"


def handover(subject: Subject) -> Outcome:
    x, mixer = subject.input(2, 61), subject.mixer()
    whole, end = run(subject, mixer, x)
    worst = 0.0
    for cut in (1, 30, 60):
        first, state = run(subject, mixer, x[:, :cut])
        second, last = run(subject, mixer, x[:, cut:], state, start=cut)
        worst = max(worst, relative(torch.cat([first, second], 1), whole))
        worst = max([worst, *(relative(last[name], end[name]) for name in end)])
    return worst < EXACT, f"cut at 1, 30, 60 of 61: largest relative difference {worst:.1e}"


def gradients(subject: Subject) -> Outcome:
    """Each gradient against differences of fourth order along a random direction, in float64."""
    mixer, x = subject.mixer(), subject.input(2, 19)
    weight = torch.randn_like(x)
    tensors = {"x": x.requires_grad_(), **dict(mixer.named_parameters())}

    def loss() -> Tensor:
        return (run(subject, mixer, x)[0] * weight).sum()

    got = torch.autograd.grad(loss(), list(tensors.values()), allow_unused=True)
    worst, culprit, step = 0.0, "", 1e-6
    # A difference of two losses rounds by 1e-16 |loss| / step: a true gradient of 0 reads as that.
    floor = 1e-3 * (run(subject, mixer, x)[0] * weight).abs().sum().item()
    for (name, tensor), gradient in zip(tensors.items(), got, strict=True):
        if gradient is None or not gradient.isfinite().all():
            return False, f"gradient of {name} is {'missing' if gradient is None else 'not finite'}"
        direction = torch.randn_like(tensor)
        with torch.no_grad():
            start, at = tensor.clone(), {}
            for i in (-2, -1, 1, 2):
                tensor.copy_(start + i * step * direction)
                at[i] = loss()
            tensor.copy_(start)
        expected = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
        found = (gradient * direction).sum()
        scale = max(gradient.norm().item(), expected.abs().item(), floor)
        error = (found - expected).abs().item() / scale
        if error > worst:
            worst, culprit = error, name
    # Truncation is of order step^4, rounding at most 1e-10 |loss| or 1e-7 of the floor.
    return worst < 1e-6, f"{len(tensors)} tensors against differences: {worst:.1e} ({culprit})"


def decays(subject: Subject, length: int) -> Outcome:
    """Decays a thousand times weaker and stronger: finite, and no slower."""
    if subject.spec.mix != "scan":
        return None, "no decay"
    x, seconds, ratio = subject.input(1, length, torch.float32), {}, 0.0
    mixers = {
        factor: scaled_decay(subject.mixer(dtype=torch.float32), factor)
        for factor in (1e-3, 1.0, 1e3)
    }
    for factor, mixer in mixers.items():
        short = x[:, : min(length, 4096)].clone().requires_grad_()
        y = run(subject, mixer, short)[0]
        (gradient,) = torch.autograd.grad(y.square().mean(), short)
        seconds[factor], y = timed(subject, mixer, x)
        if not (y.isfinite().all() and gradient.isfinite().all()):
            return False, f"decay x {factor:g}: not finite at length {length}"
    # Other programs can slow one of three short runs down, but hardly the same one every time.
    for _ in range(5):
        ratio = max(seconds.values()) / max(min(seconds.values()), 1e-3)
        if ratio < 2:
            break
        seconds = {f: min(seconds[f], timed(subject, m, x)[0]) for f, m in mixers.items()}
    passed = ratio < 4  # subnormal arithmetic costs a factor of 35 and more
    return (
        passed,
        f"length {length}, decay x 1e-3, 1, 1e3: finite; slowest {ratio:.1f} x the fastest",
    )


def timed(subject: Subject, mixer: Mixer, x: Tensor) -> tuple[float, Tensor]:
    """Processor seconds of one forward pass, and its output."""
    with torch.no_grad():
        begin = time.process_time()
        y = run(subject, mixer, x)[0]
        return time.process_time() - begin, y


def state_size(subject: Subject) -> Outcome:
    """Measured bytes against the spec's declaration, after 64 and after 128 tokens."""
    model = Model(subject.spec, vocabulary=8, d_model=subject.d_model, depth=2, conv=subject.conv)
    measured = [state_bytes(model, t) for t in (64, 128)]
    declared = [declared_state_bytes(model, t) for t in (64, 128)]
    grows = "grows with length, outside C0" if measured[0] != measured[1] else "constant in length"
    by_design = subject.spec.mix == "softmax" or measured[0] == measured[1]
    return measured == declared and by_design, f"{measured[0]} bytes in 2 layers, {grows}"


def separation(subject: Subject) -> Outcome:
    mixer, x = subject.mixer(), subject.input(3, 33)
    y = run(subject, mixer, x)[0]
    x[1] += 1
    moved = (run(subject, mixer, x)[0] - y)[[0, 2]].abs().max().item()
    alone = relative(run(subject, mixer, x[:1])[0], y[:1])
    return moved < EXACT and alone < EXACT, f"other examples move by {moved:.1e}, alone {alone:.1e}"


def determinism(subject: Subject) -> Outcome:
    def once(seed: int) -> Iterator[Tensor]:
        mixer, x = subject.mixer(dtype=torch.float32), subject.input(2, 50, torch.float32)
        torch.manual_seed(seed)  # a mixer that draws numbers must not draw the same ones
        y = run(subject, mixer, x)[0]
        yield y
        yield from torch.autograd.grad(y.square().sum(), list(mixer.parameters()))

    same = all(torch.equal(a, b) for a, b in zip(once(4), once(5), strict=True))
    return same, "outputs and gradients of two runs are " + ("equal" if same else "NOT equal")


PROPERTIES: dict[str, Callable[..., Outcome]] = {
    "shapes": shapes,
    "causal": causality,
    "recurrent = chunked = parallel": forms,
    "state hand-over": handover,
    "gradients": gradients,
    "strong and weak decay": decays,
    "state bytes": state_size,
    "no leak between examples": separation,
    "deterministic": determinism,
    "both directions": both_directions,
    "padding": padding,
}
