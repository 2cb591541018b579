"""Installed Python source as a corpus: which files it has, and that none is imported."""

import hashlib
from collections import Counter

import pytest

from tasks.lm import SPLITS, installed
from tasks.lm.corpora import corpus, documents, identity, manifest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that fails when it is imported."""
    root = tmp_path / "here" / "madeup"
    for name, content in {
        "__init__.py": b"raise RuntimeError('imported')\n",
        "b.py": b"b = 1\n",
        "again.py": b"b = 1\n",
        "a/c.py": "c = 'é'\n".encode(),
        "latin.py": b"c = '\xe9'\n",
        "empty.py": b"\n",
        "data.txt": b"not Python\n",
        "tests/test_b.py": b"t = 1\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    monkeypatch.syspath_prepend(root.parent)
    installed.listing.cache_clear()
    yield root
    installed.listing.cache_clear()


def test_files_are_listed_in_order_with_what_was_left_out(package):
    listing = installed.listing(("madeup",))
    names = [file.name for file in listing.files]
    assert names == ["madeup/__init__.py", "madeup/a/c.py", "madeup/again.py"]
    assert (listing.undecodable, listing.duplicates, listing.empty) == (1, 1, 1)


def test_the_manifest_has_the_bytes_and_the_hash_of_each_file(package):
    content = (package / "a" / "c.py").read_bytes()
    row = ("madeup/a/c.py", len(content), hashlib.sha256(content).hexdigest())
    assert row in manifest("pysource:madeup")


@pytest.mark.parametrize("change", ["content", "name"])
def test_identity_changes_with_content_and_names(package, change):
    before = identity("pysource:madeup")
    assert len(before) == 16
    if change == "content":
        (package / "b.py").write_text("b = 2\n")
    else:
        (package / "a" / "c.py").rename(package / "a" / "d.py")
    installed.listing.cache_clear()
    assert identity("pysource:madeup") != before


def test_files_are_in_one_split_each_about_25_of_a_thousand_held_out():
    names = [f"package/module_{i}.py" for i in range(4000)]
    drawn = Counter(installed.split_of(name) for name in names)
    assert drawn["valid"] == pytest.approx(100, abs=30)
    assert drawn["test"] == pytest.approx(100, abs=30)
    assert installed.split_of("torch/nn/functional.py") == "train"


def test_source_documents_are_the_listed_files():
    files = installed.listing(("json", "email")).files
    texts = [text for split in SPLITS for text in documents("pysource:json,email", split)]
    assert sorted(texts) == sorted(file.path.read_text("utf-8") for file in files)
    assert any("JSONDecodeError" in text for text in texts)


def test_the_default_is_the_standard_library_and_torch():
    assert installed.packages("pysource") == ("stdlib", "torch")
    assert all(root.is_dir() for p in installed.DEFAULT for root in installed._roots(p))


@pytest.mark.parametrize("name", ["nosuchpackage", "torch.nn", "scikit-learn", "", "__main__"])
def test_a_package_that_is_not_installed_is_refused(name):
    with pytest.raises(ValueError, match="is not installed here; type names as in `import`"):
        corpus(f"pysource:{name}")


def test_a_package_without_python_source_is_refused():
    with pytest.raises(ValueError, match="'sys' of the corpus is compiled"):
        corpus("pysource:sys")


def test_a_package_named_twice_is_refused():
    with pytest.raises(ValueError, match="names a package twice"):
        corpus("pysource:json,json")
