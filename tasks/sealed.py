"""Folders that are whole: a manifest.json holds size and hash of each of their files.

A folder is written under the name `.part`, sealed, and only then given its own name.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NAME = "manifest.json"


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Hashes the files in a folder and writes its manifest. content: what else it says."""
    files = {path.name: file_facts(path) for path in sorted(folder.iterdir()) if path.name != NAME}
    created = {"files": files, "created_by": f"linear-attention-zoo {_version()}"}
    write_text(folder / NAME, json.dumps({**content, **created}, indent=2) + "\n")


def read(folder: Path, expected: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The manifest in a folder, once every file has the size that it says.

    expected: what else it has to say.
    Raises: ValueError with what was found and expected; FileNotFoundError where there is none.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        files = {name: int(facts["bytes"]) for name, facts in found["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no manifest: {error!r}") from error
    for key, value in (expected or {}).items():
        if found.get(key) != value:
            raise ValueError(f"{path}: {key} is {found.get(key)!r}, expected {value!r}")
    for name, size in files.items():
        there = (folder / name).stat().st_size if (folder / name).is_file() else None
        if there != size:
            said = "missing" if there is None else f"{there:,} bytes"
            raise ValueError(f"{folder / name} is {said}, expected {size:,} bytes")
    return found


def wrong(folder: Path, expected: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Reads every byte of a folder; one sentence for each file that is not what was written."""
    try:
        found = read(folder, expected)
    except FileNotFoundError:
        yield f"{folder / NAME} is missing, expected in every cache"
        return
    except (ValueError, OSError) as error:
        yield str(error)
        return
    for name, facts in found["files"].items():
        sha256 = file_facts(folder / name)["sha256"]
        if sha256 != facts["sha256"]:
            yield f"{folder / name} has sha256 {sha256}, expected {facts['sha256']}"
    for path in sorted(folder.iterdir()):
        if path.name != NAME and path.name not in found["files"]:
            yield f"{path} is not in {NAME}, expected {', '.join(found['files'])}"


def split_sha256(files: Mapping[str, Mapping[str, Any]], split: str) -> str:
    """One hash for the arrays of a split."""
    lines = [f"{n} {files[n]['sha256']}\n" for n in sorted(files) if n.startswith(f"{split}.")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def name(part: Path, folder: Path) -> None:
    """Gives what was written as `part` its name, in the place of what had it."""
    sync(part)
    if folder.exists():  # damaged, or from elsewhere; who has it open keeps reading it
        old = folder.with_name(f"{folder.name}.old-{secrets.token_hex(4)}")
        folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old)
    else:
        part.rename(folder)
    sync(folder.parent)


def file_facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def write_text(path: Path, text: str) -> None:
    """A file that is there whole or not at all, also after a power cut."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def sync(folder: Path) -> None:
    """Makes new names in a folder as durable as what they name."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _version() -> str:
    try:
        return version("linear-attention-zoo")
    except PackageNotFoundError:
        return "(not installed)"
