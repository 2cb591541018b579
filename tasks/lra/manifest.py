"""manifest.json of a cached data set: what it is, and size and hash of each of its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks import lra, sealed
from tasks.lra import Dataset


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
    sealed.write(folder, {**identity(dataset), "source": source, "baselines": dict(baselines)})


def read(folder: Path, dataset: Dataset) -> dict[str, Any]:
    """The manifest in a folder, once every file has the size that it says.

    Raises: ValueError with what was found and expected; FileNotFoundError where there is none.
    """
    return sealed.read(folder, identity(dataset))


def wrong(folder: Path, dataset: Dataset | None = None) -> Iterator[str]:
    """Reads every byte of a cache; one sentence for each file that is not what was written."""
    return sealed.wrong(folder, identity(dataset) if dataset else None)
