"""Dynamic memory (C1) seen from outside: can a mixer overwrite any one thing and keep the others?

Only inputs and outputs are looked at. Tokens fill the slots, then others replace what is in one
slot or another, in several orders, and every query is asked after each of them. A token's trace is
how far the outputs at the queries move when the token's value is swapped for another. A replacement
should leave no trace of what was in its slot and the traces of all other slots as they were. The
orders matter: a longer key, a denominator or a fixed decay can hide one value once, but not
whichever is replaced, every time.

Optimised are the tokens' embeddings, of root mean square 1 as behind a block's norm, and the gates
(f_alpha and the erasure); everything else stays as drawn. Convolutions and token shifts stand
aside. Heads count as slots: a model with one decay per head can keep as many things apart as it has
heads. The result is what was found, an upper bound and not a proof.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.mixer import Mixer
from zoo.spec import Spec

SLOTS, TIMES, ORDERS = 3, 5, 6  # slots, replacements in a sequence, sequences
VALUE = 0.5  # share of its value in a token
FRESH = 8  # batches of new orders and values that the result is a mean over
RATE = 0.1  # of Adam, decayed to 0


@dataclass(frozen=True)
class Probed:
    """left: energy of the replaced token's trace, relative to what it was just before. lost: energy
    by which the trace of another slot changed, likewise. Both are means over all replacements: 0 is
    perfect, 1 is nothing replaced, or all lost. Measured on orders and values that are new."""

    left: float
    lost: float
    seconds: float


def probe(spec: Spec, d_model: int = 32, *, steps: int = 200, seed: int = 0) -> Probed:
    """Some seconds on one core. Raises: ValueError for a width that the state refuses."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return search(Trial(spec, d_model), steps)


def search(trial: Trial, steps: int) -> Probed:
    begin = time.process_time()
    variables = [trial.tokens, trial.queries]
    gates = [part for part in (trial.mixer.f_alpha, trial.mixer.erase) if part is not None]
    variables += [p for part in gates for p in part.parameters()]
    variables += [y for y in trial.shared.values() if y.requires_grad]
    optimiser = torch.optim.Adam(variables, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        trial.draw()
        loss = torch.stack(trial.run()).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        found = []
        for _ in range(FRESH):
            trial.draw()
            found.append([part.item() for part in trial.run()])
    left, lost = (sum(part) / FRESH for part in zip(*found))
    return Probed(left, lost, time.process_time() - begin)


class Trial:
    """The mixer and its tokens. Batch: every order, as it is and with the value of each token
    swapped."""

    def __init__(self, spec: Spec, d_model: int) -> None:
        self.mixer = Mixer(spec, d_model, layer=0, depth=2, conv="none").double()
        made = {} if spec.shared is None else dict(spec.shared(2, d_model))
        self.shared = {name: y.detach().double().requires_grad_() for name, y in made.items()}
        with torch.no_grad():  # a projection that starts at 0 would show nothing
            for y in self.mixer.parameters():
                y.add_(0.1 * torch.randn_like(y)).requires_grad_(False)
        for part in (self.mixer.f_alpha, self.mixer.erase):
            for y in () if part is None else part.parameters():
                y.requires_grad_()
        self.tokens = normal(2 * SLOTS, d_model).requires_grad_()  # fill slot i; replace slot i
        self.queries = normal(SLOTS, d_model).requires_grad_()
        self.draw()

    def draw(self) -> None:
        """New values, and new slots for the replacements to go to."""
        t = SLOTS + TIMES
        values = normal(2, t, self.tokens.shape[1])
        swapped = torch.eye(t + 1, dtype=torch.bool)[:, 1:].unsqueeze(-1)  # row i + 1 swaps token i
        self.values = torch.where(swapped, values[1], values[0])  # swap t d
        self.slot = torch.randint(SLOTS, (ORDERS, TIMES))

    def run(self) -> tuple[Tensor, Tensor]:
        """left and lost, of the present embeddings and gates."""
        which = torch.cat([torch.arange(SLOTS).expand(ORDERS, -1), SLOTS + self.slot], dim=1)
        x = unit(self.tokens)[which].unsqueeze(1) + VALUE * self.values  # order swap t d
        x, state, traces = unit(x.flatten(0, 1)), None, []
        for t in range(SLOTS + TIMES):
            _, state = self.mixer(x[:, t : t + 1], state, start=t, shared=dict(self.shared))
            if t >= SLOTS - 1:
                y = self.ask(state, t + 1).unflatten(0, (ORDERS, -1))  # order swap (query d)
                traces.append(y[:, 1:] - y[:, :1])  # order token (query d)
        left, lost = [], []
        holder = torch.arange(SLOTS).repeat(ORDERS, 1)  # order slot: the token that is in it
        for j in range(TIMES):
            slot = self.slot[:, j : j + 1]
            before, after = (picked(traces[i], holder) for i in (j, j + 1))  # order slot (query d)
            scale = before.square().sum(-1).clamp(min=1e-12)
            hit = torch.arange(SLOTS) == slot
            left.append((after.square().sum(-1) / scale)[hit])
            lost.append(((after - before).square().sum(-1) / scale)[~hit])
            holder = holder.scatter(1, slot, SLOTS + j)
        return torch.cat(left).mean(), torch.cat(lost).mean()

    def ask(self, state: Mapping[str, Tensor], start: int) -> Tensor:
        """Every sequence with every query as its next token. Returns: b (query d)."""
        b, m = len(next(iter(state.values()))), SLOTS
        repeated = {name: y.repeat_interleave(m, dim=0) for name, y in state.items()}
        x = unit(self.queries).repeat(b, 1).unsqueeze(1)  # (b query) 1 d
        y, _ = self.mixer(x, repeated, start=start, shared=dict(self.shared))
        return y.view(b, -1)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def picked(traces: Tensor, holder: Tensor) -> Tensor:
    """traces: order token c; holder: order slot -> order slot c."""
    return traces.gather(1, holder.unsqueeze(-1).expand(-1, -1, traces.shape[-1]))


def unit(x: Tensor) -> Tensor:
    """Root mean square 1, as behind the norm of a block."""
    return x * x.square().mean(-1, keepdim=True).clamp(min=1e-12).rsqrt()
