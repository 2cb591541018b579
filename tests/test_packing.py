"""Several trainings on one GPU: how many start, and what becomes of those that lack memory."""

from dataclasses import replace

import pytest
import torch

from results.store import Store
from runners.engines import Again, Finished, Said, Started, local
from runners.engines.crew import GIB
from runners.engines.packing import (
    AT_MOST,
    CONTEXT,
    Ledger,
    Memory,
    admits,
    lacked_memory,
    measured,
)
from runners.progress import Bars, View
from runners.sweep import sweep
from tests import light
from tests.light import ROOM, Light


class Seen(View):
    """at_once: runs in progress at each start, the new one included. told: every event's kind."""

    def __init__(self):
        self.running, self.at_once, self.told = set(), {}, []

    def event(self, event):
        self.told.append(type(event))
        if isinstance(event, Started):
            self.running.add(event.run.key)
            self.at_once.setdefault(event.run.key, []).append(len(self.running))
        elif isinstance(event, Again | Finished):
            self.running.discard(event.run.key)

    @property
    def most(self):
        return max(most for counts in self.at_once.values() for most in counts)


@pytest.fixture
def on_gpus(tmp_path, monkeypatch):
    """Sweeps on GPUs that are none, with 16 cores that are none either."""
    monkeypatch.setattr(local, "cores", lambda: 16)
    (tmp_path / "diary").mkdir()

    def run(runs, jobs=0, devices=("0",), **options):
        runs = [replace(each, diary=str(tmp_path / "diary")) for each in runs]
        engine = local.Local(jobs, devices=devices, command=light.COMMAND)
        return sweep(runs, tmp_path, engine, **options).rows

    return run


@pytest.mark.parametrize(
    ("room", "held", "claim", "fits"),
    [
        (1000, [], 2000, True),  # alone a run may always try
        (0, [], 0, True),
        (1000, [300, 300], 300, True),
        (1000, [300, 300], 301, False),  # a tenth stays free
        (1000, [300], 0, False),  # nothing is known of the new one
        (1000, [0], 300, False),  # or of what is there
        (0, [300], 300, False),  # or of the GPU
        (1000, [1] * (AT_MOST - 1), 1, True),
        (1000, [1] * AT_MOST, 1, False),
    ],
)
def test_a_process_is_admitted_where_all_peaks_fit(room, held, claim, fits):
    assert admits(room, held, claim) is fits


def test_a_shape_claims_its_own_peak_and_an_unknown_one_the_largest():
    ledger, a, b = Ledger(), Light("a"), Light("b")
    assert (ledger.claim([a]), ledger.claim(), ledger.room("0")) == (0, 0, 0)
    assert ledger.note("0", [a], Memory(300, 1000))
    assert not ledger.note("0", [b], Memory(500, 600))
    ledger.note("0", [a], Memory(200, 600))
    assert ledger.claim([replace(a, seed=1)]) == 300
    assert ledger.claim([Light("c")]) == ledger.claim([a, replace(a, seed=1)]) == 500
    assert (ledger.room("0"), ledger.room("1")) == (1000, 0)


def test_without_a_gpu_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measured() is None


def test_a_process_counts_cuda_itself_and_finds_room_in_what_others_leave(monkeypatch):
    for name, found in {
        "is_available": True,
        "mem_get_info": (60 * GIB, 80 * GIB),
        "max_memory_reserved": 7 * GIB,
        "memory_reserved": 3 * GIB,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda found=found: found)
    assert measured() == Memory(peak=7 * GIB + CONTEXT, room=63 * GIB + CONTEXT)


@pytest.mark.gpu
def test_a_gpu_is_measured():
    torch.cuda.reset_peak_memory_stats()
    held = torch.empty(GIB, dtype=torch.uint8, device="cuda")
    memory, total = measured(), torch.cuda.get_device_properties(0).total_memory
    assert memory is not None
    assert held.nbytes + CONTEXT <= memory.peak <= memory.room <= total


@pytest.mark.parametrize(
    ("row", "lacked"),
    [
        ({"status": "oom"}, True),
        ({"status": "failed", "error": "RuntimeError: CUBLAS_STATUS_ALLOC_FAILED"}, True),
        ({"status": "failed", "error": "AcceleratorError: CUDA error: out of memory"}, True),
        ({"status": "failed", "error": "ZeroDivisionError"}, False),
        ({"status": "ok", "error": ""}, False),
    ],
)
def test_lack_of_memory_is_told_from_other_ends(row, lacked):
    assert lacked_memory(row) is lacked


