import errno
import io
import json
import sys
from dataclasses import replace
from typing import Any, cast

import pytest

from runners.cli import main
from runners.commands import data as command
from runners.commands import parse
from runners.commands.teller import Teller
from tasks import lra
from tasks.lm import corpora, hub, tokenisers
from tasks.lm import data as lm_data
from tasks.lra import DATASETS, data

TINY = {
    name: replace(DATASETS[name], rows=lra.rows(30, 10, 10)) for name in ("listops-short", "text")
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Two small data sets, of which text would be a large download; nobody is at a keyboard."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lra, "DATASETS", TINY)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return tmp_path


@pytest.fixture
def fetched(monkeypatch):
    """Names of files that would have been downloaded."""
    names = []

    def obtain(source, kept, tell):
        names.append(source.file)
        raise OSError("not from a test")

    monkeypatch.setattr(data.downloads, "obtain", obtain)
    return names


def run(capsys, line):
    code = main(["data", *line.split()])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_list_says_what_is_here_and_what_to_type(capsys):
    code, out, err = run(capsys, "")
    assert (code, err) == (0, "")
    assert "lazoo data lra listops-short" in out
    assert "lazoo data lra text --yes" in out
    assert "84.1 MB from ai.stanford.edu; unknown" in out
    run(capsys, "lra listops-short")
    facts = {fact["name"]: fact for fact in json.loads(run(capsys, "--json")[1])}
    assert (facts["listops-short"]["here"], facts["text"]["here"]) == ("yes", "no")
    size = sum(
        path.stat().st_size
        for path in data.cache_folder("listops-short", data.Path("data")).iterdir()
    )
    assert facts["listops-short"]["bytes"] == size


def test_a_data_set_is_prepared_with_its_baselines_on_standard_output(capsys):
    code, out, err = run(capsys, "lra listops-short")
    found = data.open_data("listops-short", data.Path("data"))
    assert code == 0
    assert out.startswith("listops-short: generated, 30 / 10 / 10 rows; majority ")
    assert f"root operator {100 * found.baselines['root operator']:.1f} %; data/lra/" in out
    assert "building listops-short" in err
    assert run(capsys, "lra listops-short") == (0, out, "")


def test_without_a_name_those_that_are_missing_are_listed(capsys):
    run(capsys, "lra listops-short")
    out = run(capsys, "lra")[1]
    assert "lazoo data lra text --yes" in out
    assert "listops-short" not in out


def test_a_large_download_needs_a_yes_where_nobody_can_answer(capsys, fetched):
    code, out, err = run(capsys, "lra text")
    assert (code, out, fetched) == (2, "", [])
    assert "84,125,825 bytes, from ai.stanford.edu; licence: unknown" in err
    assert "type: lazoo data lra text --yes" in err
    code, out, err = run(capsys, "lra text --yes")
    assert (code, fetched) == (1, ["aclImdb_v1.tar.gz"])
    assert "lazoo data: text: not from a test" in err


@pytest.mark.parametrize(("answer", "files"), [("y\n", ["aclImdb_v1.tar.gz"]), ("\n", [])])
def test_on_a_terminal_a_large_download_is_asked_about(capsys, fetched, monkeypatch, answer, files):
    keyboard = io.StringIO(answer)
    monkeypatch.setattr(keyboard, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", keyboard)
    code, out, err = run(capsys, "lra text")
    assert "needs a download of 84,125,825 bytes. Go on?" in err
    assert (code > 0, fetched) == (True, files)


def test_one_that_cannot_be_had_keeps_no_other_back(capsys, fetched):
    code, out, err = run(capsys, "lra text listops-short")
    assert code == 2
    assert out.startswith("listops-short: generated")


def test_verify_names_what_is_wrong_and_exits_with_1(capsys):
    run(capsys, "lra listops-short")
    code, out, err = run(capsys, "verify")
    assert (code, out.splitlines()[-1]) == (0, "nothing is wrong")
    path = data.cache_folder("listops-short", data.Path("data")) / "test.labels.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\1")
    code, out, err = run(capsys, "verify")
    assert code == 1
    assert f"wrong  {path} has sha256 " in out
    path.write_bytes(content[:-1])
    assert f"{path} is 207 bytes, expected 208 bytes" in run(capsys, "verify")[1]
    (path.parent / "manifest.json").unlink()
    assert "manifest.json is missing" in run(capsys, "verify")[1]


def test_verify_checks_downloads_and_tells_of_what_is_unfinished_or_unused(capsys, folder):
    run(capsys, "lra listops-short")
    cache = data.cache_folder("listops-short", data.Path("data"))
    cache.rename(cache.with_name("listops-short-01234567"))
    cache.with_name(f"{cache.name}.made.part").mkdir()
    (folder / "data/downloads").mkdir()
    (folder / "data/downloads/aclImdb_v1.tar.gz").write_bytes(b"x")
    code, out, err = run(capsys, "verify")
    assert code == 1
    assert "aclImdb_v1.tar.gz has 1 bytes, expected 84,125,825" in out
    assert "listops-short-01234567" in next(line for line in out.split("\n") if "not used" in line)
    assert "made.part: unfinished" in out
    assert "begun; lazoo data lra listops-short" in run(capsys, "")[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("veryfy", "did you mean lazoo data verify?"),
        ("lra listop-short", "did you mean listops-short?"),
        ("listops-short", "type: lazoo data lra listops-short"),
        ("lra text --yess", "--yes"),
        ("lra text --from nowhere", "nowhere is no folder"),
        ("verify --root nowhere", "nowhere is no folder"),
        ("classics", "type: lazoo data lm classics"),
        ("lm clasics", "did you mean classics?"),
        ("lm nowhere/notes.txt", "nothing is there"),
        ("lm classics --tokeniser bpe-12", "12 entries, expected 300 to 65,535"),
        ("lm classics --tokeniser bpe-abc", "did you mean bpe-4096?"),
        ("lm classics --tokenizer bytes", "--tokeniser"),
        ("lm classics --limit-mb 5", "--limit-mb is for corpora of the hub, and classics is none"),
        ("lm tinystories --limit-mb -5", "--limit-mb -5 is no size"),
    ],
)
def test_a_mistake_is_refused_with_what_to_type(capsys, line, said):
    code, out, err = run(capsys, line)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("example", command.EXAMPLES)
