"""What scan() takes and refuses: the choice of a backend, wrong arguments and values, tied keys."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.test_scan import GEOMETRIES, example
from zoo.scan import BACKENDS, choose, explain, scan
from zoo.scan.case import Case
from zoo.spec import Decay


@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g not in ("loop", "parallel")])
def test_auto_takes_the_backend_of_the_geometry(geometry: str) -> None:
    x = example(geometry, "logsigmoid", 8, torch.float32)
    decay = Decay(x.get("step"), x.get("rate"))
    assert choose(x["q"], x["k"], x["v"], decay) == GEOMETRIES[geometry][0]
    q, k, v = (x[name][:, :1] for name in "qkv")
    assert choose(q, k, v, Decay(rate=x.get("rate"))) == "loop"


def test_a_backend_that_refuses_raises_with_every_reason() -> None:
    q = torch.randn(2, 5, 3, 4)
    decay = Decay(torch.rand(2, 5, 3, 4))
    with pytest.raises(ValueError, match="'vector' cannot run here") as caught:
        scan(q, q, q, decay, backend="vector")
    reasons = explain(Case(q, q, q, decay))
    assert list(reasons) == [backend.NAME for backend in BACKENDS]
    assert all(f"{name}: {reason}" in str(caught.value) for name, reason in reasons.items())
    with pytest.raises(ValueError, match="'matrx' is not known"):
        scan(q, q, q, decay, backend="matrx")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"v": torch.randn(2, 5, 4)}, r"v has 3 axes \(2, 5, 4\).* needs 4"),
        ({"v": torch.randn(2, 0, 3, 4)}, "v has 0 tokens"),
        ({"q": torch.randn(2, 6, 3, 4)}, r"q has shape \(2, 6, 3, 4\).*\(2, 5, 3 or 1, 4\)"),
        ({"k": torch.randn(2, 5, 3, 7)}, r"k has shape \(2, 5, 3, 7\).*\(2, 5, 3 or 1, 4\)"),
        (
            {"decay": Decay(torch.rand(2, 5, 3, 2))},
            r"decay.step has shape \(2, 5, 3, 2\).*4 or 1\)",
        ),
        ({"decay": Decay(rate=torch.rand(4))}, r"decay.rate has shape \(4,\).*\(3, 4 or 1\)"),
        ({"state": torch.zeros(2, 3, 4, 9)}, r"state has shape \(2, 3, 4, 9\).*\(2, 3, 4, 4\)"),
        ({"k": torch.ones(2, 5, 3, 4, dtype=torch.int64)}, "k is torch.int64"),
        ({"q": torch.randn(2, 5, 3, 4, device="meta")}, "q is on meta, but v is on cpu"),
        ({"read": "during"}, "read 'during' is not known; type after or before"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_named_with_both_numbers(
    wrong: dict[str, object], message: str
) -> None:
    x = torch.randn(2, 5, 3, 4)
    arguments = {"q": x, "k": x, "v": x, "decay": Decay(), **wrong}
    with pytest.raises(ValueError, match=message):
        scan(**arguments)  # pyright: ignore[reportArgumentType]


def with_one(value: float) -> Tensor:
    x = torch.rand(2, 5, 3, 4)
    x[1, 2, 0, 3] = value
    return x


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"q": with_one(math.nan)}, "q has 1 of 120 values that are NaN or infinite"),
        ({"v": with_one(math.inf)}, "v has 1 of 120 values"),
        ({"decay": Decay(with_one(-0.25))}, "decay.step has a value of -0.25, but log alpha"),
        ({"decay": Decay(rate=-torch.ones(3, 1))}, "decay.rate has a value of -1, but"),
        ({"decay": Decay(with_one(math.nan))}, "decay.step has 1 of 120 values"),
        ({"state": torch.full((2, 3, 4, 4), -math.inf)}, "state has 96 of 96 values"),
        ({"k": None}, "k = 1 - alpha, but there is no decay"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_named(wrong: dict[str, object], message: str) -> None:
    x = torch.randn(2, 5, 3, 4)
    arguments = {"q": x, "k": x, "v": x, "decay": Decay(), **wrong}
    with pytest.raises(ValueError, match=message):
        scan(**arguments)  # pyright: ignore[reportArgumentType]
    if wrong != {"k": None}:
        scan(**arguments, trusted=True)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("geometry", ["vector", "matrix", "matrix-fixed", "scalar", "ssm"])
def test_no_key_means_one_minus_alpha(geometry: str) -> None:
    x, backend = example(geometry, "logsigmoid", 23, torch.float64), GEOMETRIES[geometry][0]
    decay = Decay(x.get("step"), x.get("rate"))
    log = decay.log()
    assert log is not None
    k = (1 - log.exp()).expand(2, 23, x["v"].shape[2], x["q"].shape[3])
    expected = scan(x["q"], k, x["v"], decay, state=x["state"], backend="loop")
    got = scan(x["q"], None, x["v"], decay, state=x["state"], backend=backend)
    for y, z in zip(got, expected, strict=True):
        torch.testing.assert_close(y, z, rtol=1e-12, atol=1e-12)
