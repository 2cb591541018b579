import errno
import json
import lzma
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tasks import npy, sealed
from tasks.lm import bpe, cache, corpora, data, tokenisers

SPLITS = {
    "train": ["In the beginning\nwas the word, ", "caf\u00e9 \U0001f600\n", "word"],
    "valid": ["the  word\n\n"],
    "test": ["was the end\n", "of the word"],
}


def ignore(line):
    pass


@pytest.fixture
def texts(tmp_path):
    """A folder of the user's that is split already; the root of caches is beside it."""
    return write(tmp_path / "mine", SPLITS)


def write(folder, splits):
    folder.mkdir()
    for split, documents in splits.items():
        lines = [json.dumps({"text": text}) for text in documents]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return str(folder)


def test_each_document_is_followed_by_the_end_of_a_text(texts, tmp_path):
    made = data.prepare(texts, "bytes", tmp_path, tell=ignore)
    for split, documents in SPLITS.items():
        found = getattr(made, split)
        expected = [[*document.encode(), 256] for document in documents]
        assert found.ids.tolist() == [id for ids in expected for id in ids]
        assert found.starts.tolist() == [0, *np.cumsum([len(ids) for ids in expected])][:-1]
        assert found.bytes == sum(len(document.encode()) for document in documents)
        assert found.words == sum(len(document.split()) for document in documents)
        assert found.lines == sum(document.count("\n") for document in documents)
        assert (found.ids.dtype, type(found.ids)) == (np.uint16, np.memmap)


def test_what_was_prepared_is_opened_again(texts, tmp_path):
    made = data.prepare(texts, "bytes", tmp_path, tell=ignore)
    found = data.open_data(texts, "bytes", tmp_path)
    assert (found.sha256, found.baselines) == (made.sha256, made.baselines)
    assert found.source == "mine (user; your own)"
    assert found.tokeniser is tokenisers.BYTES
    told = sealed.read(found.folder)
    assert told["splits"]["train"]["documents"] == 3
    assert set(told["files"]) == {
        "tokenizer.json",
        *(f"{split}.{part}.npy" for split in SPLITS for part in ("ids", "starts")),
    }
    assert list(sealed.wrong(found.folder)) == []


def test_the_same_text_elsewhere_is_the_same_cache(texts, tmp_path):
    one = data.cache_folder(texts, "bytes", tmp_path)
    (tmp_path / "other").mkdir()
    same = write(tmp_path / "other" / "mine", SPLITS)
    assert data.cache_folder(same, "bytes", tmp_path) == one
    another = write(tmp_path / "more", {**SPLITS, "valid": ["the  word\n"]})
    folders = {data.cache_folder(name, "bytes", tmp_path).name[-8:] for name in (texts, another)}
    assert len(folders) == 2
    assert data.cache_folder(texts, "bpe-300", tmp_path) != one


def test_the_version_of_the_package_is_part_of_the_name(monkeypatch, tmp_path):
    one = data.cache_folder("classics", "bytes", tmp_path)
    monkeypatch.setattr("tasks.lm.VERSION", 99)
    assert data.cache_folder("classics", "bytes", tmp_path) != one
    assert one.name.startswith("classics-bytes-")


def test_a_trained_tokeniser_reads_the_training_split_alone(texts, tmp_path):
    pytest.importorskip("tokenizers")
    told = []
    made = data.prepare(texts, "bpe-300", tmp_path, tell=told.append)
    assert made.tokeniser.json == bpe.train(SPLITS["train"], 300)
    assert (made.tokeniser.vocabulary, made.tokeniser.name) == (300, "bpe-300")
    assert made.tokeniser.eos == made.train.ids[-1]
    assert "stay unused" in told[-1]
    begin, end = made.test.starts[0], made.test.starts[1] - 1
    assert made.tokeniser.decode(made.test.ids[begin:end]) == SPLITS["test"][0]


def test_a_tokenizer_json_of_the_users_is_kept_with_its_end(texts, tmp_path):
    pytest.importorskip("tokenizers")
    text = bpe.train(SPLITS["train"], 320).replace("<|endoftext|>", "<stop>")
    (tmp_path / "tokenizer.json").write_text(text)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<stop>"}')
    path = str(tmp_path / "tokenizer.json")
    made = data.prepare(texts, path, tmp_path, tell=ignore)
    assert made.folder.name.startswith("mine-tokenizer-")
    assert data.open_data(texts, path, tmp_path).tokeniser.eos == made.train.ids[-1] == 0
    (tmp_path / "tokenizer.json").write_text(text + " ")
    with pytest.raises(data.MissingData):
        data.open_data(texts, path, tmp_path)


