"""The trained models that a folder of runs keeps, and one line about each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from runners.trained_files import CONFIG

SHOWN = 12  # models that an error lists


def kept(models: Path) -> dict[str, Path]:
    """Folders of trained models by name, without those that are being written."""
    try:
        folders = sorted(models.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {f.name: f for f in folders if (f / CONFIG).is_file() and "." not in f.name}


def listing(found: dict[str, Path], keys: list[str]) -> str:
    lines = [f"  {key}  {words(found[key])}".rstrip() for key in keys[:SHOWN]]
    more = [f"  and {len(keys) - SHOWN} more"] if len(keys) > SHOWN else []
    return "\n".join([*lines, *more])


def words(folder: Path) -> str:
    """Model, corpus and score, as far as its config.json says."""
    return ", ".join(_words(folder))


def _words(folder: Path) -> Iterator[str]:
    try:
        told = json.loads((folder / CONFIG).read_bytes())
        about = told.get("about") or {}
    except (OSError, ValueError, AttributeError):
        yield f"{CONFIG} is damaged"
        return
    yield str(told.get("zoo_model"))
    if about.get("corpus"):
        yield str(about["corpus"])
    if isinstance(about.get("tokens"), int):
        yield f"{about['tokens']:,} tokens"
    if isinstance(about.get("value"), float):
        yield f"{about['value']:.3f} bits per byte"