def test_as_many_runs_share_a_gpu_as_fit_once_one_is_measured(on_gpus):
    seen = Seen()
    runs = [Light(f"m{i}", seconds=0.5, peak=300) for i in range(8)]
    rows = on_gpus(runs, view=seen)
    assert {row["status"] for row in rows} == {"ok"}
    assert seen.most == 3
    assert seen.told.index(Said) < [i for i, kind in enumerate(seen.told) if kind is Started][1]
    assert len({row["worker"] for row in rows}) == 3


def test_runs_that_do_not_fit_beside_one_another_come_one_by_one(on_gpus):
    seen = Seen()
    on_gpus([Light(f"m{i}", seconds=0.2, peak=ROOM // 2) for i in range(3)], view=seen)
    assert seen.most == 1


def test_small_runs_of_a_known_shape_share_a_gpu_after_a_large_one(on_gpus):
    seen, small = Seen(), [Light("small", seconds=0.5, seed=i, peak=100) for i in range(6)]
    on_gpus([Light("large", seconds=0.1, peak=900, updates=9), *small], view=seen, cost=size)
    assert seen.at_once["large-ok"] == [1]
    assert seen.most > 1


def size(run):
    return run.updates


def test_jobs_are_kept_to_whatever_memory_they_claim(on_gpus):
    seen = Seen()
    runs = [Light(f"m{i}", seconds=0.5, peak=ROOM) for i in range(4)]
    on_gpus(runs, jobs=2, view=seen)
    assert seen.most == 2
    assert Said not in seen.told


def test_each_gpu_is_measured_before_it_is_shared(on_gpus):
    rows = on_gpus([Light(f"m{i}", seconds=0.4, peak=400) for i in range(8)], devices=("3", "5"))
    workers = {(row["gpu"], row["worker"]) for row in rows}
    assert sorted(gpu for gpu, worker in workers) == ["3", "3", "5", "5"]


def test_a_machines_cores_bound_what_a_gpu_is_given(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 6)
    packed = local.Local(devices=["0", "1"])
    assert (packed.jobs, len(packed._slots), packed._threads) == (2, 6, 1)
    monkeypatch.setattr(local, "cores", lambda: 64)
    assert (len(local.Local(devices=["0"])._slots), local.Local(devices=[]).jobs) == (AT_MOST, 64)
    assert len(local.Local(3, devices=["0", "1"])._slots) == 6


def test_a_run_that_lacked_memory_beside_others_is_tried_once_more_alone(on_gpus, tmp_path):
    seen = Seen()
    runs = [Light(f"m{i}", seconds=0.4, peak=200) for i in range(5)]
    rows = on_gpus([*runs, Light("n", "oom once", seconds=0.4, peak=200)], view=seen)
    assert rows[-1]["status"] == "ok"
    first, again = seen.at_once["n-oom once"]
    assert first > 1
    assert again == 1
    assert seen.told.count(Finished) == 6
    assert {row["status"] for row in Store(tmp_path).read("light")} == {"ok"}


def test_a_run_that_lacks_memory_alone_counts_as_it_is(on_gpus):
    seen = Seen()
    (row,) = on_gpus([Light("a", "oom", peak=200)], view=seen)
    assert (row["status"], row["error"]) == ("oom", "no memory the time 1")
    rows = on_gpus([Light(name, "oom", seconds=0.4, peak=200) for name in "bcd"], jobs=3, view=seen)
    assert [row["error"] for row in rows] == ["no memory the time 2"] * 3
    assert [counts[1:] for counts in seen.at_once.values()] == [[], [1], [1], [1]]


def test_what_ends_the_second_try_is_what_counts(on_gpus):
    runs = [Light(name, "oom then SIGKILL", seconds=0.4, peak=200) for name in "ab"]
    rows = on_gpus(runs, jobs=2)
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert "SIGKILL" in rows[0]["error"]


def test_a_group_that_lacks_memory_is_taken_apart_on_a_cpu_too(tmp_path, on_gpus):
    seen = Seen()
    runs = [Light("a", "oom once"), Light("b"), Light("c", "oom")]
    rows = on_gpus(runs, jobs=2, devices=(), groups=lambda runs: [runs], view=seen)
    assert [(row["status"], row["stacked"]) for row in rows] == [("ok", 1), ("ok", 3), ("oom", 1)]
    assert seen.told.count(Again) == 2


def test_bars_and_time_left_begin_anew_with_the_second_try(tmp_path):
    run, bars = Light("a"), Bars()
    bars.begin([[run, Light("b")]], 0, 1, size)
    for event in (Started(run, "1"), Again(run, "1", {}), Started(run, "2")):
        bars.event(event)
    assert list(bars.running) == ["a-ok"]
    assert not any(bars.left.shares.values())
    assert bars.left.parts["a-ok"] == 1
    bars.event(Finished(run, "2", {"status": "ok", "seconds": 0.0}))
    bars.end()
    assert bars.bars.tasks[0].completed == 1
