"""What the functions of a running module turn out to be: present, static, tied, how far they reach.

Measured on what the maps return, never read from a name, so that a model from a plugin's file is
treated as any other. A map is dynamic where two inputs give two outputs; a key is tied where it
follows the decay and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.spec import Decay, Spec, Stream, formula
from zoo.theory.layer import Layer, Seen, alpha, replayed

SIZES = (1.0, 1e2, 1e4)  # of inputs: the last saturates every gate
WEIGHTS = (1.0, 10.0, 100.0, 1000.0)  # standard deviations of the redrawn weights
SAME = 1e-9  # float64, of values that are of order 1

End = tuple[float, float]  # alpha and the key beside it
Presence = Literal["absent", "static", "dynamic"]
Moves = Literal["none", "fixed", "dynamic"]
Geometry = Literal["none", "head", "channel", "rates"]


@dataclass(frozen=True)
class Functions:
    """One layer. initial: least and most alpha at the initial weights, under any input; reach: the
    same under any weights of f_alpha; each with the key that comes beside it, which matters where
    it is tied. rates: of a decay that is one step times fixed rates, at the initial weights.
    strength: of an erasure, initially and under any weights; None without one.
    """

    query: Presence
    key: Presence | Literal["tied"]
    decay: Moves
    geometry: Geometry
    d_k: int
    d_v: int
    rotates: bool = False
    positive: bool = True
    initial: tuple[End, End] = ((1.0, 0.0), (1.0, 0.0))
    reach: tuple[End, End] = ((1.0, 0.0), (1.0, 0.0))
    rates: tuple[float, ...] = ()
    strength: tuple[float, float] | None = None


def functions(spec: Spec, d_model: int, layer: int = 0, depth: int = 2) -> Functions:
    """Measures one layer. Raises: ValueError for a width that the state refuses."""
    made = Layer(spec, d_model, layer, depth)
    d_k = made.mixer.dims.d_k
    at_first = [made.see(made.input(size)) for size in SIZES]
    made.perturb()
    one, two = made.see(made.input()), made.see(made.input())
    query: Presence = presence(one.q, two.q, made.mixer.f_q)
    key: Presence = presence(one.k, two.k, made.mixer.f_k)
    if d_k == 1:
        # One channel: a key or query that no token changes is part of f_v or W_O.
        query = "absent" if query == "static" else query
        key = "absent" if key == "static" else key
    decay, geometry = geometry_of(one.decay, two.decay, d_k)
    if formula(spec.f_alpha) == "1":
        decay, geometry = "none", "none"  # it says 1: a change of scale that q and k undo (ZeroS)
    redrawn = list(others(made)) if decay == "dynamic" or one.erase is not None else []
    return Functions(
        query=query,
        key="tied" if key == "dynamic" and tied(made.mixer.f_k, one, two) else key,
        decay=decay,
        geometry=geometry,
        d_k=d_k,
        d_v=made.mixer.dims.d_v,
        rotates=one.decay.angle is not None,
        positive=bool((one.q >= 0).all() and (spec.log_keys or (one.k >= 0).all())),
        initial=ends(at_first),
        reach=ends(redrawn or at_first),
        rates=rates(at_first[0].decay) if geometry == "rates" else (),
        strength=None if one.erase is None else (strength(at_first), strength(redrawn)),
    )


def presence(one: Tensor, two: Tensor, part: nn.Module) -> Presence:
    """From what a map returned for two inputs: does it read the token, or at least learn?"""
    if one.shape != two.shape or (one - two).abs().max() > SAME:
        return "dynamic"
    return "static" if any(True for _ in part.parameters()) else "absent"


def tied(f_k: nn.Module, one: Seen, two: Seen) -> bool:
    """Whether k follows the decay and nothing else: another input with the decay kept leaves it,
    another decay does not."""
    decay = one.decay
    other = decay if decay.step is None else replace(decay, step=1.7 * decay.step)
    return not differs(f_k, one, two.stream, decay) and differs(f_k, one, one.stream, other)


@torch.no_grad()
def differs(f_k: nn.Module, one: Seen, stream: Stream, decay: Decay) -> bool:
    return bool((f_k(replayed(stream, decay)) - one.k).abs().max() > SAME)


def geometry_of(one: Decay, two: Decay, d_k: int) -> tuple[Moves, Geometry]:
    """Whether the decay reads the token, and whether its channels are independent: log alpha over
    tokens and channels has rank 1 where there is one step and fixed rates."""
    first, second = one.log(), two.log()
    if first is None or second is None or not first.any():
        return "none", "none"
    moves = first.shape == second.shape and bool((first - second).abs().max() > SAME)
    moving: Moves = "dynamic" if moves else "fixed"
    if first.shape[-1] == 1:
        return moving, "channel" if d_k == 1 else "head"
    if bool((first - first[..., :1]).abs().max() <= SAME * first.abs().max()):
        return moving, "head"
    if moves:
        values = torch.linalg.svdvals(first[0].transpose(0, 1))  # h, t c -> h c
        if bool((values[:, 1] <= SAME * values[:, 0]).all()):
            return moving, "rates"
    return moving, "channel"


def rates(decay: Decay) -> tuple[float, ...]:
    """Of the first head, relative to their mean."""
    log = decay.log()
    assert log is not None
    first = log[0, -1, 0].abs()
    return tuple((first / first.mean()).tolist())


def ends(found: Sequence[Seen]) -> tuple[End, End]:
    """Least and largest alpha with the key beside it, over what was seen. The first token is left
    out: RG-LRU treats it apart."""
    pairs: list[End] = []
    for seen in found:
        values, k = torch.broadcast_tensors(alpha(seen.decay), seen.k)
        late = slice(1 if values.shape[1] > 1 else 0, None)
        values, k = values[:, late].flatten(), k[:, late].flatten()
        usable = values.isfinite() & k.isfinite()
        if not usable.any():
            continue
        values, k = values[usable], k[usable]
        pairs += [(values[i].item(), k[i].item()) for i in (values.argmin(), values.argmax())]
    return min(pairs), max(pairs)


def others(made: Layer) -> Iterator[Seen]:
    """The same layer under other weights of f_alpha and the erasure, and inputs of every size."""
    for weights, size, _ in itertools.product(WEIGHTS, SIZES, range(2)):
        made.redraw(weights)
        yield made.see(made.input(size))


def strength(found: Sequence[Seen]) -> float:
    """What an erasure can take from one slot that does not decay, 1 is all of it: write . read with
    both vectors turned into the channel c where write_c / read_c is largest."""
    largest = 0.0
    for seen in found:
        if seen.kept is not None:
            write, read = seen.kept.write, seen.kept.read
            turned = (write / read).amax(-1) * read.square().sum(-1)  # b t h
            turned = turned[turned.isfinite()]
            largest = max(largest, turned.max().item() if len(turned) else 0.0)
    return largest
