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
    assert all(chosen in DATASETS for chosen in getattr(parsed, "names", ()))


def test_a_damaged_folder_of_the_users_exits_with_1(capsys, folder):
    (folder / "mine/listops").mkdir(parents=True)
    for split in ("train", "val", "test"):
        (folder / f"mine/listops/basic_{split}.tsv").write_text("Source\tTarget\n[MAX")
    lra.DATASETS["listops"] = replace(DATASETS["listops"], rows=lra.rows(1, 1, 1))
    code, out, err = run(capsys, "lra listops --from mine")
    del lra.DATASETS["listops"]
    assert code == 1
    assert "basic_train.tsv, line 2 has 1 fields" in err


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
