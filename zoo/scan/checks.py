"""What scan() refuses before any backend sees it: wrong shapes, dtypes, devices and values."""

from __future__ import annotations

from torch import Tensor

from zoo.spec import Decay, Erase


def check(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    decay: Decay,
    erase: Erase | None,
    read: str,
    state: Tensor | None,
) -> None:
    """Rank, shape, dtype and device of every argument, with the numbers."""
    if read not in ("after", "before"):
        raise ValueError(f"read {read!r} is not known; type after or before")
    if v.dim() != 4:
        raise ValueError(f"v has {v.dim()} axes {tuple(v.shape)}, but scan needs 4: b t h v")
    if erase is not None and decay.angle is not None:
        raise ValueError("a rank-one erase and a complex decay together have no recurrence here")
    b, t, h, d_v = v.shape
    d_k = q.shape[-1] if q.dim() else 0
    if k is None and (decay.kind == "keep" or decay.angle is not None):
        what = "no decay" if decay.angle is None else "a complex one"
        raise ValueError(f"k is None, so k = 1 - alpha, but there is {what}; hand keys over")
    if k is None and erase is not None:
        raise ValueError("k is None, so k = 1 - alpha, which goes with no erase; hand keys over")
    queries, keys = (spread(x, b, t) for x in (q, k))
    if t < 1:
        raise ValueError("v has 0 tokens, but scan needs at least 1")
    # Each axis is a number, or the numbers that are allowed there.
    wanted: dict[str, tuple[Tensor | None, tuple[int | tuple[int, int], ...]]] = {
        "q": (queries, (b, t, (h, 1), d_k)),
        "k": (keys, (b, t, (h, 1), d_k)),
        "v": (v, (b, t, h, d_v)),
        "decay.step": (decay.step, (b, t, h, (d_k, 1))),
        "decay.rate": (decay.rate, (h, (d_k, 1))),
        "decay.angle": (decay.angle, (h, d_k // 2)),
        "erase.write": (None if erase is None else erase.write, (b, t, (h, 1), d_k)),
        "erase.read": (None if erase is None else erase.read, (b, t, (h, 1), d_k)),
        "state": (state, (b, h, d_k, d_v)),
    }
    for name, (x, shape) in wanted.items():
        if x is None:
            continue
        fits = x.dim() == len(shape) and all(
            got in want if isinstance(want, tuple) else got == want
            for got, want in zip(x.shape, shape, strict=True)
        )
        if not fits:
            spelt = ", ".join(
                " or ".join(map(str, dict.fromkeys(want))) if isinstance(want, tuple) else str(want)
                for want in shape
            )
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}, but with v of shape {tuple(v.shape)} and "
                f"{d_k} key channels it must be ({spelt})"
            )
        if not x.is_floating_point():
            raise ValueError(f"{name} is {x.dtype}, but scan needs a real floating-point dtype")
        if x.device != v.device:
            raise ValueError(f"{name} is on {x.device}, but v is on {v.device}; move one of them")


def spread(x: Tensor | None, b: int, t: int) -> Tensor | None:
    """1 1 h k -> b t h k; anything else as it is."""
    static = x is not None and x.dim() == 4 and x.shape[:2] == (1, 1)
    return x.expand(b, t, -1, -1) if x is not None and static else x


def check_values(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    decay: Decay,
    erase: Erase | None,
    state: Tensor | None,
) -> None:
    """Raises ValueError for NaN, infinities, and steps or rates below 0 (a decay above 1)."""
    bounded = {"decay.step": decay.step, "decay.rate": decay.rate}
    free: dict[str, Tensor | None] = {"q": q, "k": k, "v": v, "decay.angle": decay.angle}
    if erase is not None:
        free |= {"erase.write": erase.write, "erase.read": erase.read}
    for name, x in {**bounded, **free, "state": state}.items():
        if x is None or x.numel() == 0:
            continue
        least, most = (y.item() for y in x.detach().aminmax())
        # NaN is passed on by aminmax, and no comparison with it is true.
        if not (least > float("-inf") and most < float("inf")):
            n = x.numel() - int(x.detach().isfinite().sum())
            raise ValueError(f"{name} has {n:,} of {x.numel():,} values that are NaN or infinite")
        if name in bounded and least < 0.0:
            raise ValueError(
                f"{name} has a value of {least:g}, but log alpha = -step * rate must not be above"
                " 0: steps and rates are at least 0"
            )
