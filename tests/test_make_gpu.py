"""make gpu on a machine without a GPU: parts that fail, hang or are missing, and what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
import torch

import zoo
from runners import bench_shapes, gpu
from runners.commands import bench, parse
from runners.gpu_part import Part, Runner
from runners.gpu_report import MOST, Report

ROOT = Path(__file__).parents[1]
PASSES = "print('tests/test_a.py::test_one[x y] PASSED [ 50%]')"
FAILS = "print('tests/test_b.py::test_two FAILED [100%]'); raise SystemExit(1)"
HANGS = "import time; print('tests/test_c.py::test_three PASSED', flush=True); time.sleep(60)"


def fake(name: str, code: str, **options: float) -> Part:
    return Part(name, (sys.executable, "-c", code), **{"least": 0.1, **options})  # pyright: ignore


def row(rows: Path, name: str = "a", status: str = "ok", size: int = 0) -> str:
    """Code that adds a row to the store."""
    line = {"kind": "op", "name": name, "status": status, "median_seconds": 2e-3, "x": "x" * size}
    path = rows / f"bench.{name}.jsonl"
    return f"open({str(path)!r}, 'a').write({json.dumps(line)!r} + chr(10))"


@pytest.fixture
def run(tmp_path, capsys):
    """A call with fake parts: exit code, summary, printed table."""
    report = Report(tmp_path / "out", {"gpu": "none"}, tmp_path / "rows", 9.0)

    def done(marked=(), others=(), measured=(), seconds=20.0):
        (tmp_path / "scratch").mkdir()
        runner = Runner(ROOT, tmp_path / "scratch")
        deadline = time.monotonic() + seconds
        code = gpu.carry_out(runner, report, marked, others, measured, deadline=deadline)
        summary = json.loads((tmp_path / "out/summary.json").read_text())
        return code, summary, capsys.readouterr().out

    return done


def test_all_well_is_exit_code_0_and_leaves_a_few_small_files(run, tmp_path):
    done = fake("op", row(tmp_path / "rows"))
    code, summary, printed = run([fake("tests a", PASSES)], measured=[done])
    files = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert code == 0
    assert set(files) == {"summary.json", "summary.md", "tests.txt", "log.txt", "bench.gpu1.jsonl"}
    assert [part["said"] for part in summary["parts"]] == ["1 passed", "rows 1 ok"]
    assert "tests a" in printed
    assert "2.000" in (tmp_path / "out/summary.md").read_text()


def test_a_failing_test_is_exit_code_1_and_the_benches_still_run(run, tmp_path):
    bench = fake("op", row(tmp_path / "rows"))
    code, summary, _ = run([fake("tests b", FAILS), fake("tests a", PASSES)], measured=[bench])
    assert code == 1
    assert summary["failures"] == ["tests/test_b.py::test_two"]
    assert [part["status"] for part in summary["parts"]] == ["failed", "ok", "ok"]


def test_a_test_that_hangs_fails_and_what_it_passed_before_is_known(run):
    begin = time.monotonic()
    code, summary, _ = run([fake("tests c", HANGS)], measured=[fake("op", "")], seconds=3.0)
    assert code == 1
    assert summary["failures"] == ["tests c: timeout"]
    assert summary["parts"][0]["said"] == "1 passed"
    assert time.monotonic() - begin < 10


def test_the_other_tests_may_run_out_of_time_but_must_not_fail(run):
    code, summary, _ = run(
        others=[fake("tests c others", HANGS)], measured=[fake("op", "")], seconds=3
    )
    assert (code, summary["failures"]) == (0, [])


def test_a_failing_other_test_is_exit_code_1(run):
    assert run(others=[fake("tests b others", FAILS)])[0] == 1


def test_a_bench_that_crashes_or_hangs_keeps_its_rows_and_the_other_benches(run, tmp_path):
    rows = tmp_path / "rows"
    torn = f"open({str(rows / 'bench.a.jsonl')!r}, 'a').write('{{\"kind\": {{}}')"
    crash = fake("crash", f"{row(rows, 'a')}; {torn}; import os; os.abort()")
    hang = fake("hang", row(rows, "b", "oom") + "; import time; time.sleep(60)")
    code, summary, _ = run(measured=[crash, hang, fake("op", row(rows, "c"))], seconds=6.0)
    said = [(part["status"], part["said"]) for part in summary["parts"]]
    assert said == [("failed", "rows 1 ok"), ("timeout", "rows 1 oom"), ("ok", "rows 1 ok")]
    assert code == 0
    assert "== crash: failed" in (tmp_path / "out/log.txt").read_text()


def test_a_bench_for_which_too_little_time_is_left_is_skipped(run):
    parts = [fake("op", "", weight=1.0), fake("step", "", least=30.0)]
    _, summary, printed = run(measured=parts)
    assert [part["status"] for part in summary["parts"]] == ["ok", "skipped"]
    assert "skipped" in printed


def test_time_that_a_bench_does_not_use_goes_to_the_next(run):
    _, summary, _ = run(measured=[fake("op", ""), fake("step", "")], seconds=20.0)
    first, second = (part["limit"] for part in summary["parts"])
    assert first == pytest.approx(10, abs=0.5)
    assert 15 < second <= 20


def test_children_of_a_part_end_with_it(run, tmp_path):
    told = tmp_path / "pid"
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(told)!r}, "w").write(str(child.pid)); time.sleep(60)"""
    run(measured=[fake("op", code)], seconds=3.0)
    status = Path(f"/proc/{told.read_text()}/status")
    assert not status.exists() or "Z (zombie)" in status.read_text()


