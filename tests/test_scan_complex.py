"""Complex decays: every backend in real arithmetic against the complex recurrence as written."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zoo.scan import Read, scan
from zoo.spec import Decay

B, H, N, D_V = 2, 3, 4, 2
# What the state decays by: shape of step and rate ("" = none), heads of q and k.
KINDS = {
    "keep": ("", "", H),
    "head-fixed": ("", "head", H),
    "head-dynamic": ("head", "", 1),
    "channel-fixed": ("", "channel", H),
    "channel-dynamic": ("channel", "", H),
    "static": ("", "channel", H),
}
CASES = [
    *(("loop", kind) for kind in KINDS),
    *(("auto", kind) for kind in KINDS),
    *(("parallel", kind) for kind in KINDS),
]


def example(kind: str, t: int) -> dict[str, Tensor]:
    step, rate, heads = KINDS[kind]
    torch.manual_seed(t)
    rows = (1, 1) if kind == "static" else (B, t)
    x = {name: torch.randn(*rows, heads, 2 * N, dtype=torch.float64) for name in "qk"}
    x["v"] = torch.randn(B, t, H, D_V, dtype=torch.float64)
    x["angle"] = 6 * torch.rand(H, N, dtype=torch.float64)
    x["state"] = torch.randn(B, H, 2 * N, D_V, dtype=torch.float64)
    width = {"head": 1, "channel": N}
    if step:
        x["step"] = torch.rand(B, t, H, width[step], dtype=torch.float64)
    if rate:
        x["rate"] = torch.rand(H, width[rate], dtype=torch.float64)
    return x


def complex_pairs(x: Tensor) -> Tensor:
    re, im = x.chunk(2, dim=-1)
    return torch.complex(re, im)


def by_hand(x: dict[str, Tensor], read: Read = "after", reverse: bool = False) -> dict[str, Tensor]:
    """S_t = |alpha_t| exp(j angle) S_{t-1} + k_t^T v_t in complex numbers, o_t = Re(q_t S)."""
    t = x["v"].shape[1]
    q, k = (complex_pairs(x[name]).expand(B, t, H, N) for name in "qk")
    S = complex_pairs(x["state"].transpose(2, 3)).transpose(2, 3)
    o: list[Tensor] = [x["v"]] * t
    for i in range(t)[:: -1 if reverse else 1]:
        past, log = S, torch.zeros(B, H, N, dtype=torch.float64)
        if "step" in x or "rate" in x:
            step = x["step"][:, i] if "step" in x else torch.ones(B, H, 1, dtype=torch.float64)
            log = -step * x.get("rate", torch.ones(1, dtype=torch.float64)) + torch.zeros_like(log)
        S = S * torch.polar(log.exp(), x["angle"].expand_as(log)).unsqueeze(-1)
        S = S + k[:, i].unsqueeze(-1) * x["v"][:, i].unsqueeze(-2)
        seen = S if read == "after" else past
        o[i] = (q[:, i].unsqueeze(-2) @ seen).squeeze(-2).real
    return {"o": torch.stack(o, 1), "end": torch.cat([S.real, S.imag], dim=2)}


def by_scan(x: dict[str, Tensor], backend: str, **order: object) -> dict[str, Tensor]:
    step, rate = x.get("step"), x.get("rate")
    # A magnitude per channel is given for the real and for the imaginary part.
    step = torch.cat([step, step], -1) if step is not None and step.shape[-1] == N else step
    rate = torch.cat([rate, rate], -1) if rate is not None and rate.shape[-1] == N else rate
    decay = Decay(step, rate, x["angle"])
    o, end = scan(x["q"], x["k"], x["v"], decay, state=x["state"], backend=backend, **order)  # pyright: ignore
    return {"o": o, "end": end}


def with_gradients(found: dict[str, Tensor], x: dict[str, Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    loss = torch.stack(
        [(y * torch.randn(y.shape, dtype=y.dtype)).sum() for y in found.values()]
    ).sum()
    gradients = torch.autograd.grad(loss, list(x.values()))
    return found | {f"d{name}": g for name, g in zip(x, gradients, strict=True)}


@pytest.mark.parametrize("t", [1, 7, 70])
@pytest.mark.parametrize(("backend", "kind"), CASES)
def test_outputs_states_and_gradients_are_those_of_complex_numbers(
    backend: str, kind: str, t: int
) -> None:
    x = {name: y.requires_grad_() for name, y in example(kind, t).items()}
    got = with_gradients(by_scan(x, backend), x)
    for name, y in with_gradients(by_hand(x), x).items():
        # 70 tokens, a few roundings each, angles of up to 420 radians: 1e-16 * 1e4.
        assert (got[name] - y).norm() <= 1e-12 * y.norm(), name


@pytest.mark.parametrize("read", ["after", "before"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("backend", "kind"), CASES)
def test_both_readings_and_directions_are_those_of_complex_numbers(
    backend: str, kind: str, reverse: bool, read: Read
) -> None:
    x = example(kind, 23)
    got = by_scan(x, backend, read=read, reverse=reverse)
    for name, y in by_hand(x, read, reverse).items():
        torch.testing.assert_close(got[name], y, rtol=1e-11, atol=1e-11)


def test_angles_stay_exact_at_long_lengths_in_float32() -> None:
    """Angle times position in float32 would be off by 3e-2 of 150 at position 4096."""
    t, angle = 4096, torch.tensor([[5.5]])
    q = k = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    v = torch.zeros(1, t, 1, 1)
    v[:, 0] = 1.0
    o, _ = scan(q, k, v, Decay(angle=angle), backend="scalar")
    expected = [math.cos(5.5 * i) for i in range(t)]
    # Two angles below 2 pi, each rounded to 2^-22 of it.
    torch.testing.assert_close(o.flatten(), torch.tensor(expected), rtol=0, atol=2e-6)
