import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import lra
from tasks.lra import DATASETS, arrays, data, manifest

LISTOPS = replace(DATASETS["listops-short"], rows=lra.rows(60, 20, 20))
EASY = replace(DATASETS["pathfinder-easy"], length=4, rows=lra.rows(6, 2, 2))
TEXT = replace(DATASETS["text"], rows=lra.rows(5, 2, 3), length=8)


def ignore(line):
    pass


def row(*ids):
    return np.array(ids, np.uint8)


@pytest.fixture
def builder(monkeypatch):
    """Puts a function in the place of all builders."""

    def put(build):
        module = types.ModuleType("built_for_a_test")
        module.build = build  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(data, "BUILDERS", dict.fromkeys(lra.TASKS, module.__name__))
        monkeypatch.setattr(data, "SOURCES", {})

    return put


def pixels(dataset, folder, *, tell):
    for split, count in dataset.rows.items():
        inputs = np.arange(count * dataset.length, dtype=np.uint8).reshape(count, dataset.length)
        data.write_split(folder, split, inputs, np.arange(count) % 2)
    return "generated"


def reviews(dataset, folder, *, tell):
    for split, count in dataset.rows.items():
        rows = [np.full(1 + i, 70 + i, np.uint8) for i in range(count)]
        data.write_split(folder, split, rows, [i % 2 for i in range(count)])
    return "download"


@settings(max_examples=30)
@given(st.data())
def test_a_batch_holds_the_rows_then_zeros(tmp_path_factory, drawn):
    folder = tmp_path_factory.getbasetemp()
    rows = drawn.draw(st.lists(st.lists(st.integers(1, 255), min_size=1, max_size=9), min_size=1))
    data.write_split(folder, "train", (row(*ids) for ids in rows), range(len(rows)))
    found = arrays.read(folder, "train", 1, 10)
    chosen = drawn.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=5))
    multiple = drawn.draw(st.integers(1, 12))
    inputs, lengths, labels = found.batch(np.array(chosen), multiple)
    longest = max(len(rows[i]) for i in chosen)
    width = min(-(-longest // multiple) * multiple, 10)
    assert inputs.tolist() == [rows[i] + [0] * (width - len(rows[i])) for i in chosen]
    assert lengths.tolist() == [len(rows[i]) for i in chosen]
    assert labels.tolist() == chosen


def test_a_batch_of_pairs_pads_both_documents_alike(tmp_path):
    pairs = ((row(1, 2), row(3)), (row(4), row(5, 6, 7)))
    data.write_split(tmp_path, "test", iter(pairs), [1, 0], documents=2)
    inputs, lengths, labels = arrays.read(tmp_path, "test", 2, 9).batch(np.array([1, 0]))
    assert inputs.tolist() == [[[4, 0, 0], [5, 6, 7]], [[1, 2, 0], [3, 0, 0]]]
    assert (lengths.tolist(), labels.tolist()) == ([[1, 3], [2, 1]], [0, 1])


def test_rows_of_one_length_are_written_block_by_block(tmp_path):
    labels, held = [], []

    def blocks():
        for i in range(3):
            held.append(sum(file.stat().st_size for file in tmp_path.glob("*.tmp")))
            labels.extend([i, i])
            yield np.full((2, 50_000), i, np.uint8)

    data.write_split(tmp_path, "valid", blocks(), labels)
    found = arrays.read(tmp_path, "valid", 1, 50_000)
    assert held[2] > 100_000  # the first block was on disk before the last was drawn
    inputs, lengths, marks = found.batch(np.array([5, 0]))
    assert inputs[:, ::49_999].tolist() == [[2, 2], [0, 0]]
    assert (lengths.tolist(), marks.tolist()) == ([50_000, 50_000], [2, 0])
    assert isinstance(found.inputs, np.memmap)


@pytest.mark.parametrize(
    ("inputs", "labels", "said"),
    [
        ([], [], "at least one row"),
        ([np.array([1, 2])], [0], "int64"),
        ([row(1), np.array([1], np.uint16)], [0, 0], "uint16"),
        ([np.ones((2, 3), np.uint8), np.ones((2, 4), np.uint8)], [0] * 4, r"\(2, 4\)"),
        ([row(1)], [0.5], "float64"),
    ],
)
def test_a_split_that_is_none_is_refused(tmp_path, inputs, labels, said):
    with pytest.raises(ValueError, match=said):
        data.write_split(tmp_path, "train", inputs, labels)


def test_what_was_prepared_is_opened_again(tmp_path):
    made = data.prepare(LISTOPS, tmp_path, tell=ignore)
    found = data.open_data(LISTOPS, tmp_path)
    assert found.sha256 == made.sha256
    assert (found.source, found.test.rows, found.train.rows) == ("generated", 20, 60)
    told = json.loads((found.folder / "manifest.json").read_text())
    assert told["rows"] == {"train": 60, "valid": 20, "test": 20}
    assert told["parameters"] == LISTOPS.parameters
    assert len(told["files"]) == 9


def test_equal_content_has_equal_hashes_and_other_content_others(tmp_path):
    one, same = (data.prepare(LISTOPS, tmp_path / name, tell=ignore) for name in "ab")
    reseeded = replace(LISTOPS, parameters={**LISTOPS.parameters, "seed": 1})
    other = data.prepare(reseeded, tmp_path / "a", tell=ignore)
    assert one.sha256 == same.sha256
    assert one.folder != other.folder
    assert all(one.sha256[split] != other.sha256[split] for split in one.sha256)


def test_missing_data_say_what_to_type(tmp_path):
    with pytest.raises(data.MissingData, match=f"lazoo data lra listops --root {tmp_path}"):
        data.open_data("listops", tmp_path)


def spoil_size(folder):
    with (folder / "train.inputs.npy").open("ab") as file:
        file.truncate((folder / "train.inputs.npy").stat().st_size - 1)


def spoil_rows(folder):
    told = json.loads((folder / "manifest.json").read_text())
    told["rows"]["train"] = 7
    (folder / "manifest.json").write_text(json.dumps(told))


def spoil_manifest(folder):
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:100])