def test_a_part_that_refuses_to_stop_is_ended(run):
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    _, summary, _ = run(measured=[fake("op", code)], seconds=2.0)
    assert summary["parts"][0]["status"] == "timeout"
    assert summary["parts"][0]["code"] == -signal.SIGKILL


def test_many_rows_are_cut_into_two_files_and_the_rest_is_counted(run, tmp_path):
    code = f"for i in range(31): {row(tmp_path / 'rows', size=90_000)}"
    _, summary, _ = run(measured=[fake("op", code)])
    files = sorted((tmp_path / "out").glob("bench.gpu*.jsonl"))
    assert [path.name for path in files] == ["bench.gpu1.jsonl", "bench.gpu2.jsonl"]
    assert all(path.stat().st_size <= MOST for path in files)
    kept = sum(len(path.read_text().splitlines()) for path in files)
    assert summary["rows_left_out"] == 31 - kept > 0


def test_the_parts_that_are_asked_for_are_taken():
    parts = [*gpu.tests(ROOT)[0], *gpu.benches(Path("rows"))]
    assert {part.name for part in gpu.chosen(parts, ["op"])} == {
        f"op {shape.name}" for shape in bench_shapes.LARGE
    }
    assert len(gpu.chosen(parts, [])) == len(parts)


def test_every_file_with_gpu_tests_has_a_part():
    marked, others = gpu.tests(ROOT)
    names = {part.name for part in marked}
    assert "tests test_kernels_convolution" in names
    assert "tests test_arrows" not in names
    assert "tests test_kernels_convolution others" in {part.name for part in others}


def test_what_a_part_of_tests_prints_is_understood(run):
    """Without a GPU every one of them is skipped."""
    part = gpu.pytest(ROOT / "tests/test_kernels_convolution.py", "gpu")
    code, summary, _ = run([part], seconds=60.0)
    assert summary["parts"][0]["said"].endswith(" skipped")
    assert code == 0


@pytest.mark.parametrize("part", gpu.benches(Path("rows")), ids=lambda part: part.name)
def test_every_bench_is_a_command_that_lazoo_takes(part):
    module, rest = part.command[2], part.command[3:]
    if module == "runners.gpu_facts":
        return
    assert rest[0] == "bench"
    given = parse(cast("type[bench.Common]", bench.Arguments), "bench", rest[1:], bench.EXAMPLES)
    known = (*zoo.names(), *bench_shapes.BY_NAME)
    assert set(getattr(given, "names", ())) <= set(known)


def test_without_a_gpu_it_says_so_and_runs_nothing(capsys, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    assert gpu.main(["--out", str(tmp_path / "out")]) == 2
    assert "sees no NVIDIA GPU, so nothing was run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_packages_are_all_named(monkeypatch, capsys):
    find = gpu.importlib.util.find_spec
    missing = ("tyro", "pydantic")
    monkeypatch.setattr(
        gpu.importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    assert gpu.main([]) == 2
    assert "lacks pydantic, tyro." in capsys.readouterr().err


def test_it_starts_without_any_library():
    code = "import sys, runners.gpu; print(sys.modules.keys() & {'torch', 'numpy', 'tyro'})"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_stopped_call_ends_its_parts_and_keeps_what_was_found(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from runners import gpu
from runners.gpu_part import Part, Runner
from runners.gpu_report import Report
here = Path({str(tmp_path)!r})
runner = Runner(here, here)
tests = [Part("tests a", (sys.executable, "-c", {PASSES!r}), least=0.1)]
slow = [Part("op", (sys.executable, "-c", "import time; time.sleep(60)"), least=0.1)]
report = Report(here / "out", {{}}, here / "rows", 1.0)
with gpu.stopped_cleanly(runner):
    sys.exit(gpu.carry_out(runner, report, tests, [], slow, deadline=time.monotonic() + 60))"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    summary = tmp_path / "out/summary.json"
    while not summary.exists() or not (tmp_path / "op.out").exists():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(10) == 130
    assert json.loads(summary.read_text())["parts"][0]["said"] == "1 passed"
