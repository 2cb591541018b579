"""`make gpu`: the GPU tests and every bench, within minutes, with this interpreter as it is.

It installs nothing and needs no network. Every part is a process with a time limit of its own. What
was found lies in one folder of a few small files, brought up to date after each part.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from runners.gpu_part import Outcome, Part, Runner
from runners.gpu_report import Report

ROOT = Path(__file__).resolve().parents[1]
MINUTES = 9.0
TESTS, TESTS_SHARE = 240.0, 0.45  # seconds and share of all time that the tests may have at most
LEFT_OVER = 8.0  # seconds at the end
AT_ONCE = 6  # test files; they are not timed
TESTING = ("pytest", "hypothesis", "triton")
MODULES = {"pillow": "PIL"}  # of packages whose module has another name
LENGTHS = ("512", "2048", "8192", "32768", "65536")
MODELS = ("metala", "attention", "mamba", "gla", "hgrn", "mamba2")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 all well, 1 a test failed or did not finish, 2 nothing could be run."""
    given = arguments(argv)
    begin = time.monotonic()
    if problem := lacks():
        print(f"make gpu: {problem}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(ROOT, Path(folder))
        with stopped_cleanly(runner):
            return asked(given, runner, Path(folder), begin)


def asked(given: argparse.Namespace, runner: Runner, scratch: Path, begin: float) -> int:
    facts = runner.run(child("facts", "-m", "runners.gpu_facts"), 90)
    if facts.status != "ok":
        print(facts.errors, file=sys.stderr)
        print(f"make gpu: torch did not answer ({facts.status})", file=sys.stderr)
        return 2
    known = json.loads(facts.output.splitlines()[-1])
    if not known["gpu"]:
        said = f"torch {known['torch']} sees no NVIDIA GPU, so nothing was run"
        print(f"make gpu: {said}; make test needs none", file=sys.stderr)
        return 2
    report = Report(given.out, known, scratch / "rows", given.minutes)
    plan = [chosen(parts, given.only) for parts in (*tests(ROOT), benches(report.rows))]
    return carry_out(runner, report, *plan, deadline=begin + 60 * given.minutes - LEFT_OVER)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m runners.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="default: runs/gpu")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for everything, default: 9")
    only = "parts whose name begins so, such as tests, op or efficiency"
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help=only)
    return parser.parse_args(argv)


def lacks() -> str:
    """What this interpreter is without, and how to go on; empty where it has all."""
    if sys.version_info < (3, 11):  # noqa: UP036  whatever the user has
        return f"Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}"
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.split(r"[^\w-]", line)[0] for line in project["dependencies"]]
    needed = [str(name) for name in (*needed, *TESTING)]
    missing = [n for n in needed if importlib.util.find_spec(MODULES.get(n, n)) is None]
    if not missing:
        return ""
    return (
        f"{sys.executable} lacks {', '.join(missing)}. Nothing is installed here: put them on"
        " PYTHONPATH, or name another interpreter, make gpu PYTHON=..."
    )


@contextmanager
def stopped_cleanly(runner: Runner) -> Iterator[None]:
    """SIGINT and SIGTERM end the parts first, then raise KeyboardInterrupt."""

    def stop(number: int, frame: object) -> None:
        runner.close()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def carry_out(
    runner: Runner,
    report: Report,
    marked: Sequence[Part],
    others: Sequence[Part],
    measured: Sequence[Part],
    *,
    deadline: float,
) -> int:
    """marked: tests that must pass. others: tests that may run out of time. measured: benches."""
    at_once = max(1, min(AT_ONCE, (os.cpu_count() or 1) // 2))
    left = deadline - time.monotonic()
    try:
        limit = min(TESTS, TESTS_SHARE * left) if measured else left
        tested = runner.run_together([*marked, *others], limit, at_once)
        report.tests(tested, len(marked))
        for i, part in enumerate(measured):
            share = part.weight / sum(each.weight for each in measured[i:])
            report.bench(runner.run(part, share * (deadline - time.monotonic())))
    except KeyboardInterrupt:
        print("stopped; what was found is kept", file=sys.stderr)
        report.write()
        return 130
    report.write()
    print(report.table())
    return int(not passed(tested, len(marked)))


def passed(tested: Sequence[Outcome], marked: int) -> bool:
    """A marked test has to end well; another one must not fail."""
    well = all(each.status == "ok" for each in tested[:marked])
    return well and all(each.status != "failed" for each in tested[marked:])


def chosen(parts: Sequence[Part], only: Sequence[str]) -> list[Part]:
    return [part for part in parts if not only or part.name.startswith(tuple(only))]


def tests(root: Path) -> tuple[list[Part], list[Part]]:
    """Files with tests marked gpu, a process each; then what else the tests of kernels have, which
    runs on the GPU where there is one."""
    files = sorted((root / "tests").glob("test_*.py"))
    marked = [path for path in files if "mark.gpu" in path.read_text(encoding="utf-8")]
    kernels = [path for path in files if path.name.startswith("test_kernels_")]
    return [pytest(path, "gpu") for path in marked], [pytest(path, "not gpu") for path in kernels]


def pytest(path: Path, mark: str) -> Part:
    """Without the options of the project, and without errors made of warnings: other versions of
    the libraries may warn of something new."""
    options = ["-m", mark, "-v", "-rfE", "--tb=short", "--color=no", "-p", "no:cacheprovider"]
    options += ["--import-mode=importlib", "-o", "addopts=", "-o", "filterwarnings=default"]
    which = "" if mark == "gpu" else " others"
    none_chosen = 5
    part = child(f"tests {path.stem}{which}", "-m", "pytest", *options, str(path))
    return replace(part, well=(0, none_chosen))


def benches(rows: Path) -> list[Part]:
    """The most important first: what no longer fits is skipped."""
    shapes = ("matrix-tied-large", "vector-large", "ssm-large", "matrix-large")
    quick = ("--repeats", "20", "--seconds", "1")
    # As in a captured step, where the host's part is gone; then launched one by one.
    found = [bench(rows, f"op {x}", "op", x, "--graph", *quick, weight=3) for x in shapes]
    found += [bench(rows, "step", "step", *MODELS, "--steps", "20", weight=3)]
    found += [bench(rows, "sweep", "sweep", "metala", "mamba", "gla", weight=3)]
    found += [bench(rows, f"launched {x}", "op", x, *quick, weight=2) for x in shapes[:1]]
    quick = ("--repeats", "5", "--seconds", "0.3", "--graph", "--length", *LENGTHS)
    found += [bench(rows, f"length {shape}", "op", shape, *quick, weight=2) for shape in shapes[:3]]
    quick = ("--preset", "gpu", "--repeats", "3", "--seconds", "2")
    found += [bench(rows, f"efficiency {x}", "efficiency", x, *quick, weight=2) for x in MODELS]
    return [child("ceilings", "-m", "runners.gpu_facts", "ceilings", weight=2), *found]


def bench(rows: Path, name: str, *words: str, weight: float) -> Part:
    out = ("--device", "cuda", "--out", str(rows))
    return child(name, "-m", "runners.cli", "bench", *words, *out, weight=weight)


def child(name: str, *words: str, weight: float = 1.0) -> Part:
    return Part(name, (sys.executable, *words), weight)


if __name__ == "__main__":
    sys.exit(main())
