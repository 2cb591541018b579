"""Cases for the adapters of other libraries, and the adapters among the backends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import zoo.scan
from tests.scan_cases import Tensors, drawn, with_gradients
from zoo.scan import Read, fla_gla, fla_hgrn, fla_simple_gla, mamba_ssm, scan
from zoo.spec import Decay

MODULES = {module.NAME: module for module in (fla_gla, fla_simple_gla, fla_hgrn, mamba_ssm)}
# adapter, shape of step and of rate ("" = none), heads, one head of q and k for all, d_k, d_v
GEOMETRIES = {
    "gla": ("fla_gla", "channel", "", 2, False, 4, 3),
    "gla-rate": ("fla_gla", "head", "channel", 3, True, 4, 2),
    "gla-head": ("fla_gla", "head", "", 2, True, 1, 3),
    "gla-keep": ("fla_gla", "", "", 2, False, 3, 2),
    "simple": ("fla_simple_gla", "head", "", 2, False, 4, 3),
    "simple-rate": ("fla_simple_gla", "head", "head", 3, True, 4, 1),
    "simple-learned": ("fla_simple_gla", "", "head", 2, False, 4, 3),
    "simple-keep": ("fla_simple_gla", "", "", 2, False, 4, 3),
    "hgrn": ("fla_hgrn", "head", "", 3, False, 1, 1),
    "hgrn-two-values": ("fla_hgrn", "", "head", 3, True, 1, 2),
    "hgrn-keep": ("fla_hgrn", "", "", 2, False, 1, 2),
    "mamba": ("mamba_ssm", "head", "channel", 4, True, 3, 1),
    "mamba-own-keys": ("mamba_ssm", "head", "channel", 2, False, 3, 1),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES)


def example(geometry: str, decay: str, t: int, state: bool = True) -> Tensors:
    _, step, rate, h, shared, d_k, d_v = GEOMETRIES[geometry]
    torch.manual_seed(t)
    heads = 1 if shared else h
    x = {"q": torch.randn(2, t, heads, d_k), "k": torch.randn(2, t, heads, d_k)}
    x |= {"v": torch.randn(2, t, h, d_v), "state": torch.randn(2, h, d_k, d_v)}
    x |= drawn(step, rate, decay, t, h, d_k)
    return {name: y.double() for name, y in x.items() if state or name != "state"}


def run(x: Tensors, backend: str, read: Read = "after", reverse: bool = False) -> Tensors:
    def apply(x: Tensors) -> tuple[Tensor, Tensor]:
        options = {"read": read, "reverse": reverse, "state": x.get("state"), "backend": backend}
        return scan(x["q"], x["k"], x["v"], Decay(x.get("step"), x.get("rate")), **options)  # pyright: ignore

    return with_gradients(apply, x)


def add(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapters among the backends, last, if they are not there already."""
    others = [m for m in zoo.scan.BACKENDS if m.NAME not in MODULES]
    monkeypatch.setattr(zoo.scan, "BACKENDS", (*others, *MODULES.values()))
