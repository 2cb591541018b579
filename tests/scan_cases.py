"""What the tests of every scan backend share: decays to try, gradients by name, and how near."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

# Log decays from uniform numbers, with the sign left out.
DECAYS = {
    "-1e-3": lambda x: torch.full_like(x, 1e-3),
    "logsigmoid": lambda x: torch.nn.functional.softplus(torch.special.ndtri(x)),
    "U(-20,0)": lambda x: 20 * x,
    "U(-1000,0)": lambda x: 1000 * x,
    "-30": lambda x: torch.full_like(x, 30.0),
    "spikes-of-200": lambda x: torch.where(x < 0.05, 200.0, x / 10),
}


def drawn(step: str, rate: str, decay: str, t: int, h: int, d_k: int) -> Tensors:
    """step 2 t h (1 or d_k) and rate h (1 or d_k) of a decay, `head` or `channel`, "" for none."""
    x, width = {}, {"head": 1, "channel": d_k}
    if step:
        x["step"] = DECAYS[decay](torch.rand(2, t, h, width[step]))
    if rate:
        uniform = torch.rand(h, width[rate])
        x["rate"] = 0.5 + uniform if step else DECAYS[decay](uniform)
    return x


def with_gradients(apply: Callable[[Tensors], Sequence[Tensor]], x: Tensors) -> Tensors:
    """o, the last state, and the gradient of a random sum of both, by name."""
    x = {name: y.detach().requires_grad_() for name, y in x.items()}
    o, end = apply(x)
    torch.manual_seed(0)
    weights = [torch.randn(y.shape).bfloat16().to(y) for y in (o, end)]  # the same in every dtype
    gradients = torch.autograd.grad((o, end), list(x.values()), weights, materialize_grads=True)
    return {"o": o, "end": end} | {f"d{name}": g for name, g in zip(x, gradients, strict=True)}


def assert_near(
    got: Tensors,
    reference: Tensors,
    *,
    rounding: float,
    dropped: float,
    received: Mapping[str, float] | None = None,
) -> None:
    """RMS error of each tensor: `rounding` of its own size, and `dropped` of the largest.

    received: how many times a tensor receives what was dropped, 1 where nothing is said.
    """
    size = {name: y.double().square().mean().sqrt().item() for name, y in reference.items()}
    for name, y in reference.items():
        error = (got[name].double() - y.double()).square().mean().sqrt().item()
        times = (received or {}).get(name, 1.0)
        bound = rounding * size[name] + times * dropped * max(size.values())
        assert error <= bound, (
            f"{name}: error {error:.1e}, size {size[name]:.1e}, bound {bound:.1e}"
        )


def received(x: Tensors) -> dict[str, float]:
    """Step and rate receive what was dropped times each other, summed."""
    return {
        "dstep": x["rate"].sum(-1).max().item() if "rate" in x else 1.0,
        "drate": x["step"].sum((0, 1)).max().item() if "step" in x else 2.0 * x["v"].shape[1],
    }