def spoil_labels(folder):
    (folder / "test.labels.npy").unlink()


SPOILT = [
    (spoil_size, r"train.inputs.npy is [\d,]+ bytes, expected [\d,]+ bytes"),
    (spoil_rows, "'train': 7.*expected .*'train': 60"),
    (spoil_manifest, "no manifest"),
    (spoil_labels, "test.labels.npy is missing, expected 288 bytes"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_a_spoilt_cache_is_refused_and_prepared_anew(tmp_path, spoil, said):
    made = data.prepare(LISTOPS, tmp_path, tell=ignore)
    spoil(made.folder)
    with pytest.raises(ValueError, match=said):
        data.open_data(LISTOPS, tmp_path)
    told = []
    assert data.prepare(LISTOPS, tmp_path, tell=told.append).sha256 == made.sha256
    assert "again" in told[0]
    assert not list(tmp_path.glob("lra/*.old*"))


def test_a_flipped_bit_is_found_by_its_hash_alone(tmp_path):
    made = data.prepare(LISTOPS, tmp_path, tell=ignore)
    assert list(manifest.wrong(made.folder)) == []
    path = made.folder / "valid.inputs.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    data.open_data(LISTOPS, tmp_path)
    (said,) = manifest.wrong(made.folder)
    assert "valid.inputs.npy has sha256" in said
    (made.folder / "foreign.txt").touch()
    assert len(list(manifest.wrong(made.folder))) == 2


BAD = [
    (EASY, "train", np.zeros((5, 4), np.uint8), [0] * 5, "5 rows, expected 6"),
    (EASY, "train", np.zeros((6, 4), np.uint8), [0, 1, 0, 1, 0, 2], "labels 0 to 2, expected 0 to"),
    (EASY, "test", np.zeros((2, 5), np.uint8), [0, 1], r"uint8\(2, 5\), expected uint8\(2, 4\)"),
    (EASY, "test", np.zeros((2, 4), np.uint16), [0, 1], "uint16"),
    (TEXT, "test", [row(1), row(0), row(2)], [0, 1, 0], "tokens 0 to 2, expected 1 to 256"),
    (TEXT, "test", [row(1), row(*range(1, 10)), row(2)], [0] * 3, "1 to 9 tokens, expected 1 to 8"),
    (TEXT, "test", [row(1), row(), row(2)], [0] * 3, "0 to 1 tokens"),
    (TEXT, "test", [row(1), row(2)], [0] * 3, "2 documents, expected 3"),
]


@pytest.mark.parametrize(("dataset", "split", "inputs", "labels", "said"), BAD)
def test_a_builder_that_errs_makes_no_cache(
    tmp_path, builder, dataset, split, inputs, labels, said
):
    def build(dataset, folder, *, tell):
        (pixels if dataset.pixels else reviews)(dataset, folder, tell=tell)
        data.write_split(folder, split, inputs, labels)
        return "generated"

    builder(build)
    with pytest.raises(ValueError, match=said):
        data.prepare(dataset, tmp_path, tell=ignore)
    with pytest.raises(data.MissingData):
        data.open_data(dataset, tmp_path)


def test_under_the_published_protocol_of_text_the_test_set_selects(tmp_path, builder):
    builder(reviews)
    ours = data.prepare(TEXT, tmp_path, tell=ignore)
    found = data.open_data(TEXT, tmp_path, "test")
    assert (found.train.rows, found.valid.rows, found.test.rows) == (7, 3, 3)
    assert found.sha256["valid"] == ours.sha256["test"]
    assert found.sha256["train"] != ours.sha256["train"]
    inputs, lengths, labels = found.train.batch(np.arange(7))
    assert lengths.tolist() == [1, 2, 3, 4, 5, 1, 2]
    assert inputs[:, 0].tolist() == [70, 71, 72, 73, 74, 70, 71]
    assert labels.tolist() == [0, 1, 0, 1, 0, 0, 1]


def test_guesses_are_learned_from_training_rows_and_scored_on_test_rows(tmp_path, builder):
    def build(dataset, folder, *, tell):
        trees = [row(11, 1), row(11, 2), row(12, 1), row(12, 3), row(12, 4)]
        data.write_split(folder, "train", trees, [3, 3, 3, 5, 5])
        for split in ("valid", "test"):
            data.write_split(folder, split, [row(11, 9), row(12, 9), row(12, 1)], [3, 5, 5])
        return "generated"

    builder(build)
    tiny = replace(LISTOPS, rows=lra.rows(5, 3, 3))
    found = data.prepare(tiny, tmp_path, tell=ignore).baselines
    assert found == {"majority": pytest.approx(1 / 3), "root operator": 1.0}


def test_two_at_once_build_once_and_both_get_it(tmp_path, builder):
    built, told, made = [], [], []

    def build(dataset, folder, *, tell):
        built.append(folder)
        time.sleep(0.2)
        return pixels(dataset, folder, tell=tell)

    builder(build)

    def work():
        made.append(data.prepare(EASY, tmp_path, tell=told.append))

    both = [threading.Thread(target=work) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert (len(built), len(made)) == (1, 2)
    assert made[0].sha256 == made[1].sha256
    assert any("waiting" in line for line in told)


KILLED = """
import sys, time, types
from pathlib import Path
from tests import test_lra_data as t
def build(dataset, folder, *, tell):
    t.data.write_split(folder, "train", t.np.zeros((6, 4), t.np.uint8), [0] * 6)
    (folder / "half").mkdir(); print("half", flush=True); time.sleep(60)
module = types.ModuleType("slow"); module.build = build; sys.modules["slow"] = module
t.data.BUILDERS["pathfinder"] = "slow"
t.data.prepare(t.EASY, Path(sys.argv[1]), tell=t.ignore)
"""


def test_a_process_killed_between_files_leaves_no_cache_and_no_lock(tmp_path, builder):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "half\n"
        os.kill(process.pid, signal.SIGKILL)
    assert [path.suffix for path in sorted(tmp_path.glob("lra/*"))] == [".lock", ".part"]
    with pytest.raises(data.MissingData):
        data.open_data(EASY, tmp_path)
    builder(pixels)
    made = data.prepare(EASY, tmp_path, tell=ignore)
    assert made.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert list(manifest.wrong(made.folder, EASY)) == []


def test_images_that_do_not_fit_on_the_disk_are_not_begun(tmp_path, builder):
    builder(None)
    large = replace(EASY, rows=lra.rows(10**18, 2, 2))
    with pytest.raises(OSError, match="takes 4,000,000,000,000,000,016 bytes, more than the"):
        data.prepare(large, tmp_path, tell=ignore)


def test_data_that_are_here_are_opened_without_writing(tmp_path, builder):
    builder(pixels)
    data.prepare(EASY, tmp_path, tell=ignore)
    (lock,) = tmp_path.glob("lra/*.lock")
    lock.unlink()
    told = []
    data.prepare(EASY, tmp_path, tell=told.append)
    assert not lock.exists()
    assert told == []
