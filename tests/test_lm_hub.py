"""Data sets of the hub, with a stand-in for the library that reads them."""

import sys
from types import SimpleNamespace

import pytest

from tasks.lm import SPLITS, hub, hub_names
from tasks.lm.corpora import corpus, documents, identity


@pytest.fixture
def library(monkeypatch):
    """A function that puts splits of rows, or an error, where the library would read them."""

    def put(splits=None, error=None):
        calls = []

        def load_dataset(*names, **options):
            calls.append((*names, options))
            if error:
                raise error
            return splits

        module = SimpleNamespace(load_dataset=load_dataset)
        monkeypatch.setitem(sys.modules, "datasets", module)
        return calls

    return put


def rows(prefix, count):
    return [{"text": f"{prefix}{i}", "meta": {}} for i in range(count)]


def found(name):
    return {split: list(documents(name, split)) for split in SPLITS}


def test_own_splits_are_used(library):
    library({split: rows(split, 2) for split in ("train", "validation", "test")})
    assert found("hub:a/b") == {
        "train": ["train0", "train1"],
        "valid": ["validation0", "validation1"],
        "test": ["test0", "test1"],
    }


@pytest.mark.parametrize("only", ["validation", "test", "val"])
def test_one_held_out_split_is_shared_in_turn(library, only):
    library({"train": rows("t", 3), only: rows("v", 5)})
    assert found("tinystories") == {
        "train": ["t0", "t1", "t2"],
        "valid": ["v0", "v2", "v4"],
        "test": ["v1", "v3"],
    }


def test_without_held_out_splits_the_first_documents_are_held_out(library):
    library({"train": rows("t", 2 * hub.HELD_OUT + 3)})
    texts = found("fineweb-edu")
    assert texts["train"] == ["t2000", "t2001", "t2002"]
    assert (texts["valid"][0], texts["valid"][-1]) == ("t0", "t999")
    assert (texts["test"][0], texts["test"][-1]) == ("t1000", "t1999")


def test_the_pile_is_held_out_by_its_own_files_as_far_as_stated(library):
    calls = library({split: rows(split, 2100) for split in ("train", "validation", "test")})
    texts = found("pile")
    assert [len(texts[split]) for split in SPLITS] == [2100, 2000, 2000]
    assert calls[0][-1]["data_files"]["validation"] == "val.jsonl.zst"


def test_the_library_is_asked_for_a_stream_of_the_named_revision(library):
    calls = library({"train": [], "validation": [], "test": []})
    list(documents("hub:a/b-c.d:some-config@1a2b", "train"))
    options = {"data_files": None, "revision": "1a2b", "streaming": True}
    assert calls == [("a/b-c.d", "some-config", options)]


def test_a_limit_reads_no_further(library):
    def endless():
        while True:
            yield {"text": "12345678"}

    library({"train": endless(), "validation": [], "test": []})
    assert len(list(documents("hub:a/b", "train", limit=20))) == 3


def test_empty_documents_are_left_out(library):
    library({"train": [{"text": ""}, {"text": "a"}], "validation": [], "test": []})
    assert list(documents("hub:a/b", "train")) == ["a"]


# Rows as on the hub, where an empty line is "".
WIKI = [
    "",
    " = A = \n",
    "",
    " First . \n",
    " = = B = = \n",
    " b = c \n",
    "",
    " = D = \n",
    "",
    " d \n",
]


def test_wikitext_lines_are_joined_to_articles(library):
    library({split: [{"text": row} for row in WIKI] for split in ("train", "validation", "test")})
    articles = list(documents("wikitext-103", "test"))
    assert articles == [
        " \n = A = \n \n First . \n = = B = = \n b = c \n \n",
        " = D = \n \n d \n",
    ]


def test_words_and_lines_of_wikitext_are_the_words_of_its_convention():
    articles = list(hub.articles(WIKI))
    counted = sum(len(article.split()) + article.count("\n") for article in articles)
    assert counted == sum(len([*row.split(), "<eos>"]) for row in WIKI)


@pytest.mark.parametrize("alias", list(hub_names.ALIASES))
def test_an_alias_is_its_identifier(alias):
    known = hub_names.source(alias)
    config = f":{known.config}" if known.config else ""
    assert hub_names.source(f"hub:{known.id}{config}") == known
    assert hub_names.source(f"{alias}@12ab").revision == "12ab"
    assert corpus(f"hub:{known.id}{config}").licence == known.licence
    assert identity(alias) == ""


@pytest.mark.parametrize("name", ["hub:", "hub:wikitext", "hub:a/b:c:d", "hub:a/b@", "hub:a b/c"])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(ValueError, match="is not a name of the hub; type hub:OWNER/NAME"):
        corpus(name)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("no route"), "cannot be read from the .* hub .no route.*HF_HUB_OFFLINE"),
        (FileNotFoundError("nothing"), "is not on the hub, or not open to all"),
        (ImportError("No module named x"), "needs a library that is missing .*pip install"),
        (ValueError("BuilderConfig 'c' not found. Available: ['d']"), "Available: .'d'.*zstandard"),
    ],
)
def test_errors_of_the_library_say_what_to_do(library, error, words):
    library(error=error)
    with pytest.raises(ValueError, match=words):
        documents("pile", "train")


def test_a_connection_that_breaks_off_is_explained(library):
    def broken():
        yield {"text": "a"}
        raise ConnectionError("reset")

    library({"train": broken(), "validation": [], "test": []})
    with pytest.raises(ValueError, match="cannot be read from the Hugging Face hub"):
        list(documents("hub:a/b", "train"))


@pytest.mark.parametrize("row", [{"content": "a"}, {"text": 1}])
def test_rows_without_a_text_are_refused(library, row):
    library({"train": [row], "validation": [], "test": []})
    with pytest.raises(ValueError, match="has no text column 'text', only"):
        list(documents("hub:a/b", "train"))


def test_a_data_set_without_training_split_is_refused(library):
    library({"test": rows("t", 1)})
    with pytest.raises(ValueError, match="has no split train, only test"):
        documents("hub:a/b", "test")


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install .*\[lm\].*classics, pysource"):
        documents("tinystories", "train")


@pytest.mark.parametrize(
    ("name", "counted"),
    [("wikitext-103", True), ("hub:Salesforce/wikitext@1a", True), ("pile", False)],
)
def test_only_wikitext_counts_ends_of_lines_as_words(name, counted):
    assert corpus(name).counts_lines == counted


def test_texts_of_the_user_count_no_ends_of_lines(tmp_path):
    path = tmp_path / "wikitext.txt"
    path.write_text("a text")
    assert not corpus(str(path)).counts_lines