def test_examples_are_command_lines_that_parse(example, monkeypatch):
    monkeypatch.setattr(lra, "DATASETS", DATASETS)
    lazoo, name, *argv = example.split()
    parsed = parse(cast("Any", command.Arguments), name, command.completed(argv), ())
    assert (lazoo, name) == ("lazoo", "data")
    known = (*DATASETS, *corpora.NAMES)
    assert all(chosen in known for chosen in getattr(parsed, "names", ()))
    assert tokenisers.vocabulary(getattr(parsed, "tokeniser", "bytes")) > 256


def test_a_damaged_folder_of_the_users_exits_with_1(capsys, folder):
    (folder / "mine/listops").mkdir(parents=True)
    for split in ("train", "val", "test"):
        (folder / f"mine/listops/basic_{split}.tsv").write_text("Source\tTarget\n[MAX")
    lra.DATASETS["listops"] = replace(DATASETS["listops"], rows=lra.rows(1, 1, 1))
    code, out, err = run(capsys, "lra listops --from mine")
    del lra.DATASETS["listops"]
    assert code == 1
    assert "basic_train.tsv, line 2 has 1 fields" in err


@pytest.fixture
def notes(folder):
    """A text of the user's, cut into three; two words in turn, so that it has few pairs."""
    (folder / "notes.txt").write_text("to be or not\n" * 400)
    return "notes.txt"


@pytest.fixture
def stories(monkeypatch):
    """The hub as if it had two splits; the list holds each split that was asked for."""
    asked = []

    def texts(name, split):
        asked.append(split)
        return iter([f"{split} story {i}\n" for i in range(100)])

    monkeypatch.setattr(hub, "texts", texts)
    return asked


def test_a_corpus_is_prepared_with_its_baselines_on_standard_output(capsys, notes):
    code, out, err = run(capsys, f"lm {notes}")
    found = lm_data.open_data(notes, "bytes", lm_data.Path("data"))
    assert code == 0
    assert out.startswith(
        f"notes.txt: notes.txt (user; your own), {found.train.bytes / 1e3:.1f} kB"
    )
    assert f"xz {found.baselines['xz']:.3f}, unigram " in out
    assert f"building notes.txt as bytes in {found.folder}\n" in err
    assert run(capsys, f"lm {notes}") == (0, out, "")


