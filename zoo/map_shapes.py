"""What the maps of a Spec must return, checked at one place: a Mixer's own."""

from __future__ import annotations

from typing import cast

from zoo.spec import Decay, Dims, Spec, Stream


def check_maps(spec: Spec, dims: Dims, s: Stream) -> None:
    """Every map's shape, at one place, with the name of the function that got it wrong."""
    b, t, _ = s.x.shape
    h, d_k, d_v = dims.heads, dims.d_k, dims.d_v
    for name, got, heads, channels in (
        ("f_q", s.q, (1, h), d_k),
        ("f_k", s.k, (1, h), d_k),
        ("f_v", s.v, (h,), d_v),
    ):
        static = name != "f_v" and got.shape[:2] in ((1, 1), (b, 1))
        fits = got.dim() == 4 and (got.shape[:2] == (b, t) or static)
        if not fits or got.shape[2] not in heads:
            wanted = f"({b}, {t}, {' or '.join(map(str, heads))}, {channels})"
            raise ValueError(f"{spec.label}: {name} returned {tuple(got.shape)}, not {wanted}")
        if got.shape[3] != channels:
            raise ValueError(
                f"{spec.label}: {name} returned {got.shape[3]} channels per head, but the "
                f"spec's state says {channels}"
            )
    if not isinstance(cast(object, s.decay), Decay):
        raise ValueError(f"{spec.label}: f_alpha must return a Decay, not {type(s.decay)}")
