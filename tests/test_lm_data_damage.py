"""What can go wrong with a cache of tokens: damage, a full disk, a kill, two at once."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tasks import npy, sealed
from tasks.lm import corpora, data
from tests.lm_caches import SPLITS, ignore, write


@pytest.fixture
def texts(tmp_path):
    """A folder of the user's that is split already; the root of caches is beside it."""
    return write(tmp_path / "mine", SPLITS)


def spoil_size(folder):
    with (folder / "train.ids.npy").open("ab") as file:
        file.truncate((folder / "train.ids.npy").stat().st_size - 1)


def spoil_tokeniser(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"\u0120": ', '"\u0121": ', 1).replace("1.0", "1.1"))


def spoil_manifest(folder):
    (folder / "manifest.json").write_text('{"files": ')


def spoil_counts(folder):
    told = json.loads((folder / "manifest.json").read_text())
    told["splits"]["valid"]["tokens"] -= 1
    (folder / "manifest.json").write_text(json.dumps(told))


def spoil_version(folder):
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**told, "version": 0}))


def spoil_starts(folder):
    (folder / "test.starts.npy").unlink()


SPOILT = [
    (spoil_size, r"train.ids.npy is [\d,]+ bytes, expected [\d,]+ bytes"),
    (spoil_tokeniser, "the tokenisers differ: .*tokenizer.json has sha256 .*made with bytes, sha"),
    (spoil_manifest, "no manifest"),
    (spoil_counts, "valid has 12 tokens in 1 documents, expected 11 in 1"),
    (spoil_version, "version is 0, expected 1"),
    (spoil_starts, "test.starts.npy is missing"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT)
def test_a_spoilt_cache_is_refused_and_prepared_anew(texts, tmp_path, spoil, said):
    made = data.prepare(texts, "bytes", tmp_path, tell=ignore)
    spoil(made.folder)
    with pytest.raises(ValueError, match=f"{said}.*to build it again, type: lazoo data lm "):
        data.open_data(texts, "bytes", tmp_path)
    told = []
    assert data.prepare(texts, "bytes", tmp_path, tell=told.append).sha256 == made.sha256
    assert told[0].endswith("; building it again")
    assert not list(tmp_path.glob("lm/*.old*"))


def listing(folder):
    return sorted(path.name for path in folder.glob("lm/*") if path.suffix != ".lock")


@pytest.mark.parametrize("place", ["train.ids", "test.starts", "tokenizer", "manifest"])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(texts, tmp_path, monkeypatch, place):
    good = data.prepare(texts, "bytes", tmp_path, tell=ignore)
    other = write(tmp_path / "more", {**SPLITS, "valid": ["another"]})
    fill(monkeypatch, place)
    with pytest.raises(OSError, match=r"no space left: .* bytes are free on the disk of") as error:
        data.prepare(other, "bytes", tmp_path, tell=ignore)
    assert "Nothing that was there has changed. Free some space" in str(error.value)
    assert listing(tmp_path) == [good.folder.name]
    assert list(sealed.wrong(good.folder)) == []
    monkeypatch.undo()
    data.prepare(other, "bytes", tmp_path, tell=ignore)


def fill(monkeypatch, place):
    """Files whose name begins with `place` can be opened but not written."""
    really = data.Path.open

    def full(path, mode="r", *args, **kwargs):
        if "w" in mode and path.name.startswith(place):
            really(path, mode, *args, **kwargs).close()
            return really(data.Path("/dev/full"), mode, *args, **kwargs)
        return really(path, mode, *args, **kwargs)

    monkeypatch.setattr(data.Path, "open", full)
    monkeypatch.setattr(npy.os, "fsync", lambda file: None)


def test_a_full_disk_keeps_a_damaged_cache_as_it_was(texts, tmp_path, monkeypatch):
    made = data.prepare(texts, "bytes", tmp_path, tell=ignore)
    spoil_starts(made.folder)
    before = sorted(path.name for path in made.folder.iterdir())
    fill(monkeypatch, "valid")
    with pytest.raises(OSError, match="no space left"):
        data.prepare(texts, "bytes", tmp_path, tell=ignore)
    assert sorted(path.name for path in made.folder.iterdir()) == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_root_that_cannot_be_written_is_named(texts, tmp_path, monkeypatch, code):
    def closed(path, *args, **kwargs):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(data.Path, "mkdir", closed)
    with pytest.raises(OSError, match=r"cannot be written \(.*\); type --root and a folder that"):
        data.prepare(texts, "bytes", tmp_path, tell=ignore)


def test_a_text_that_cannot_be_read_is_not_blamed_on_the_root(texts, tmp_path, monkeypatch):
    def closed(name, split, limit=None):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/secret.txt")

    monkeypatch.setattr(corpora, "documents", closed)
    with pytest.raises(OSError, match=r"Permission denied: '/elsewhere/secret.txt'"):
        data.prepare(texts, "bytes", tmp_path / "root", tell=ignore)


def interrupted(name, split, limit=None):
    yield "text"
    if split == "valid":
        raise KeyboardInterrupt


def without_valid(name, split, limit=None):
    return iter([] if split == "valid" else ["text"])


def of_no_characters(name, split, limit=None):
    return iter(["" if split == "test" else "text"])


def of_half_a_pair(name, split, limit=None):
    return iter(["text \ud83d"])


@pytest.mark.parametrize(
    ("documents", "kind", "said"),
    [
        (interrupted, KeyboardInterrupt, None),
        (without_valid, ValueError, "has no text in its valid split"),
        (of_no_characters, ValueError, "has no text in its test split"),
        (of_half_a_pair, ValueError, "character 5 of a text is U"),
    ],
)
def test_what_cannot_be_finished_leaves_nothing(
    texts, tmp_path, monkeypatch, documents, kind, said
):
    monkeypatch.setattr(corpora, "documents", documents)
    with pytest.raises(kind, match=said):
        data.prepare(texts, "bytes", tmp_path, tell=ignore)
    assert listing(tmp_path) == []


def test_a_text_that_changes_while_it_is_read_makes_no_cache(texts, tmp_path):
    def tell(line):
        with open(f"{texts}/train.jsonl", "a") as file:
            file.write('\n{"text": "more"}')

    with pytest.raises(ValueError, match="has changed while it was read; type the same again"):
        data.prepare(texts, "bytes", tmp_path, tell=tell)
    assert listing(tmp_path) == []
    data.prepare(texts, "bytes", tmp_path, tell=ignore)


def test_two_at_once_build_once_and_both_get_it(texts, tmp_path, monkeypatch):
    built, told, made = [], [], []
    really = corpora.documents

    def slow(name, split, limit=None):
        built.append(split)
        time.sleep(0.1)
        return really(name, split, limit)

    monkeypatch.setattr(corpora, "documents", slow)

    def work():
        made.append(data.prepare(texts, "bytes", tmp_path, tell=told.append))

    both = [threading.Thread(target=work) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert (sorted(built), len(made)) == (["test", "train", "valid"], 2)
    assert made[0].sha256 == made[1].sha256
    assert any("waiting" in line for line in told)


KILLED = """
import sys, time
from tasks.lm import corpora, data
def documents(name, split, limit=None):
    yield "text"
    if split == "valid":
        print("half", flush=True); time.sleep(60)
corpora.documents = documents
data.prepare(sys.argv[1], "bytes", data.Path(sys.argv[2]), tell=print)
"""


def test_a_process_killed_half_way_leaves_no_cache_and_no_lock(texts, tmp_path):
    command = [sys.executable, "-c", KILLED, texts, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while process.stdout.readline() != "half\n":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    (part,) = listing(tmp_path)
    assert part.endswith(".part")
    with pytest.raises(data.MissingData):
        data.open_data(texts, "bytes", tmp_path)
    made = data.prepare(texts, "bytes", tmp_path, tell=ignore)
    assert made.valid.bytes == len(SPLITS["valid"][0])
    assert listing(tmp_path) == [made.folder.name]