def test_the_list_has_corpora_and_what_is_here_of_them(capsys, notes):
    run(capsys, f"lm {notes}")
    out = run(capsys, "")[1]
    assert "lazoo data lm classics\n" in out
    assert "lazoo data lm wikitext-103 --yes\n" in out
    assert run(capsys, "lm")[1] in out
    facts = {fact["name"]: fact for fact in json.loads(run(capsys, "--json")[1])}
    (cache,) = facts[notes]["caches"]
    assert (cache["tokeniser"], facts["classics"]["caches"]) == ("bytes", [])
    assert cache["bytes"] == sum(p.stat().st_size for p in lm_data.Path(cache["folder"]).iterdir())


def test_a_corpus_of_the_hub_needs_a_yes_where_nobody_can_answer(capsys, stories):
    code, out, err = run(capsys, "lm tinystories")
    assert (code, out, stories) == (2, "", [])
    assert "size that is not known; type: lazoo data lm tinystories --yes" in err
    code, out, err = run(capsys, "lm tinystories --yes")
    assert (code, stories) == (0, ["train", "valid", "test"])
    assert run(capsys, "lm tinystories") == (0, out, "")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 2)])
def test_on_a_terminal_a_corpus_of_the_hub_is_asked_about(
    capsys, stories, monkeypatch, answer, code
):
    keyboard = io.StringIO(answer)
    monkeypatch.setattr(keyboard, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", keyboard)
    found, out, err = run(capsys, "lm tinystories --limit-mb 0.001")
    assert "size that is not known, of which 0.001 MB are read. Go on?" in err
    assert (found, bool(stories)) == (code, code == 0)


def test_a_limit_keeps_the_first_documents_of_the_hub(capsys, stories):
    run(capsys, "lm tinystories --limit-mb 0.001 --yes")
    few = lm_data.open_data("tinystories", "bytes", lm_data.Path("data"))
    assert 1000 <= few.train.bytes < 1020
    assert few.source.endswith("the first 0.001 MB")
    run(capsys, "lm tinystories --yes")
    assert len(stories) == 3
    code, out, err = run(capsys, "lm tinystories --limit-mb 0.0005 --yes")
    assert "has the first 0.001 MB; building it again" in err
    fewer = lm_data.open_data("tinystories", "bytes", lm_data.Path("data"))
    assert fewer.train.bytes < few.train.bytes


def test_verify_finds_what_is_wrong_with_a_corpus(capsys, notes, folder):
    run(capsys, f"lm {notes}")
    cache = lm_data.cache_folder(notes, "bytes", lm_data.Path("data"))
    code, out, err = run(capsys, "verify")
    assert code == 0
    assert out.startswith(f"ok     {cache}: ")
    assert "not used" not in out
    content = (cache / "test.ids.npy").read_bytes()
    (cache / "test.ids.npy").write_bytes(content[:-1] + b"\0")
    code, out, err = run(capsys, "verify")
    assert code == 1
    assert f"wrong  {cache / 'test.ids.npy'} has sha256 " in out
    (cache / "test.ids.npy").write_bytes(content)
    (folder / notes).write_text("be or not to\n" * 400)
    cache.with_name(f"{cache.name}.part").mkdir()
    code, out, err = run(capsys, "verify")
    assert code == 0
    assert "another text or another version now: not used" in out
    assert ".part: unfinished; it can be removed" in out
    (folder / notes).unlink()
    assert "notes.txt as bytes is not there now" in run(capsys, "verify")[1]


def test_one_corpus_that_cannot_be_had_keeps_no_other_back(capsys, notes, folder):
    (folder / "latin.txt").write_bytes("caf\u00e9".encode("latin-1") * 999)
    code, out, err = run(capsys, f"lm latin.txt {notes}")
    assert code == 1
    assert "latin.txt is not UTF-8: byte 0xe9 at offset 3" in err
    assert out.startswith("notes.txt: ")


def test_a_disk_without_space_exits_with_1_and_says_what_to_do(capsys, notes, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tasks.sealed.write_text", full)
    code, out, err = run(capsys, f"lm {notes}")
    assert (code, out) == (1, "")
    assert "no space left: " in err
    assert "type --root and a folder on another disk" in err


def told(*lines, terminal):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    teller = Teller(stream)
    for line in lines:
        teller(line)
    teller.end()
    return stream.getvalue()


def test_progress_counts_on_one_line_of_a_terminal_and_rarely_elsewhere():
    lines = ("begin", "1 of 20, 1.5 s left", "10 of 20, 0.5 s left", "end")
    assert told(*lines, terminal=False) == "begin\n1 of 20, 1.5 s left\nend\n"
    shown = "begin\n1 of 20, 1.5 s left\r\x1b[K10 of 20, 0.5 s left\nend\n"
    assert told(*lines, terminal=True) == shown
