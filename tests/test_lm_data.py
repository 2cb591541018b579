"""Caches of tokens: what is built from texts, and what is opened again."""

import json
import lzma
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tasks import sealed
from tasks.lm import bpe, cache, corpora, data, tokenisers
from tests.lm_caches import SPLITS, ignore, write


@pytest.fixture
def texts(tmp_path):
    """A folder of the user's that is split already; the root of caches is beside it."""
    return write(tmp_path / "mine", SPLITS)


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
