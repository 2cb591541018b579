"""manifest.json of a cached data set: what it is, and size and hash of each of its files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tasks import lra
from tasks.lra import Dataset

NAME = "manifest.json"


def identity(dataset: Dataset) -> dict[str, Any]:
    """What decides the content of a data set; its cache is named after a hash of this."""
    return {
        "name": dataset.name,
        "length": dataset.length,
        "documents": dataset.documents,
        "rows": dict(dataset.rows),
        "parameters": dict(dataset.parameters),
        "version": lra.VERSION,
    }


def write(folder: Path, dataset: Dataset, source: str, baselines: Mapping[str, float]) -> None:
    """Hashes the arrays in a folder and seals them."""
    files = {path.name: file_facts(path) for path in sorted(folder.glob("*.npy"))}
    content = {
        **identity(dataset),
        "source": source,
        "baselines": dict(baselines),
        "files": files,
        "created_by": f"linear-attention-zoo {_version()}",
    }
    write_text(folder / NAME, json.dumps(content, indent=2) + "\n")


def read(folder: Path, dataset: Dataset | None = None) -> dict[str, Any]:
    """The manifest in a folder, once every file has the size that it says.

    Raises: ValueError with what was found and expected; FileNotFoundError where there is none.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        files = {name: int(facts["bytes"]) for name, facts in found["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no manifest: {error!r}") from error
    for key, expected in (identity(dataset) if dataset else {}).items():
        if found.get(key) != expected:
            raise ValueError(f"{path}: {key} is {found.get(key)!r}, expected {expected!r}")
    for name, expected in files.items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != expected:
            said = "missing" if size is None else f"{size:,} bytes"
            raise ValueError(f"{folder / name} is {said}, expected {expected:,} bytes")
    return found


def wrong(folder: Path, dataset: Dataset | None = None) -> Iterator[str]:
    """Reads every byte of a cache; one sentence for each file that is not what was written."""
    try:
        found = read(folder, dataset)
    except FileNotFoundError:
        yield f"{folder / NAME} is missing, expected in every cache"
        return
    except (ValueError, OSError) as error:
        yield str(error)
        return
    for name, expected in found["files"].items():
        sha256 = file_facts(folder / name)["sha256"]
        if sha256 != expected["sha256"]:
            yield f"{folder / name} has sha256 {sha256}, expected {expected['sha256']}"
    for path in sorted(folder.iterdir()):
        if path.name != NAME and path.name not in found["files"]:
            yield f"{path} is not in {NAME}, expected {', '.join(found['files'])}"


def split_sha256(files: Mapping[str, Mapping[str, Any]], split: str) -> str:
    """One hash for the arrays of a split."""
    lines = [f"{n} {files[n]['sha256']}\n" for n in sorted(files) if n.startswith(f"{split}.")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


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
