"""One scan of a Mixer, in one direction, with what happens to k, v and o directly around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from einops import rearrange
from torch import Tensor

from zoo import rows
from zoo.rotation import rotate
from zoo.running_max import rescale, rescale_back
from zoo.scan import choose, scan, ties
from zoo.spec import Spec, Stream


@dataclass(frozen=True)
class Read:
    """What the tokens read. o: b t h v; m: b t h 1, log keys only: o is to be read times exp(m);
    kept: S, and m at the end; backend: which ran."""

    o: Tensor
    m: Tensor | None
    kept: dict[str, Tensor]
    backend: str


def recur(
    spec: Spec,
    s: Stream,
    q: Tensor,
    v: Tensor,
    state: Mapping[str, Tensor],
    *,
    tied: bool,
    backend: str,
    reverse: bool = False,
) -> Read:
    """q: with its scale; v: with the normaliser's channel; tied: k is 1 - alpha, which the scan may
    form by itself; reverse: from the last token to the first, v being 0 at pads."""
    k, m, kept, decay = s.k, None, {}, s.decay
    # A complex state that is read whole is turned here; one that is read by q, in the scan.
    whole = decay.angle if decay.angle is not None and decay.angle.dim() == 1 else None
    if whole is not None:
        v = rotate(v, whole, s.start, backwards=not reverse)
        decay = replace(decay, angle=None)
    if spec.log_keys and reverse:
        k, decay, m, _ = rescale_back(k, decay, s.valid, spec.read)
    elif spec.log_keys:
        k, decay, m, kept["m"] = rescale(k, decay, state.get("m"), spec.read)
    erase, S, (b, _, h, _) = s.erase, state.get("S"), v.shape
    apart = rows.differ(q, k, v, decay)
    if apart:
        q, k, v = (rows.as_heads(y, b, h) for y in (q, k, v))
        decay, erase = rows.decay_as_heads(decay, b, h), rows.erase_as_heads(erase, b, h)
        S = None if S is None else rearrange(S, "b h k v -> 1 (b h) k v")
    options = {"erase": erase, "read": spec.read, "reverse": reverse, "backend": backend}
    ran = choose(q, None if tied else k, v, decay, **options)
    k = None if tied and ties(ran) else k
    # What is not finite shows in the loss, where training names the update.
    o, kept["S"] = scan(q, k, v, decay, state=S, trusted=True, **options)  # b t h v
    if apart:
        o, kept["S"] = rows.as_rows(o, b), rearrange(kept["S"], "1 (b h) k v -> b h k v", b=b)
    return Read(o if whole is None else rotate(o, whole, s.start, backwards=reverse), m, kept, ran)
