"""Models of equal parameters, and what full models are timed with."""

import pytest
import torch

import zoo
from runners import bench_efficiency, bench_equal
from runners.bench_efficiency import PRESETS, Plan, efficiency, sizes
from runners.bench_equal import body, build, sized
from runners.execution import Execution

CPU = torch.device("cpu")
TINY = Plan(("linformer",), (16, 32), tokens=32, d_model=32, depth=1, vocabulary=8, repeats=1)


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_comes_within_two_percent_of_attention(name):
    size = sized(name, 128, 2, 0)
    assert size.target == sized("attention", 128, 2, 0).parameters
    assert abs(size.deviation) < 0.02


@pytest.mark.parametrize("name", ["attention", "mamba", "rwkv4", "hgrn"])
def test_the_model_that_is_built_has_the_parameters_that_are_said(name):
    size = sized(name, 64, 2, 120_000)
    model = build(size, vocabulary=11)
    embedding = model.embedding.weight.numel()
    assert sum(p.numel() for p in model.parameters()) == size.parameters + embedding
    assert body(model) == size.parameters == pytest.approx(120_000, rel=0.02)


def test_a_width_that_cannot_be_equal_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"rwkv6 at width 32.*has 41,248 parameters.*from 25,248"):
        sized("rwkv6", 32, 2, 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_can_run(preset):
    plan = PRESETS[preset]
    assert len(sizes(plan)) == len(plan.models)
    assert all(plan.tokens % length == 0 for length in plan.lengths)


def test_a_length_beyond_the_batch_is_refused():
    with pytest.raises(ValueError, match="length 64 does not go with 32 tokens"):
        sizes(Plan(("gla",), (64,), tokens=32, d_model=64, depth=1))


def test_every_length_has_as_many_tokens_and_a_finished_row():
    rows = list(efficiency(TINY, CPU, Execution(), lambda said: None))
    assert [(row["length"], row["batch"], row["status"]) for row in rows] == [
        (16, 2, "ok"),
        (32, 1, "ok"),
    ]
    for row in rows:
        assert row["tokens_per_second"] == pytest.approx(32 / row["median_seconds"])
        parameters = row["parameters"] + 8 * 32
        assert row["peak_memory_bytes"] > 4 * 4 * parameters  # with gradients and two moments
    assert len({row["key"] for row in rows}) == 2


def test_a_length_that_would_take_too_long_is_a_row_that_says_so(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(bench_efficiency, "expected", lambda known, length: 2.0 * len(known))
    plan = Plan(**{**vars(TINY), "seconds": 1.0})
    first, second = efficiency(plan, CPU, Execution(), said.append)
    assert (first["status"], second["status"]) == ("ok", "timeout")
    assert "2.0 s an update expected, limit 1 s" in second["error"]
    assert second["tokens_per_second"] is None
    assert any("linformer at 32 left out" in line for line in said)


def test_lack_of_memory_is_a_row(monkeypatch):
    def lacking(*_):
        raise torch.OutOfMemoryError("out of memory: tried 1 TiB\nmore words")

    monkeypatch.setattr(bench_equal, "build", lacking)
    first, _ = efficiency(TINY, CPU, Execution(), lambda said: None)
    assert (first["status"], first["error"]) == ("oom", "out of memory: tried 1 TiB")
    assert first["median_seconds"] is None
