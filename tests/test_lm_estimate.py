"""What a dry run says of language models: what fits is timed, what does not is counted."""

import re

import pytest

from runners import flops, lm_costs, lm_estimate
from runners.commands.dry_runs import dry_run
from runners.execution import Execution
from runners.lm_config import Lm, build
from runners.lm_costs import UNIT, cost, short, size, span
from runners.lm_presets import preset

TINY = Lm(model="metala", d_model=16, depth=1, seq_len=16, batch=4, updates=3, warmup=0)
BOUND = "no run ends before its budget"


def said(runs, capsys, jobs=1):
    assert dry_run(runs, {}, jobs, Execution(), lm_estimate.estimate, BOUND) == 0
    return capsys.readouterr().out


@pytest.fixture
def nothing_built(monkeypatch):
    """On a machine of 16 GB without a GPU."""
    monkeypatch.setattr(lm_estimate.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(lm_estimate, "memory_of", lambda device: 16 * 10**9)
    monkeypatch.setattr(lm_estimate, "build", lambda *given: pytest.fail("a model was built"))


def test_runs_that_differ_in_what_costs_nothing_are_timed_once(capsys):
    runs = [TINY.model_copy(update={"lr": lr, "seed": s}) for lr in (1e-3, 2e-3) for s in (0, 1)]
    found = lm_estimate.estimate(runs, lambda done, of: None, Execution())
    (shape,) = found.shapes
    assert (shape.runs, shape.model) == (4, "metala")
    assert shape.seconds == pytest.approx(3 * shape.step_seconds)
    told = said(runs, capsys)
    assert "from real steps of 1 shapes; no run ends before its budget" in told
    assert "not timed" not in told
    assert "768 tokens" in told


def test_validation_and_test_are_part_of_a_run(monkeypatch):
    monkeypatch.setattr(lm_estimate, "time_rows", lambda *given: (2.0, 1.0))
    run = TINY.model_copy(
        update={"updates": 10, "evaluate_every": 5, "valid_tokens": 640, "test_tokens": 320}
    )
    (shape,) = lm_estimate.estimate([run], lambda done, of: None, Execution()).shapes
    # Steps of 4 windows; 2 validations of 40 windows and a test of 20, 4 in a second.
    assert shape.step_seconds == 2.0
    assert shape.seconds == 10 * 2.0 + 100 / 4


def test_a_part_of_a_large_batch_is_timed(monkeypatch):
    rows = []
    monkeypatch.setattr(
        lm_estimate, "time_rows", lambda config, n, *rest: rows.append(n) or (1.0, 1.0)
    )
    run = TINY.model_copy(update={"batch": 1024})
    (shape,) = lm_estimate.estimate([run], lambda done, of: None, Execution()).shapes
    assert rows == [256]
    assert shape.step_seconds == 4.0


def test_what_has_no_room_is_counted_and_never_built(capsys, nothing_built):
    told = said(preset("paper-1.4b")[-2:], capsys)
    assert re.search(
        r"for want of memory: gla, metala \(1.41 billion parameters\); .* about 32.7 GB", told
    )
    assert "this machine has 16 GB" in told
    assert "at most" not in told


def test_what_a_cpu_is_too_slow_for_is_counted_and_never_built(capsys, nothing_built):
    runs = preset("paper-360m")[:2]
    told = said(runs, capsys)
    assert "for a GPU: attention, mamba (354 million parameters)" in told
    assert "30 billion tokens" in told
    hours = round(sum(cost([run]).run_flops for run in runs) / UNIT / 3600)
    assert f"take {hours} GPU hours if a GPU sustains 100 TFLOP/s" in told


def test_a_list_is_timed_as_far_as_it_fits(capsys):
    told = said([TINY, preset("small")[0]], capsys)
    assert "from real steps of 1 shapes" in told
    assert "for a GPU: attention (33.6 million parameters)" in told
    assert "the 1 run not timed take" in told


def test_a_shape_that_runs_out_of_memory_is_named(monkeypatch):
    def lacking(*given):
        raise MemoryError("nothing left")

    monkeypatch.setattr(lm_estimate, "time_rows", lacking)
    found = lm_estimate.estimate([TINY], lambda done, of: None, Execution())
    assert not found.shapes
    assert found.notes[0].startswith("not timed, for want of memory: metala")


def test_costs_are_those_of_the_model_that_is_trained():
    model, found = build(TINY), cost([TINY, TINY])
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.flops == flops.per_token(model, TINY.seq_len)
    assert found.run_flops == found.flops * 3 * 4 * 16
    assert found.all_flops == 2 * found.run_flops
    assert found.bytes > 16 * found.parameters


def test_disk_is_of_weights_and_of_two_checkpoints():
    found = cost([TINY, TINY])
    one = found.parameters
    told = lm_costs.disk([found])
    assert told.startswith(
        f"on disk: {size(8 * one)} for the trained models, up to {size(4 * one)}"
    )
    assert f"{size(24 * one)} for the checkpoints" in told


def test_numbers_are_short():
    assert [short(n) for n in (4096, 1.5e6, 15e9, 1.8e12)] == [
        "4,096",
        "1.5 million",
        "15 billion",
        "1.8 trillion",
    ]
    assert [size(n) for n in (3.3e6, 5.66e9)] == ["3.3 MB", "5.66 GB"]
    assert [span(n, str) for n in ((2, 1, 3), (2, 2))] == ["1 to 3", "2"]
