"""kill -9, SIGTERM and Ctrl-C: no finished row is lost, no worker is left behind."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results.store import Store
from tests import light

KILLS, RUNS, SECONDS = 20, 400, 0.05
ROOT = Path(__file__).parents[1]
GONE = 10.0  # seconds after which no worker may be left


class Driver:
    """A sweep in a process of its own, with two workers. said: what it reported as finished."""

    def __init__(self, out, runs=RUNS, seconds=SECONDS, size=1):
        self.out = out
        numbers = [str(number) for number in (runs, seconds, size)]
        command = [sys.executable, "-P", light.__file__, "drive", str(out), *numbers]
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def workers(self):
        """Process ids of the workers alive."""
        (pid, children) = self.process.pid, []
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            children += task.read_text().split()
        return sorted(map(int, children))

    def wait_until_busy(self):
        """Until it has begun a run, or has ended."""
        before = executions(self.out)
        while executions(self.out) == before and self.process.poll() is None:
            time.sleep(0.01)

    def end(self):
        """Finished runs that it named, its standard error, its exit code."""
        out, err = self.process.communicate(timeout=60)
        return set(out.split()), err, self.process.returncode


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_gone(pids):
    until = time.monotonic() + GONE
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [pid for pid in pids if alive(pid)]


def stored(out):
    """Keys with a row that says ok; every line of every file must be whole."""
    store = Store(out)
    rows = store.read("light")
    assert store.warnings == []
    return {row["key"] for row in rows if row["status"] == "ok"}


def lines(out):
    return [line for file in out.glob("light.*.jsonl") for line in file.read_text().splitlines()]


def executions(out):
    return sum(len(file.read_text().split()) for file in (out / "diary").glob("*"))


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def kill(driver, dice, worker_first):
    """Ends a sweep with kill -9. Returns: the keys it had reported; none of its workers is left."""
    assert driver.process.poll() is None
    workers = driver.workers()
    if worker_first and workers:
        os.kill(dice.choice(workers), signal.SIGKILL)
        time.sleep(dice.uniform(0.0, 0.3))  # the sweep goes on without that worker
        workers = sorted({*workers, *driver.workers()})
    driver.process.kill()
    said = driver.end()[0]
    assert_gone(workers)
    return said


@linux
def test_twenty_kills_lose_no_finished_row_and_repeat_only_what_was_cut_off(tmp_path):
    dice, known = random.Random(20), set()
    for i in range(KILLS):
        driver = Driver(tmp_path)
        if i % 5:  # else it may still be starting
            driver.wait_until_busy()
        time.sleep(dice.uniform(0.0, 0.3))
        said = kill(driver, dice, worker_first=i % 2)
        assert known | said <= stored(tmp_path)
        known = stored(tmp_path)
    before = executions(tmp_path)
    assert Driver(tmp_path).end()[2] == 0
    assert stored(tmp_path) == {run.key for run in light.many(tmp_path, RUNS, SECONDS)}
    assert executions(tmp_path) - before == RUNS - len(known)
    assert executions(tmp_path) <= RUNS + 3 * KILLS  # two workers, and one more that died
    assert sum('"status": "ok"' in line for line in lines(tmp_path)) == RUNS


def wait_until_stored(driver, count):
    while len(lines(driver.out)) < count:
        assert driver.process.poll() is None
        time.sleep(0.01)


@linux
def test_a_kill_within_a_group_costs_only_its_unfinished_rows(tmp_path):
    three = {run.key for run in light.many(tmp_path, 3, 1.5)}
    driver = Driver(tmp_path, runs=3, seconds=1.5, size=3)
    wait_until_stored(driver, 1)
    said = kill(driver, random.Random(0), worker_first=False)
    first = stored(tmp_path)
    assert len(first) == 1
    assert said <= first
    before = executions(tmp_path)
    again = Driver(tmp_path, runs=3, seconds=1.5, size=3)
    said, err, code = again.end()
    assert (code, said) == (0, three - first)
    assert "3 runs: 1 already done, 2 to do in 1 group" in err
    assert executions(tmp_path) - before == 2
    assert stored(tmp_path) == three


@linux
def test_a_worker_killed_within_a_group_leaves_a_row_for_each_of_its_runs(tmp_path):
    driver = Driver(tmp_path, runs=3, seconds=1.5, size=3)
    wait_until_stored(driver, 1)
    os.kill(driver.workers()[0], signal.SIGKILL)
    assert driver.end()[2] == 0
    rows = Store(tmp_path).read("light")
    assert sorted(row["status"] for row in rows) == ["failed", "failed", "ok"]
    assert sum("SIGKILL" in row.get("error", "") for row in rows) == 2
    assert len(lines(tmp_path)) == 3


@linux
@pytest.mark.parametrize(("name", "cause"), [("SIGINT", "Ctrl-C"), ("SIGTERM", "SIGTERM")])
def test_a_polite_end_keeps_whole_rows_and_leaves_no_worker(tmp_path, name, cause):
    driver = Driver(tmp_path)
    driver.wait_until_busy()
    time.sleep(0.3)
    workers = driver.workers()
    driver.process.send_signal(signal.Signals[name])
    said, err, code = driver.end()
    assert_gone(workers)
    assert code == 128 + signal.Signals[name]
    assert f"stopped by {cause}: {len(stored(tmp_path))} of {RUNS} runs are done" in err
    assert said <= stored(tmp_path)


@linux
def test_a_long_run_does_not_outlive_its_killed_driver(tmp_path):
    driver = Driver(tmp_path, runs=2, seconds=600)
    driver.wait_until_busy()
    workers = driver.workers()
    driver.process.kill()
    driver.end()
    assert_gone(workers)


TINY = shlex.split(
    "--model attention --d-model 8 --vocabulary 32 --length 16 --pairs 2 --train-rows 64"
    " --valid-rows 8 --test-rows 8 --batch 8 --evaluate-every 4 --stop-at 1.01 --seed 0 1 2 3"
)


def lazoo(out, *flags):
    command = [sys.executable, "-m", "runners.cli", "mqar", *TINY, "--jobs", "1", "--out", str(out)]
    return subprocess.Popen([*command, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def read_until(process, words):
    """Its standard error up to the line with these words."""
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def test_lazoo_goes_on_after_kill_and_says_how_after_ctrl_c(tmp_path):
    killed = lazoo(tmp_path, "--updates", "8")
    read_until(killed, "1/4")
    killed.kill()
    killed.communicate()
    rows = Store(tmp_path).read("mqar")
    again = lazoo(tmp_path, "--updates", "8", "100000")
    said = read_until(again, "to do")
    assert f"8 runs: {len(rows)} already done, {8 - len(rows)} to do" in said
    again.send_signal(signal.SIGINT)
    _, err = again.communicate(timeout=30)
    assert again.returncode == 130
    assert "stopped by Ctrl-C: " in err
    typed = [*TINY, "--jobs", "1", "--out", str(tmp_path), "--updates", "8", "100000"]
    assert err.rstrip().endswith(f"lazoo mqar {' '.join(typed)}")
