"""What the certificate asks of a bidirectional mixer, and of any mixer where rows are padded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo import plain
from zoo.directions import valid
from zoo.mixer import Mixer
from zoo.probes import EXACT, Outcome, relative, run
from zoo.spec import Decay, Stream

if TYPE_CHECKING:
    from zoo.check import Subject

LENGTHS = (11, 1, 6)


class LooksAtPositions(nn.Module):
    """An f_alpha that makes the maps run again on reversed time, though they need not."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, s: Stream) -> Decay:
        assert len(s.position)
        return self.inner(s)


def both_directions(subject: Subject) -> Outcome:
    """Every token reads every other, and all ways to compute what it reads agree."""
    mixer, x = subject.mixer(bidirectional=True), subject.input(len(LENGTHS), max(LENGTHS))
    rows = [x[i : i + 1, :n] for i, n in enumerate(LENGTHS)]
    if not sees_all(subject, mixer, rows[0]):
        return False, "of the first and the last token one does not read the other"
    y, ways = at_tokens(subject, mixer, x), dict[str, Tensor]()
    if isinstance(subject.spec.mix, str):
        written = [plain.layer(mixer, row, subject.shared())[0] for row in rows]
        ways["definition"] = torch.cat(written)
    if subject.spec.mix == "scan":
        for backend in ("loop", "parallel"):
            other = subject.mixer(backend, bidirectional=True)
            ways[backend] = at_tokens(subject, other, x)
        if not plain.stream(mixer, rows[0], subject.shared()).asked:
            other = subject.mixer(bidirectional=True)
            other.f_alpha = LooksAtPositions(other.f_alpha)
            ways["maps on reversed time"] = at_tokens(subject, other, x)
    errors = {name: relative(other, y) for name, other in ways.items()}
    worst = max(errors.values(), default=0.0)
    told = f"{max(errors, key=lambda n: errors[n])} differs by {worst:.1e}" if errors else "own mix"
    return worst < EXACT, f"first and last token read each other; {', '.join(errors)}: {told}"


def sees_all(subject: Subject, mixer: Mixer, x: Tensor) -> bool:
    """x: 1 t d. Whether the first token reads the last, and the last the first."""
    x = x.clone().requires_grad_()
    y = run(subject, mixer, x)[0]
    seen = [torch.autograd.grad(y[:, i].sum(), x, retain_graph=True)[0] for i in (0, -1)]
    return bool(seen[0][:, -1].any() and seen[1][:, 0].any())


def at_tokens(subject: Subject, mixer: Mixer, x: Tensor) -> Tensor:
    """x: b t d, of which LENGTHS are tokens. Returns: the outputs of all tokens, n d."""
    lengths = torch.tensor(LENGTHS)
    return run(subject, mixer, x, lengths=lengths)[0][valid(lengths, x.shape[1])]


def padding(subject: Subject) -> Outcome:
    """A row among longer ones gives what it gives alone, whatever its padding holds."""
    tokens = valid(torch.tensor(LENGTHS), max(LENGTHS))  # b t
    worst = 0.0
    for bidirectional in (False, True):
        mixer = subject.mixer(bidirectional=bidirectional)
        x = subject.input(len(LENGTHS), max(LENGTHS))
        rows = [run(subject, mixer, x[i : i + 1, :n])[0][0] for i, n in enumerate(LENGTHS)]
        x = torch.where(tokens.unsqueeze(-1), x, 1e3 * torch.randn_like(x)).requires_grad_()
        y = run(subject, mixer, x, lengths=torch.tensor(LENGTHS))[0]
        worst = max(worst, relative(y[tokens], torch.cat(rows)))
        (gradient,) = torch.autograd.grad(y[tokens].square().sum(), x)
        if gradient[~tokens].any() or not (y.isfinite().all() and gradient.isfinite().all()):
            leak = gradient[~tokens].abs().max().item()
            return False, f"gradient at pads {leak:.1e}, or something there is not finite"
    return worst < EXACT, f"alone and among longer rows, causal and both ways: {worst:.1e}"
