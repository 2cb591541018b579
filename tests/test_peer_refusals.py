"""When the adapters of other libraries refuse, and what they say then."""

from __future__ import annotations

import importlib.util
import re

import pytest
import torch

import zoo.scan
from tests.peer_cases import GEOMETRIES, MODULES, add, example, geometries, run
from tests.scan_cases import drawn
from zoo.scan import on_gpu, peers
from zoo.scan.case import Case
from zoo.spec import Decay


def reason(monkeypatch: pytest.MonkeyPatch, geometry: str) -> str:
    """What the adapter says of that geometry on a machine that could run it, but for the rest."""
    monkeypatch.setattr(on_gpu, "reason", lambda case: "")
    x = example(geometry, "logsigmoid", 3)
    name = GEOMETRIES[geometry][0]
    return MODULES[name].refuses(Case(x["q"], x["k"], x["v"], Decay(x.get("step"), x.get("rate"))))


def installed(monkeypatch: pytest.MonkeyPatch, have: str = "0.6.0", extension: bool = True) -> None:
    monkeypatch.setattr(peers, "version", lambda name: have if name == "fla-core" else "")
    missing = None if have and extension else "selective_scan_cuda" if have else "mamba_ssm"
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else object()
    )


@geometries
def test_an_adapter_says_that_there_is_no_gpu(
    geometry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch)
    x, backend = example(geometry, "logsigmoid", 3), GEOMETRIES[geometry][0]
    with pytest.raises(ValueError, match=f"{backend}: needs an NVIDIA GPU, and v is on cpu"):
        run(x, backend)


@geometries
def test_an_adapter_says_what_to_install(geometry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "")
    library = "mamba-ssm" if "mamba" in geometry else "flash-linear-attention"
    said = reason(monkeypatch, geometry)
    assert said.startswith("needs `pip install ")
    assert f"{library}`" in said


@geometries
def test_an_adapter_refuses_nothing_that_it_is_for(
    geometry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    assert reason(monkeypatch, geometry) == ""


@pytest.mark.parametrize("geometry", ["gla", "simple", "hgrn"])
def test_an_older_library_is_refused_with_both_versions(
    geometry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "0.5.2")
    said = "needs flash-linear-attention 0.6 or newer, and 0.5.2 is installed"
    assert reason(monkeypatch, geometry) == said
    for newer in ("0.6", "0.10.1", "1.0"):
        installed(monkeypatch, newer)
        assert reason(monkeypatch, geometry) == ""


def test_mamba_ssm_without_its_extension_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, extension=False)
    assert "built without" in reason(monkeypatch, "mamba")


@pytest.mark.parametrize(
    ("adapter", "step", "rate", "d_k", "d_v", "message"),
    [
        ("fla_simple_gla", "channel", "", 4, 3, "one decay per head or none, and .* 'channel'"),
        ("fla_simple_gla", "head", "channel", 4, 1, "one decay per head or none, and .* 'ssm'"),
        ("fla_hgrn", "channel", "", 4, 3, "one key channel per head, not 4"),
        ("mamba_ssm", "channel", "", 4, 1, "not kind 'channel'"),
        ("mamba_ssm", "head", "channel", 4, 3, "one value channel per head, not 3"),
        ("mamba_ssm", "head", "channel", 257, 1, "up to 256 key channels, not 257"),
    ],
)
def test_an_adapter_refuses_another_geometry_with_its_numbers(
    adapter: str,
    step: str,
    rate: str,
    d_k: int,
    d_v: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch)
    monkeypatch.setattr(on_gpu, "reason", lambda case: "")
    x, q, v = (
        drawn(step, rate, "-30", 2, 2, d_k),
        torch.ones(2, 2, 2, d_k),
        torch.ones(2, 2, 2, d_v),
    )
    said = MODULES[adapter].refuses(Case(q, q, v, Decay(x.get("step"), x.get("rate"))))
    assert re.search(message, said)


def test_auto_takes_no_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES.values():
        monkeypatch.setattr(module, "refuses", lambda case: "")
    add(monkeypatch)
    for geometry in GEOMETRIES:
        x = example(geometry, "logsigmoid", 3)
        decay = Decay(x.get("step"), x.get("rate"))
        assert zoo.scan.choose(x["q"], x["k"], x["v"], decay) not in MODULES
