"""Rows on disk: JSON lines, append only, one file for every writing process.

A folder holds `<task>.<writer>.jsonl`. No file has two writers, so no lock is needed, on shared
disks either, and merging two folders is copying files. Readers never change a row file, because its
writer may be at work: what cannot be read is copied to `<file>.damaged` and named in
`Store.warnings`.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


class Store:
    """The rows in one folder.

    folder: made by the first append. warnings: what the last `read` could not use, for the caller
    to print on standard error.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.warnings: list[str] = []
        self._writer = ""
        self._pid = 0

    def append(self, row: Row) -> Path:
        """Add one row and return its file; by then the row survives a crash or a power cut."""
        task = task_of(row)
        line = encode(row)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._pid != os.getpid():  # also in a fork of the process that made this Store
            self._new_writer()
        path = self.folder / f"{task}.{self._writer}.jsonl"
        try:
            append_durably(path, line)
        except OSError as error:
            self._new_writer()  # whatever this file ends with now, no row will be glued to it
            raise OSError(
                error.errno or errno.EIO,
                f"{os.strerror(error.errno or errno.EIO)}: a row of {len(line):,} bytes was not "
                "stored; every row before it is. Make room, then run the command again",
                str(path),
            ) from error
        return path

    def read(self, task: str) -> list[Row]:
        """One row per key, by time. An ok row beats a failure, otherwise the newest wins."""
        self.warnings = []
        rows: list[Row] = []
        for path in sorted(self.folder.glob(f"{task}.*.jsonl")):
            good, damaged = split_lines(path.read_bytes(), task)
            rows += good
            if damaged:
                self.warnings.append(set_aside(path, damaged))
        return union(rows)

    def _new_writer(self) -> None:
        self._pid = os.getpid()
        self._writer = f"{self._pid}-{secrets.token_hex(6)}"


def union(rows: Iterable[Row]) -> list[Row]:
    """One row per key, in whatever order and however often they come: see `Store.read`."""
    chosen: dict[str, tuple[tuple[bool, str, str], Row]] = {}
    for row in rows:
        rank = (row["status"] == "ok", str(row.get("time", "")), json.dumps(row, sort_keys=True))
        if row["key"] not in chosen or rank > chosen[row["key"]][0]:
            chosen[row["key"]] = rank, row
    return [row for _, row in sorted(chosen.values(), key=lambda pair: pair[0][1:])]


def encode(row: Row) -> bytes:
    """One line of JSON. Floats keep every digit; nan and infinity become null."""
    return (json.dumps(plain(row), allow_nan=False, ensure_ascii=False) + "\n").encode()


def plain(value: Any) -> Any:
    """The same value in types that JSON has."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def task_of(row: Row) -> str:
    """The task's name, once the row has what every reader relies on."""
    for name in ("key", "task", "status"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise ValueError(
                f"a row needs a non-empty string `{name}`; this one has {row.get(name)!r}"
            )
    if not re.fullmatch(r"[a-z0-9_-]+", row["task"]):
        raise ValueError(
            f"task {row['task']!r} names a file, so it can only have a-z, 0-9, _ and -; "
            "type for example 'mqar' or 'lra-listops'"
        )
    return row["task"]


def append_durably(path: Path, line: bytes) -> None:
    """Write the whole line and force it to disk, or leave the file as it was and raise OSError."""
    new = not path.exists()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(file).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
    if new:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def split_lines(data: bytes, task: str) -> tuple[list[Row], list[bytes]]:
    """Rows of one file, and the lines that are none: foreign ones, and a last one without end."""
    *lines, tail = data.split(b"\n")
    rows: list[Row] = []
    damaged: list[bytes] = []
    for line in lines:
        row = decode(line, task)
        if row is not None:
            rows.append(row)
        elif line.strip():
            damaged.append(line)
    return rows, damaged + [tail] * bool(tail)


def decode(line: bytes, task: str) -> Row | None:
    """The row in a line, or None where the line is no row of this task."""
    try:
        row = json.loads(line, parse_constant=_refuse)
        return row if task_of(row) == task else None
    except (ValueError, AttributeError):  # no JSON, no UTF-8, no object, no key
        return None


def set_aside(path: Path, damaged: list[bytes]) -> str:
    """Copy the damaged lines of a file beside it and say so in one sentence.

    The copy depends on the file alone, so reading again, or from two processes, changes nothing.
    """
    copy = path.with_name(path.name + ".damaged")
    content = b"".join(line + b"\n" for line in damaged)
    lines = "1 line" if len(damaged) == 1 else f"{len(damaged)} lines"
    said = (
        f"{path}: {lines}, {len(content):,} bytes, cannot be read (cut off by a kill, or foreign)"
    )
    try:
        if not copy.exists() or copy.read_bytes() != content:
            draft = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
            draft.write_bytes(content)
            draft.replace(copy)
    except OSError as error:  # a read-only folder must stay readable
        return f"{said}; skipped, and not copied aside: {error.strerror}"
    return f"{said}; set aside in {copy.name}, the rows around it are used"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
