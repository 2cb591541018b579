"""Corpora: which text a name means, in which splits, and what is said when there is none."""

import lzma
from collections import Counter

import pytest

from tasks.lm import SPLITS, classics, corpora, cuts
from tasks.lm.corpora import corpus, documents, identity, kind, manifest

LONG = "".join(f"Paragraph {i} of a text\nthat has two lines.\n\n" for i in range(1000))


def splits(name):
    return {split: list(documents(name, split)) for split in SPLITS}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("classics", "embedded"),
        ("pysource", "installed"),
        ("pysource:json", "installed"),
        ("wikitext-103", "hub"),
        ("tinystories@abc", "hub"),
        ("hub:a/b", "hub"),
        ("./classics", "user"),
        ("no/such/folder", "user"),
    ],
)
def test_a_name_says_the_kind_of_corpus(name, expected):
    assert kind(name) == expected


def test_an_existing_file_without_a_separator_is_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("a text")
    assert kind("notes.txt") == "user"


@pytest.mark.parametrize("name", ["clasics", "", "pile-of-text"])
def test_an_unknown_name_is_refused_with_names_to_type(name):
    with pytest.raises(ValueError, match=r"is not known; .*(classics|pile).*hub:OWNER/NAME"):
        corpus(name)


@pytest.mark.parametrize("name", [*corpora.NAMES, "pysource:json", "hub:a/b:c@d"])
def test_every_corpus_has_a_title_a_licence_and_a_description(name):
    found = corpus(name)
    assert found.name == name
    assert found.title
    assert found.licence
    assert found.about


@pytest.mark.parametrize("mark", ["\n\n", "\n", ". ", " "])
def test_a_cut_is_after_the_best_boundary_that_is_near(mark):
    text = mark.join(f"word{i:06d}" for i in range(4000))
    parts = cuts.cut(text)
    assert parts["train"].endswith(mark)
    assert parts["valid"].endswith(mark)


@pytest.mark.parametrize("text", [LONG, "x" * 1000, "a b" * 999, "\n" * 5000, "é\n\n" * 2000])
def test_the_parts_of_a_cut_are_the_text_in_shares_of_90_5_and_5_percent(text):
    parts = cuts.cut(text)
    assert "".join(parts[split] for split in SPLITS) == text
    shares = [len(parts[split]) / len(text) for split in SPLITS]
    assert shares == pytest.approx([0.90, 0.05, 0.05], abs=0.049)
    assert min(shares) > 0


def test_no_part_begins_with_a_blank_line():
    parts = cuts.cut("\n\n\n\n".join(f"paragraph {i}" for i in range(3000)))
    assert not any(part.startswith("\n") for part in parts.values())


def test_classics_are_the_books_of_the_bible_and_the_plays_each_once():
    titles = [document.title for document in classics.read()]
    assert len(set(titles)) == len(titles)
    assert Counter(document.part for document in classics.read()) == {
        "King James Bible": 66,
        "Shakespeare": 42,
    }
    assert (titles[0], titles[65]) == ("Genesis", "Revelation")


def test_classics_text_is_clean():
    for document in classics.read():
        assert not set(document.text) & set("\t\r\ufeff\ufffd@_{|<>")
        assert document.text.endswith("\n")
        assert not any(line != line.rstrip() for line in document.text.split("\n"))
        assert "Gutenberg" not in document.text


def test_classics_splits_are_those_of_the_notice():
    notice = (classics.FILE.parent / "NOTICE.md").read_text()
    for split, texts in splits("classics").items():
        size = sum(len(text.encode()) for text in texts)
        words = sum(len(text.split()) for text in texts)
        assert f"| {split} | {len(texts)} | {size:,} | {words:,} |" in notice


def test_classics_splits_together_are_the_texts():
    parts = {split: iter(documents("classics", split)) for split in SPLITS}
    for document in classics.read():
        short = len(document.text) < cuts.SHORT
        taken = [next(parts[split]) for split in SPLITS if split == "train" or not short]
        assert "".join(taken) == document.text


def test_classics_need_nothing_outside_the_package():
    assert identity("classics") == ""
    assert manifest("classics") == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda packed: packed[:-100], "damaged"),
        (lambda packed: b"\n" + packed, "damaged"),
        (lambda packed: lzma.compress(b"{}\n"), "damaged: its text"),
        (None, "is not there"),
    ],
)
def test_a_damaged_or_missing_file_of_classics_says_to_install_again(tmp_path, damage, words):
    path = tmp_path / "classics.xz"
    if damage:
        path.write_bytes(damage(classics.FILE.read_bytes()))
    with pytest.raises(ValueError, match=f"{words}.* pip install --force-reinstall"):
        classics.read(path)


@pytest.mark.parametrize(("limit", "count"), [(0, 1), (1, 1), (200_000, 2), (None, 108)])
def test_a_limit_ends_with_the_document_that_reaches_it(limit, count):
    assert len(list(documents("classics", "train", limit=limit))) == count
