"""Python source that is installed on this machine, as a corpus that needs no download.

Two machines rarely have the same files, so scores compare within one environment only; the
identity of the corpus says which one it was.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tasks.lm import Split

DEFAULT = ("stdlib", "torch")
_LICENCES = {"stdlib": "PSF-2.0 (standard library)", "torch": "BSD-3-Clause (torch)"}
# Tests are long tables of cases; site-packages lies inside the standard library's folder.
_LEFT_OUT = {"test", "tests", "idle_test", "__pycache__", "site-packages", "dist-packages"}
# Of 40 files, one is for validation and one for the test: 2.5 % each.
_FILES_PER_SPLIT = 40


@dataclass(frozen=True)
class File:
    """path: where it is. name: package/path/in/it.py, by which it is sorted and split."""

    path: Path
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Listing:
    """files: sorted by name. The counts are files left out: not UTF-8, same content, no text."""

    files: tuple[File, ...]
    undecodable: int
    duplicates: int
    empty: int


def packages(name: str) -> tuple[str, ...]:
    """The packages of `pysource` (standard library and torch) or `pysource:numpy,pandas`."""
    if name == "pysource":
        return DEFAULT
    given = name.removeprefix("pysource:").split(",")
    for package in given:
        _roots(package)
    if len(set(given)) < len(given):
        raise ValueError(f"corpus {name!r} names a package twice; type each once")
    return tuple(given)


def licence(name: str) -> str:
    return ", ".join(_LICENCES.get(p, f"{p}'s own") for p in packages(name))


def texts(name: str, split: Split) -> Iterator[str]:
    """The files of a split, one document each."""
    for file in listing(packages(name)).files:
        if split_of(file.name) == split:
            yield file.path.read_bytes().decode("utf-8")


def split_of(name: str) -> Split:
    """Whole files, chosen by their name alone: a file is in the same split on every machine."""
    drawn = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % _FILES_PER_SPLIT
    if drawn == 0:
        return "valid"
    return "test" if drawn == 1 else "train"


@cache
def listing(packages: tuple[str, ...]) -> Listing:
    """Every file of the packages with its hash; 59 MB take about a second. Kept in the process."""
    files: dict[str, File] = {}
    undecodable = duplicates = empty = 0
    for name, path in sorted(found for package in packages for found in _sources(package)):
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if not content.strip():
            empty += 1
        elif not _is_utf8(content):
            undecodable += 1
        elif digest in files:
            duplicates += 1
        else:
            files[digest] = File(path, name, len(content), digest)
    return Listing(tuple(files.values()), undecodable, duplicates, empty)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    for root in _roots(package):
        if root.is_file():
            yield root.name, root
            continue
        for folder, folders, files in os.walk(root):
            folders[:] = [f for f in folders if f not in _LEFT_OUT]
            for file in files:
                if file.endswith(".py"):
                    path = Path(folder, file)
                    yield f"{package}/{path.relative_to(root).as_posix()}", path


def _roots(package: str) -> list[Path]:
    """Folders, or the one file, of a package. It is looked up, never imported."""
    if package == "stdlib":
        return [Path(sysconfig.get_paths()["stdlib"])]
    # A dotted name would make find_spec import the part before the dot.
    spec = find_spec(package) if package.isidentifier() and package != "__main__" else None
    if spec is None:
        raise ValueError(
            f"package {package!r} of the corpus is not installed here; type names as in `import` "
            "statements (sklearn, not scikit-learn), for example pysource:numpy,pandas, or "
            "pysource for the standard library (stdlib) and torch"
        )
    if spec.submodule_search_locations:
        return [Path(folder) for folder in spec.submodule_search_locations]
    if spec.origin and spec.origin.endswith(".py"):
        return [Path(spec.origin)]
    raise ValueError(f"package {package!r} of the corpus is compiled and has no Python source")