def test_a_tokeniser_that_changes_the_text_is_told_of(texts, tmp_path):
    pytest.importorskip("tokenizers")
    content = json.loads(bpe.train(SPLITS["train"], 320))
    content["normalizer"] = {"type": "NFD"}
    (tmp_path / "nfd.json").write_text(json.dumps(content))
    told = []
    data.prepare(texts, str(tmp_path / "nfd.json"), tmp_path, tell=told.append)
    size = sum(len(text.encode()) for text in SPLITS["train"])
    said = f"the tokens of train stand for {size + 1:,} bytes, +{100 / size:.4f} % of its {size:,}"
    assert [line.partition(": ")[2] for line in told if "changes the text" in line] == [said]


def test_a_large_vocabulary_takes_32_bits(tmp_path):
    wide = replace(tokenisers.BYTES, eos=70_000, vocabulary=70_001)
    cache.write(tmp_path, "test", ["ab"], wide, ignore)
    found = np.load(tmp_path / "test.ids.npy")
    assert (found.dtype, found.tolist()) == (np.uint32, [97, 98, 70_000])


def test_a_corpus_is_written_while_it_is_read(tmp_path):
    held = []

    def documents():
        for i in range(4):
            held.append(sum(file.stat().st_size for file in tmp_path.glob("*.tmp")))
            yield chr(97 + i) * 50_000

    counts = cache.write(tmp_path, "train", documents(), tokenisers.BYTES, ignore)
    assert held[3] > 200_000  # two bytes a token: three documents are on disk by then
    assert counts.facts() == {
        "bytes": 200_000,
        "words": 4,
        "lines": 0,
        "documents": 4,
        "tokens": 200_004,
        "token_bytes": 200_000,
    }


def test_baselines_are_bits_per_byte_of_the_test_text(texts, tmp_path):
    found = data.prepare(texts, "bytes", tmp_path, tell=ignore).baselines
    train, test = ("".join(SPLITS[split]).encode() for split in ("train", "test"))
    packed = lzma.compress(test, preset=9 | lzma.PRESET_EXTREME)
    counts = Counter(train)
    bits = -sum(math.log2((counts[byte] + 1) / (len(train) + 256)) for byte in test)
    assert found == {
        "xz": pytest.approx(8 * len(packed) / len(test)),
        "unigram": pytest.approx(bits / len(test)),
    }


def test_xz_reads_no_more_than_the_first_bytes_and_says_so(monkeypatch):
    monkeypatch.setattr(cache, "XZ_FIRST", 200_000)
    noise = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
    whole, part = cache.Xz(), cache.Xz()
    for xz, size in ((whole, 200_000), (part, 200_001)):
        xz.add(noise[:150_000])
        xz.add(noise[150_000:size])
    (name, value), (other, same) = *whole.bits_per_byte().items(), *part.bits_per_byte().items()
    assert (name, other) == ("xz", "xz of the first 0.2 MB")
    assert value == same > 8


def test_missing_data_say_what_to_type(texts, tmp_path):
    with pytest.raises(data.MissingData) as error:
        data.open_data(texts, "bpe-300", tmp_path)
    said = f"type: lazoo data lm {texts} --tokeniser bpe-300 --root {tmp_path}"
    assert str(error.value).endswith(said)
    (tmp_path / "a b.txt").touch()
    said = data.command(f"{tmp_path}/a b.txt", "bytes", data.Path("data"))
    assert said == f"lazoo data lm '{tmp_path}/a b.txt'"
    assert data.command("pile", "bytes", data.Path("data")) == "lazoo data lm pile --yes"


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


def test_data_that_are_here_are_opened_without_writing(texts, tmp_path):
    data.prepare(texts, "bytes", tmp_path, tell=ignore)
    (lock,) = tmp_path.glob("lm/*.lock")
    lock.unlink()
    told = []
    data.prepare(texts, "bytes", tmp_path, tell=told.append)
    assert (lock.exists(), told) == (False, [])


def test_what_is_installed_is_listed_in_the_manifest(texts, tmp_path, monkeypatch):
    about = replace(corpora.corpus(texts), kind="installed")
    monkeypatch.setattr(corpora, "corpus", lambda name: about)
    found = data.prepare(texts, "bytes", tmp_path, tell=ignore)
    expected = {path: sha256 for path, _, sha256 in corpora.manifest(texts)}
    assert sealed.read(found.folder)["installed"] == expected
    assert len(expected) == 3


def test_a_limit_is_for_the_hub(texts, tmp_path):
    with pytest.raises(ValueError, match="is read as a whole; a limit is for corpora of the hub"):
        data.prepare(texts, "bytes", tmp_path, tell=ignore, first=100)
