"""A sweep: what it skips, what becomes a row, in which order, and what it says."""

import io
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from results.store import Store
from runners.engines import Reached, Started, make
from runners.execution import Execution
from runners.progress import Bars, Lines, View, duration, titles
from runners.sweep import sweep
from runners.time_left import Left
from tests import light
from tests.light import Light, engine


def statuses(rows):
    return [row["status"] for row in rows]


def test_a_finished_run_is_not_done_again(tmp_path):
    first = sweep([Light("a"), Light("b")], tmp_path, engine())
    second = sweep([Light("b"), Light("c")], tmp_path, engine())
    assert (first.executed, second.executed) == (2, 1)
    assert second.rows[0] == first.rows[1]


def test_force_does_a_finished_run_again(tmp_path):
    sweep([Light("a")], tmp_path, engine(1))
    assert sweep([Light("a")], tmp_path, engine(1), force=True).executed == 1
    assert len(next(tmp_path.glob("light.*.jsonl")).read_text().splitlines()) == 1
    assert len(list(tmp_path.glob("light.*.jsonl"))) == 2


def test_the_same_run_asked_for_twice_is_done_once(tmp_path):
    assert sweep([Light("a"), Light("a")], tmp_path, engine()).executed == 1


def test_workers_live_through_many_runs(tmp_path):
    rows = sweep([Light(f"m{i}") for i in range(12)], tmp_path, engine(2)).rows
    assert len({row["worker"] for row in rows}) <= 2
    assert len(list(tmp_path.glob("light.*.jsonl"))) <= 2


def test_an_exception_becomes_a_row_and_the_sweep_goes_on(tmp_path):
    swept = sweep([Light("a", "raise"), Light("b")], tmp_path, engine(1))
    assert statuses(swept.rows) == ["failed", "ok"]
    assert swept.failed[0]["error"].startswith("ArithmeticError: seven is not eight (light.py:")
    assert swept.failed == [row for row in Store(tmp_path).read("light") if row.get("error")]


def threes(runs):
    return light.groups_of(3, runs)


def test_a_group_is_one_workers_work_and_every_run_of_it_gets_a_row(tmp_path):
    runs = [Light(f"m{i}") for i in range(6)]
    swept = sweep(runs, tmp_path, engine(2), groups=threes, presets={"m4-ok": "quick"})
    assert [row["stacked"] for row in swept.rows] == [3] * 6
    assert [row["preset"] for row in swept.rows] == ["", "", "", "", "quick", ""]
    assert all(len({row["worker"] for row in swept.rows[i : i + 3]}) == 1 for i in (0, 3))
    assert swept.executed == 6


def test_an_exception_in_a_group_fails_what_has_no_row_yet(tmp_path):
    runs = [Light("a"), Light("b", "raise"), Light("c"), Light("d")]
    swept = sweep(runs, tmp_path, engine(1), groups=threes)
    assert statuses(swept.rows) == ["ok", "failed", "failed", "ok"]
    assert "seven is not eight" in swept.rows[2]["error"]
    assert swept.rows[3]["worker"] != swept.rows[0]["worker"]


def test_a_run_that_its_group_leaves_out_fails(tmp_path):
    swept = sweep([Light("a"), Light("b", "leave out")], tmp_path, engine(1), groups=threes)
    assert statuses(swept.rows) == ["ok", "failed"]
    assert "without a row" in swept.rows[1]["error"]


def test_a_group_has_the_time_of_its_runs_together(tmp_path):
    slow = [Light("a", seconds=0.9), Light("b"), Light("c")]
    assert not sweep(slow, tmp_path, engine(1), groups=threes, timeout=0.7).failed
    slow = [Light("d"), Light("e", seconds=60), Light("f")]
    swept = sweep(slow, tmp_path, engine(1), groups=threes, timeout=0.4)
    assert statuses(swept.rows) == ["ok", "timeout", "timeout"]
    assert swept.rows[1]["error"] == "not done after 1.2 seconds, 3 together"


def test_workers_are_told_how_to_execute(tmp_path):
    how = Execution(stack=2, graph=False, compile=True)
    (row,) = sweep([Light("a")], tmp_path, engine(1), execution=how).rows
    places = {name: str(tmp_path / name) for name in ("checkpoints", "models")}
    assert row["execution"] == asdict(how) | places


def test_time_left_counts_what_is_stacked_once():
    now = time.monotonic()
    one, two = [Light("a", seed=i, updates=10) for i in (1, 2)], [Light("a", seed=3, updates=10)]
    left = Left([one, two], 1, lambda run: run.updates)
    with pytest.MonkeyPatch.context() as patch:
        for step in (0, 5):
            patch.setattr(time, "monotonic", lambda step=step: now + 2 * step)
            for run in one:
                left.event(Reached(run, "1", step, None) if step else Started(run, "1"))
        # 10 seconds for 5 of 10 updates of two runs at once: a run costs 10 seconds
        assert left.seconds() == pytest.approx(5 + 5 + 10)
        left.event(Started(two[0], "2"))
        assert left.seconds() == pytest.approx(20 / 2)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_worker_that_dies_leaves_a_row_and_is_replaced(tmp_path, name):
    swept = sweep([Light("a", name), Light("b"), Light("c")], tmp_path, engine(1))
    assert statuses(swept.rows) == ["failed", "ok", "ok"]
    assert name in swept.rows[0]["error"]
    assert Store(tmp_path).read("light")[0]["model"] in "abc"


