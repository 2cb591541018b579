"""The user's own texts: a file, a folder, or a folder that is split already.

A .jsonl file has one document per line, in the field "text"; every other file is one document.
Documents of at least SHORT characters are cut as tasks.lm.cuts says; of shorter ones, each 19th
of 20 is for validation and each 20th for the test, whole. A file given alone is cut even if short.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tasks.lm import SPLITS, Split
from tasks.lm.cuts import SHORT, cut

# Of the files in a folder; a file that is named itself may have any ending.
SUFFIXES = (
    *(".txt", ".md", ".rst", ".tex", ".org", ".jsonl"),
    *(".py", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".java", ".js", ".ts", ".go", ".rs"),
    *(".jl", ".r", ".sh", ".sql", ".html", ".xml"),
)
_EACH = 20
# Of a file alone, of which 5 % are then a sentence.
_LEAST = 1000
_OR_SPLIT = "or give a folder with train.txt, valid.txt and test.txt"


def existing(name: str) -> Path:
    """The path of that name. Raises: ValueError if nothing is there."""
    path = Path(name).expanduser()
    if not path.exists():
        raise ValueError(
            f"corpus {name!r} is a path, and nothing is there (looked from {Path.cwd()}); type "
            "the path of a text file, of a .jsonl file, or of a folder with such files"
        )
    return path


def manifest(name: str) -> list[tuple[str, int, str]]:
    """Path inside the folder (or the file's name), bytes and SHA-256 of each file."""
    path = existing(name)
    rows = []
    for file in _files(path):
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        inside = file.relative_to(path).as_posix() if path.is_dir() else file.name
        rows.append((inside, file.stat().st_size, digest))
    return rows


def texts(name: str, split: Split) -> Iterator[str]:
    """The documents, or parts of documents, of a split. Raises: ValueError if it has none."""
    path = existing(name)
    layout = _layout(path)
    if layout:
        return _documents(layout[split])
    files = _files(path)
    if path.is_file() and path.suffix != ".jsonl":
        return _cut_alone(path, split)
    _check_splits(name, files)
    return (text for at, text in _split(files) if at == split)


def _cut_alone(path: Path, split: Split) -> Iterator[str]:
    for text in _documents(path):
        if len(text) < _LEAST:
            raise ValueError(
                f"{path} is too short to split: it has {len(text):,} characters, and at least "
                f"{_LEAST:,} are needed; give a longer text, {_OR_SPLIT}"
            )
        yield cut(text)[split]


def _check_splits(name: str, files: list[Path]) -> None:
    """Reads until each split has a text, which is soon unless there is too little."""
    seen = set()
    for at, _ in _split(files):
        seen.add(at)
        if len(seen) == len(SPLITS):
            return
    raise ValueError(
        f"corpus {name!r} is too short to split: nothing is left for {_missing(seen)}; at least "
        f"{_EACH} documents or one of {SHORT:,} characters are needed; give more text, {_OR_SPLIT}"
    )


def _missing(seen: set[Split]) -> str:
    return " and ".join(split for split in SPLITS if split not in seen)


def _split(files: list[Path]) -> Iterator[tuple[Split, str]]:
    short = 0
    for file in files:
        for text in _documents(file):
            if len(text) >= SHORT:
                yield from cut(text).items()
                continue
            short += 1
            yield _turn(short % _EACH), text


def _turn(turn: int) -> Split:
    if turn == 0:
        return "test"
    return "valid" if turn == _EACH - 1 else "train"


def _layout(path: Path) -> dict[Split, Path]:
    """The files of a folder that is split already; empty for others."""
    named = {
        split: [path / f"{split}{suffix}" for suffix in (".txt", ".jsonl")] for split in SPLITS
    }
    there = {split: [file for file in files if file.is_file()] for split, files in named.items()}
    if not there["train"]:
        return {}
    for split, files in there.items():
        if len(files) != 1:
            found = "both" if files else "neither"
            raise ValueError(
                f"{path} has {there['train'][0].name}, so its files are its splits, and {found} "
                f"of {split}.txt and {split}.jsonl; there must be one for train, valid and test"
            )
    return {split: there[split][0] for split in SPLITS}


def _files(path: Path) -> list[Path]:
    """Texts of a folder, hidden ones left out, sorted by their path in it."""
    if path.is_file():
        return [path]
    if layout := _layout(path):
        return list(layout.values())
    found = sorted(
        (file.relative_to(path).as_posix(), file)
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise ValueError(
            f"folder {path} has no texts: no file in it ends in one of {' '.join(SUFFIXES)}"
        )
    return [file for _, file in found]


def _documents(file: Path) -> Iterator[str]:
    """The documents of one file; those without any character but blanks are left out."""
    empty = True
    for text in _lines(file) if file.suffix == ".jsonl" else [_decoded(file, file.read_bytes())]:
        if text.strip():
            empty = False
            yield text
    if empty:
        raise ValueError(f"{file} has no text; take it out, or write some")


def _lines(file: Path) -> Iterator[str]:
    offset = 0
    with file.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            text = _decoded(file, line, offset)
            offset += len(line)
            if text.strip():
                yield _field(file, number, text)


def _field(file: Path, number: int, line: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {number}: not JSON ({error})") from None
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise ValueError(
            f'{file}, line {number}: expected an object with the text in the field "text", '
            f"found {line.strip()[:60]}"
        )
    return text


def _decoded(file: Path, content: bytes, offset: int = 0) -> str:
    """As it is, but for a byte-order mark."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file} is not UTF-8: byte {content[error.start]:#04x} at offset "
            f"{offset + error.start}; convert it, for example with "
            "iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
        ) from None
