"""The store: what was written is read again, whatever happened to the writers and the files."""

import errno
import json
import math
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import tables
from results.store import Store, union

ROOT = Path(__file__).parents[1]
synthetic = runpy.run_path(str(Path(__file__).with_name("synthetic.py")))
row = synthetic["row"]


def keys(rows):
    return {r["key"] for r in rows}


def test_a_row_comes_back_as_it_was(tmp_path):
    written = row(value=0.1 + 0.2, curve_steps=[1, 2], error="gradient norm ∞ | \n second line")
    Store(tmp_path / "new" / "folder").append(written)
    assert Store(tmp_path / "new" / "folder").read("mqar") == [written]


def test_nan_and_numpy_numbers_become_plain_json(tmp_path):
    path = Store(tmp_path).append(
        row(value=float("nan"), train_loss=[math.inf, 1.0], steps=np.int64(7), lr=np.float64(0.1))
    )
    assert "NaN" not in path.read_text()
    read = json.loads(path.read_text())
    assert (read["value"], read["train_loss"], read["steps"]) == (None, [None, 1.0], 7)
    assert read["lr"] == 0.1


def test_every_store_writes_to_a_file_of_its_own(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    paths = {store.append(row(seed=seed)) for seed, store in enumerate([first, second, first])}
    assert len(paths) == 2
    assert all(path.name.startswith("mqar.") and path.suffix == ".jsonl" for path in paths)
    assert len(Store(tmp_path).read("mqar")) == 3


def python(code, *arguments):
    """A process of its own; `row(n)` is a row whose key is n."""
    start = "import os, resource, signal, sys; from results.store import Store\n"
    start += "row = lambda n, **more: {'key': str(n), 'task': 'mqar', 'status': 'ok', **more}\n"
    command = [sys.executable, "-c", start + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_fork_does_not_write_to_its_parents_file(tmp_path):
    code = """
store = Store(sys.argv[1])
store.append(row(0))
if os.fork() == 0:
    store.append(row(1))
    os._exit(0)
os.wait()
"""
    python(code, tmp_path).communicate(timeout=60)
    assert len(list(tmp_path.glob("mqar.*.jsonl"))) == 2
    assert keys(Store(tmp_path).read("mqar")) == {"0", "1"}


def test_a_kill_loses_no_row_that_append_returned_for(tmp_path):
    code = """
store = Store(sys.argv[1])
for n in range(10**6):
    store.append(row(n, error="x" * 50_000))
    print(n, flush=True)
"""
    for attempt in range(3):
        with python(code, tmp_path / str(attempt)) as writer:
            assert writer.stdout is not None
            told = [writer.stdout.readline() for _ in range(5)]
            time.sleep(0.03 * attempt)
            writer.kill()
            told += writer.stdout.read().splitlines()
        found = keys(Store(tmp_path / str(attempt)).read("mqar"))
        assert found >= {line.strip() for line in told}
        assert found == {str(n) for n in range(len(found))}


@pytest.mark.parametrize("cut", [1, 2, 100, 400])
def test_a_torn_tail_is_named_set_aside_and_costs_only_itself(tmp_path, cut):
    store = Store(tmp_path)
    path = store.append(row(seed=0))
    store.append(row(seed=1))
    path.write_bytes(path.read_bytes()[:-cut])
    torn = path.read_bytes()
    reader = Store(tmp_path)
    assert [r["seed"] for r in reader.read("mqar")] == [0]
    assert [path.name in line for line in reader.warnings] == [True]
    aside = path.with_name(path.name + ".damaged")
    assert aside.read_bytes() == torn.split(b"\n")[1] + b"\n"
    assert path.read_bytes() == torn


def test_a_new_writer_after_a_torn_tail_is_not_glued_to_it(tmp_path):
    path = Store(tmp_path).append(row(seed=0))
    path.write_bytes(path.read_bytes()[:-5])
    Store(tmp_path).append(row(seed=1))
    assert [r["seed"] for r in Store(tmp_path).read("mqar")] == [1]


@pytest.mark.parametrize(
    "line",
    [b"hello", b"[1, 2]", b'"text"', b"{}", b'{"key": 1}', b"\xff\xfe", b"\0" * 40, b'{"a": NaN}'],
)
def test_a_foreign_line_does_not_hide_the_rows_around_it(tmp_path, line):
    store = Store(tmp_path)
    path = store.append(row(seed=0))
    path.write_bytes(path.read_bytes() + line + b"\n")
    store.append(row(seed=1))
    reader = Store(tmp_path)
    assert len(reader.read("mqar")) == 2
    assert path.with_name(path.name + ".damaged").read_bytes() == line + b"\n"


def test_reading_twice_changes_nothing(tmp_path):
    path = Store(tmp_path).append(row())
    path.write_bytes(path.read_bytes() + b"torn")
    reader = Store(tmp_path)
    first, said = reader.read("mqar"), reader.warnings
    files = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    assert (reader.read("mqar"), reader.warnings) == (first, said)
    assert files == {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}


def test_a_row_that_was_still_being_written_is_read_once_it_is_complete(tmp_path):
    path = Store(tmp_path).append(row())
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    reader = Store(tmp_path)
    assert reader.read("mqar") == []
    assert len(reader.warnings) == 1
    path.write_bytes(whole)
    assert len(reader.read("mqar")) == 1
    assert reader.warnings == []


def test_a_read_only_folder_can_be_read(tmp_path, monkeypatch):
    path = Store(tmp_path).append(row())
    path.write_bytes(path.read_bytes() + b"torn")

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    reader = Store(tmp_path)
    assert len(reader.read("mqar")) == 1
    assert "Read-only" in reader.warnings[0]


def test_a_folder_that_is_not_there_has_no_rows(tmp_path):
    assert Store(tmp_path / "nowhere").read("mqar") == []


def test_tasks_with_a_common_beginning_do_not_mix(tmp_path):
    Store(tmp_path).append(row())
    Store(tmp_path).append({**row(), "task": "mqar-long"})
    assert [r["task"] for r in Store(tmp_path).read("mqar")] == ["mqar"]


def test_ok_beats_a_failure_and_otherwise_the_newest_wins(tmp_path):
    store = Store(tmp_path)
    ok = row(key="a", time="2026-01-01T00:00:00+00:00", value=0.5)
    store.append(ok)
    store.append({**ok, "status": "failed", "value": None, "time": "2026-01-03T00:00:00+00:00"})
    assert store.read("mqar") == [ok]
    newer = {**ok, "value": 0.6, "time": "2026-01-02T00:00:00+00:00"}
    store.append(newer)
    assert store.read("mqar") == [newer]


def test_merging_is_copying_files_and_doing_it_twice_changes_nothing(tmp_path):
    for name, seeds in (("one", (0, 1, 2)), ("two", (2, 3))):
        for seed in seeds:
            Store(tmp_path / name).append(row(seed=seed))
    for source in ("one", "two", "one", "two"):
        for path in (tmp_path / source).iterdir():
            (tmp_path / "merged").mkdir(exist_ok=True)
            (tmp_path / "merged" / path.name).write_bytes(path.read_bytes())
    merged = Store(tmp_path / "merged").read("mqar")
    assert merged == union(
        Store(tmp_path / "two").read("mqar") + Store(tmp_path / "one").read("mqar")
    )
    assert [r["seed"] for r in merged] == [0, 1, 2, 3]


ROWS = st.builds(
    lambda key, status, second, value: row(
        key=key, status=status, time=f"2026-01-01T00:00:0{second}+00:00", value=value
    ),
    st.sampled_from("abc"),
    st.sampled_from(["ok", "failed"]),
    st.integers(0, 2),
    st.sampled_from([0.1, 0.2]),
)


@given(st.lists(ROWS, max_size=8), st.randoms())
def test_union_does_not_depend_on_order_or_repetition(rows, random):
    shuffled = rows + rows[:2]
    random.shuffle(shuffled)
    assert union(shuffled) == union(rows) == union(union(rows))


def test_a_full_disk_names_path_and_size_and_leaves_whole_lines(tmp_path, monkeypatch):
    store = Store(tmp_path)
    path = store.append(row(seed=0))
    write = os.write

    def half(file, data):
        if len(data) < 200:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, bytes(data[: len(data) // 2]))

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match=r"a row of [\d,]+ bytes") as caught:
        store.append(row(seed=1))
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
    monkeypatch.undo()
    assert path.read_bytes().endswith(b"}\n")
    assert store.append(row(seed=2)) != path
    assert [r["seed"] for r in store.read("mqar")] == [0, 2]


def test_a_write_that_the_kernel_cuts_short_is_undone(tmp_path):
    code = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(sys.argv[1])
path = store.append(row(0))
limit = path.stat().st_size + 20
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    store.append(row(1))
except OSError as error:
    print(error.errno, error.filename == str(path))
"""
    output, _ = python(code, tmp_path).communicate(timeout=60)
    assert output.split() == [str(errno.EFBIG), "True"]
    reader = Store(tmp_path)
    assert keys(reader.read("mqar")) == {"0"}
    assert reader.warnings == []


@pytest.mark.parametrize(
    ("broken", "named"),
    [({"key": ""}, "key"), ({"status": None}, "status"), ({"task": "lra/text"}, "lra/text")],
)
def test_a_row_that_no_reader_could_place_is_refused(tmp_path, broken, named):
    with pytest.raises(ValueError, match=named):
        Store(tmp_path).append(row(**broken))
    assert list(tmp_path.iterdir()) == []


def test_a_thousand_rows_become_a_table_within_two_seconds(tmp_path):
    rows = synthetic["sweep"](widths=(16, 32, 64, 128, 256), rates=(1e-3, 1e-2), seeds=13)
    store = Store(tmp_path)
    path = store.append(rows[0])
    with path.open("a") as file:  # append's fsync a thousand times is not what is measured
        file.writelines(json.dumps(r) + "\n" for r in rows[1:])
    begin = time.process_time()
    found = Store(tmp_path).read("mqar")
    assert "13 seeds" in tables.render("mqar", found)
    assert time.process_time() - begin < 2
    assert len(found) == 1040