def test_a_run_over_its_time_becomes_a_row_and_the_sweep_goes_on(tmp_path):
    runs = [Light("a", seconds=60), Light("b")]
    swept = sweep(runs, tmp_path, engine(1), timeout=0.5)
    assert statuses(swept.rows) == ["timeout", "ok"]
    assert 0.5 <= swept.rows[0]["seconds"] < 5


def test_a_failed_run_is_tried_again_next_time(tmp_path):
    sweep([Light("a", "raise"), Light("b")], tmp_path, engine())
    assert sweep([Light("a", "raise"), Light("b")], tmp_path, engine()).executed == 1


def test_a_diverged_run_is_a_result_and_not_tried_again(tmp_path):
    run = Light("a")
    Store(tmp_path).append({"key": run.key, "task": "light", "status": "diverged", "model": "a"})
    swept = sweep([run], tmp_path, engine())
    assert (swept.executed, swept.failed) == (0, [])


def test_a_changed_plugin_makes_its_rows_stale(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("SPEC = 1")
    row = {"key": Light("a").key, "task": "light", "status": "ok", "model": "a"}
    Store(tmp_path).append({**row, "plugin_sha256": "of another content"})
    assert sweep([Light("a")], tmp_path, engine(), plugins={"a": file}).executed == 1


def test_the_most_expensive_run_comes_first(tmp_path):
    started = []

    class Order(View):
        def event(self, event):
            started.extend([event.run.key] if isinstance(event, Started) else [])

    runs = [Light("a", updates=2), Light("b", updates=9), Light("c", updates=5)]
    sweep(runs, tmp_path, engine(1), cost=lambda run: run.updates, view=Order())
    assert started == ["b-ok", "c-ok", "a-ok"]


def test_rows_name_the_preset_of_their_run(tmp_path):
    runs = [Light("a"), Light("b")]
    rows = sweep(runs, tmp_path, engine(1), presets={Light("a").key: "quick"}).rows
    assert [row["preset"] for row in rows] == ["quick", ""]


def test_a_torn_line_is_named_and_its_run_done_again(tmp_path):
    sweep([Light("a"), Light("b")], tmp_path, engine(1))
    file = next(tmp_path.glob("light.*.jsonl"))
    file.write_bytes(file.read_bytes()[:-9])
    stream = io.StringIO()
    assert sweep([Light("a"), Light("b")], tmp_path, engine(1), view=Lines(stream)).executed == 1
    assert f"{file}: 1 line" in stream.getvalue()
    assert Path(f"{file}.damaged").exists()


def test_a_folder_that_cannot_be_written_ends_the_sweep_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        sweep([Light("a"), Light("b")], tmp_path / "file" / "runs", engine(1))


def test_workers_that_cannot_start_end_the_sweep_with_their_last_words(tmp_path):
    broken = light.Local(1, devices=[], command=("python3", "-c", "raise SystemExit('no torch')"))
    with pytest.raises(RuntimeError, match=r"3 workers in a row could not start.*no torch"):
        sweep([Light("a")], tmp_path, broken)


def test_each_gpu_gets_its_own_workers(tmp_path):
    assert light.Local(2, devices=["3", "5"]).jobs == 4
    assert make("local", 3).jobs >= 3
    with pytest.raises(ValueError, match="type --engine local"):
        make("locla")


def test_progress_says_how_many_and_what_came_out(tmp_path):
    stream = io.StringIO()
    runs = [Light("a"), Light("b"), Light("c", "raise")]
    sweep(runs, tmp_path, engine(1), view=Lines(stream))
    said = stream.getvalue()
    assert "3 runs: 3 to do, 1 at a time" in said
    assert "group" not in said
    assert "1/3 a: score 0.500, 5 updates, 0.0 s" in said
    assert "failed after 0.0 s: ArithmeticError" in said


def test_bars_end_with_every_run_and_keep_the_lines(tmp_path):
    stream = io.StringIO()
    bars = Bars(stream)
    sweep([Light("a"), Light("b", "SIGKILL")], tmp_path, engine(1), view=bars)
    assert not bars.running
    assert "ended by SIGKILL" in stream.getvalue()


def test_titles_name_the_model_and_only_what_tells_runs_apart():
    assert list(titles([Light("a", seconds=1e-3)]).values()) == ["a"]
    assert list(titles([Light("a"), replace(Light("a"), seconds=0.001, act="b")]).values()) == [
        "a act ok",
        "a act b",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1.23, "1.2 s"), (41, "41 s"), (312, "5.2 min"), (12240, "3.4 h"), (1e6, "12 days")],
)
def test_durations_read_as_people_say_them(seconds, words):
    assert duration(seconds) == words


def test_stored_rows_are_plain_json(tmp_path):
    sweep([Light("a")], tmp_path, engine(1))
    (line,) = next(tmp_path.glob("light.*.jsonl")).read_text().splitlines()
    assert json.loads(line)["key"] == "a-ok"
