"""The user's own texts: what is read, how it is split, and what is said when it cannot be."""

import json

import pytest

from tasks.lm import SPLITS, cuts
from tasks.lm.corpora import corpus, documents, identity, manifest

LONG = "".join(f"Paragraph {i} of a text\nthat has two lines.\n\n" for i in range(1000))


@pytest.fixture
def folder(tmp_path):
    """A function that writes files into a folder and returns the folder's name."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path)

    return write


def splits(name):
    return {split: list(documents(name, split)) for split in SPLITS}


def jsonl(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


@pytest.mark.parametrize("name", ["notes.txt", "notes.csv", "notes"])
def test_a_file_is_one_document_cut_in_three(folder, name):
    path = folder({name: LONG}) + f"/{name}"
    assert splits(path) == {split: [part] for split, part in cuts.cut(LONG).items()}


def test_a_text_is_read_as_it_is_but_for_a_byte_order_mark(folder):
    text = "\r\n é tail  " * 200
    path = folder({"a.txt": b"\xef\xbb\xbf" + text.encode()}) + "/a.txt"
    assert "".join(part for parts in splits(path).values() for part in parts) == text


def test_a_folder_has_the_texts_in_it_sorted_by_path(folder):
    name = folder(
        {
            "b.txt": LONG + "b",
            "a/z.py": LONG + "z",
            "a.md": LONG + "a",
            "picture.png": b"\x89PNG",
            ".hidden.txt": "hidden",
            ".git/x.txt": "hidden",
        }
    )
    assert [text[-1] for text in splits(name)["test"]] == ["a", "z", "b"]
    assert [row[0] for row in manifest(name)] == ["a.md", "a/z.py", "b.txt"]


def test_of_short_documents_each_19th_and_20th_of_20_are_held_out(folder):
    name = folder(
        {"a.jsonl": jsonl(map(str, range(30))), "b.jsonl": jsonl(map(str, range(30, 50)))}
    )
    found = splits(name)
    assert found["valid"] == ["18", "38"]
    assert found["test"] == ["19", "39"]
    assert len(found["train"]) == 46


def test_long_documents_of_a_jsonl_file_are_cut(folder):
    path = folder({"a.jsonl": jsonl(["short", LONG])}) + "/a.jsonl"
    parts = cuts.cut(LONG)
    assert splits(path) == {
        "train": ["short", parts["train"]],
        "valid": [parts["valid"]],
        "test": [parts["test"]],
    }


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_files_called_train_valid_and_test_are_the_splits(folder, suffix):
    contents = {split: jsonl([split]) if suffix == "jsonl" else split for split in SPLITS}
    name = folder({f"{split}.{suffix}": text for split, text in contents.items()} | {"x.txt": "x"})
    assert splits(name) == {split: [split] for split in SPLITS}
    assert [row[0] for row in manifest(name)] == [f"{split}.{suffix}" for split in SPLITS]


def test_identity_is_of_the_files_and_not_of_the_place(folder, tmp_path):
    before = identity(folder({"one/a.txt": LONG}) + "/one")
    folder({"two/a.txt": LONG})
    assert identity(str(tmp_path / "two")) == before
    folder({"two/a.txt": "x" + LONG[1:]})
    assert identity(str(tmp_path / "two")) != before


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({}, "/none.txt", "is a path, and nothing is there"),
        ({"a.txt": ""}, "/a.txt", "a.txt has no text"),
        ({"a.txt": " \n"}, "/a.txt", "a.txt has no text"),
        ({"a.jsonl": "\n"}, "/a.jsonl", "a.jsonl has no text"),
        ({}, "", "has no texts: no file in it ends in"),
        ({"a.png": b"\x89"}, "", "has no texts: no file in it ends in"),
        ({"a.txt": LONG, "b.txt": ""}, "", "b.txt has no text"),
        ({"a.txt": b"caf\xc3\xa9 caf\xe9" + b"." * 2000}, "/a.txt", "0xe9 at offset 9; .*iconv"),
        ({"a.jsonl": b'{"text": "a"}\n{"text": "\xff"}\n'}, "/a.jsonl", "0xff at offset 24"),
        ({"a.jsonl": '{"text": "a"}\n{"text": \n'}, "/a.jsonl", "a.jsonl, line 2: not JSON"),
        ({"a.jsonl": '\n{"body": "a"}\n'}, "/a.jsonl", 'line 2: .*"text", found {"body"'),
        ({"a.jsonl": '{"text": 1}\n'}, "/a.jsonl", "line 1: expected an object"),
        ({"a.jsonl": "[1]\n"}, "/a.jsonl", "line 1: expected an object"),
        ({"a.txt": "x " * 400}, "/a.txt", "too short to split: it has 800 characters"),
        ({"a.txt": "x", "b.txt": "y"}, "", "nothing is left for valid and test; .*train.txt"),
        ({"a.jsonl": jsonl(["x"] * 19)}, "/a.jsonl", "nothing is left for test; at least 20"),
        ({"train.txt": "x", "test.txt": "y"}, "", "neither of valid.txt and valid.jsonl"),
        (
            {"train.txt": "x", "train.jsonl": "x", "valid.txt": "y", "test.txt": "z"},
            "",
            "both of train.txt and train.jsonl",
        ),
    ],
)
def test_texts_that_cannot_be_used_are_refused_with_the_reason(folder, files, name, words):
    path = folder(files) + name
    with pytest.raises(ValueError, match=words):
        splits(path)


def test_a_path_that_is_not_there_is_refused_by_corpus_and_identity(tmp_path):
    for ask in (corpus, identity):
        with pytest.raises(ValueError, match="nothing is there"):
            ask(str(tmp_path / "none"))
