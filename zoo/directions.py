"""Both directions of time: what a bidirectional Mixer needs beside the recurrence itself.

A second scan reads the valid tokens from the last to the first and its outputs are added to those
of the first, as in hgru-pytorch's BiHgru1d: the current token counts in both. Projections, and
convolutions and token shifts, which stay causal, are those of both scans. Maps that look at a
token's position or at all tokens before it (`Stream.asked`) see another sequence from its other
end; they are run once more on the reversed stream, where their own convolutions look to the other
side, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.spec import Stream

AGAIN = frozenset({"position", "total", "recall"})
REVERSED = "reversed."


def valid(lengths: Tensor, t: int) -> Tensor:
    """lengths: b, tokens of each row. Returns: b t, True where a token is no padding."""
    return torch.arange(t, device=lengths.device) < lengths.unsqueeze(1)


def flip(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x: b t ... -> the same with the first lengths tokens of each row in reversed order.

    lengths: b, None for all tokens. What is behind them stays where it is.
    """
    if lengths is None:
        return x.flip(1)
    position = torch.arange(x.shape[1], device=x.device)
    last = lengths.unsqueeze(1) - 1  # b 1
    source = torch.where(position <= last, last - position, position)  # b t
    return x.gather(1, source.reshape(*source.shape, *[1] * (x.dim() - 2)).expand(x.shape))


def cleared(x: Tensor, valid: Tensor | None, value: float = 0.0) -> Tensor:
    """x: b t ... with `value` at pads."""
    if valid is None:
        return x
    return x.masked_fill(~valid.reshape(*valid.shape, *[1] * (x.dim() - 2)), value)


def pad(s: Stream, lengths: Tensor, label: str) -> None:
    """Tells the stream which tokens are padding and makes those 0. lengths: b, read where it is.

    A row of padding alone is taken for one token, so that it stays finite.
    """
    x = s.x
    if lengths.shape != x.shape[:1] or lengths.dtype != torch.int64:
        raise ValueError(
            f"{label}: lengths is {lengths.dtype} of shape {tuple(lengths.shape)}, but for x of "
            f"shape {tuple(x.shape)} it must be torch.int64 of shape ({x.shape[0]},)"
        )
    s.lengths = lengths.clamp(1, x.shape[1])
    s.valid = valid(s.lengths, x.shape[1])  # b t
    s.x = s.u = cleared(x, s.valid)


def check_whole(label: str, state: Mapping[str, Tensor], start: int) -> None:
    """A sequence that is read from both ends has no part before it."""
    if state or start:
        given = f"state has {', '.join(state)}" if state else f"start is {start}"
        raise ValueError(
            f"{label}: {given}, but a bidirectional mixer reads a whole sequence at once, because "
            "its first token depends on the last; give all tokens together, or bidirectional=False"
        )


def reversed_stream(s: Stream) -> Stream:
    """The stream as from its other end, before any f_ map has run on it.

    It finds in `shared` the parameters, and what the reversed streams of earlier layers left.
    """
    left = {n.removeprefix(REVERSED): y for n, y in s.shared.items() if n.startswith(REVERSED)}
    r = Stream(flip(s.x, s.lengths), shared={**s.shared, **left}, names=s.names)
    r.u, r.lengths, r.valid = flip(s.u, s.lengths), s.lengths, s.valid
    return r


def leave(s: Stream, r: Stream) -> None:
    """Hands what the maps of the reversed stream r left on to later layers, beside s's own."""
    new = {n: y for n, y in r.shared.items() if s.shared.get(n) is not y}
    s.shared.update({n if n.startswith(REVERSED) else REVERSED + n: y for n, y in new.items()})
