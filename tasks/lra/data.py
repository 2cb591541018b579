"""Data sets of the Long Range Arena on disk: found, built, opened.

A cache is a folder of arrays (tasks/lra/arrays.py) with a manifest.json of their sizes and hashes.
It has its name only when it is whole: everything is written to a folder `.part` first.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from tasks import lra, sealed
from tasks.locks import alone
from tasks.lra import Dataset, Split, arrays, checks, downloads, layout, manifest
from tasks.lra.arrays import Rows
from tasks.lra.sources import SOURCES, Source

Tell = Callable[[str], None]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
KEPT = "downloads"  # folder of what was downloaded, beside the caches
SMALL = 50_000_000  # bytes that may be downloaded without asking
# The module that builds the data sets which are, or stand in for, a task.
BUILDERS = {task: f"tasks.lra.{task}" for task in lra.TASKS} | {"pathx": "tasks.lra.pathfinder"}


class MissingData(ValueError):
    """A data set is not on this machine; the message says what to type."""


@dataclass(frozen=True)
class Data:
    """A data set at hand.

    sha256: of each split's content. source: where it comes from, in a few words. baselines:
    accuracy on the test set of guesses that read nothing, or the first token, fractions.
    """

    dataset: Dataset
    train: Rows
    valid: Rows
    test: Rows
    sha256: dict[str, str]
    source: str
    folder: Path
    baselines: dict[str, float]


def cache_folder(dataset: Dataset | str, root: Path) -> Path:
    """Where a data set lies: root/lra/<name>-<8 hex digits of what decides its content>."""
    data = _known(dataset)
    decides = json.dumps(manifest.identity(data), sort_keys=True)
    return Path(root) / "lra" / f"{data.name}-{hashlib.sha256(decides.encode()).hexdigest()[:8]}"


def write_split(
    folder: Path, split: Split, inputs: Any, labels: Any, *, documents: int = 1
) -> None:
    """Writes one split of a data set as a stream: no more than a block is held in memory.

    inputs: uint8 or uint16; rows length, or an iterable of such blocks, where all rows have one
    length; otherwise an iterable of rows (one axis each), or with documents=2 of pairs of them.
    labels: an integer for each row, below 256; an array or an iterable, which is read after the
    inputs, so a list may grow while they are drawn.
    """
    arrays.write(Path(folder), split, inputs, labels, documents)


def open_data(
    dataset: Dataset | str, root: Path, selection: Literal["validation", "test"] = "validation"
) -> Data:
    """The cached data set; sizes of its files are checked, hashes are not (`lazoo data verify`).

    selection: what runs are selected by; with "test", the published protocol of Text, `valid` is
    the test set (see tasks.lra.rows_of).
    Raises: MissingData where there is none, ValueError where a file is not what was written.
    """
    data, folder = _known(dataset), cache_folder(dataset, root)
    if not (folder / sealed.NAME).is_file():
        raise MissingData(f"{data.name} is not in {root}; type: {command(data, root)}")
    found = manifest.read(folder, data)
    parts = {name: arrays.read(folder, name, data.documents, data.length) for name in SPLITS}
    sha256 = {name: sealed.split_sha256(found["files"], name) for name in SPLITS}
    if selection == "test":
        if lra.rows_of(data, "test")["train"] != data.rows["train"]:
            parts["train"] = arrays.joined(parts["train"], parts["valid"])
            both = f"{sha256['train']} {sha256['valid']}\n"
            sha256["train"] = hashlib.sha256(both.encode()).hexdigest()
        parts["valid"], sha256["valid"] = parts["test"], sha256["test"]
    source, baselines = found["source"], found["baselines"]
    return Data(data, **parts, sha256=sha256, source=source, folder=folder, baselines=baselines)


def prepare(
    dataset: Dataset | str,
    root: Path,
    *,
    user: Path | None = None,
    tell: Tell,
    limit: int = SMALL,
) -> Data:
    """Opens a data set; builds it first where it is missing or damaged.

    It is looked for in the folder `user`, which has the layout of LRA's release, then generated or
    downloaded. tell: gets a line of progress now and then. limit: bytes that may be downloaded.
    Raises: MissingData for a larger download; ValueError for wrong files; OSError.
    """
    data, folder = _known(dataset), cache_folder(dataset, root)
    given = layout.find(data, user) if user else None
    if user and not given:
        tell(f"{user} has no {data.name}; looking elsewhere")
    if _problem(data, folder, given) is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(folder, tell):
            if (problem := _problem(data, folder, given)) is not None:
                tell(problem or f"building {data.name} in {folder}")
                _build(data, folder, given, tell, limit)
    return open_data(data, root)


def missing(dataset: Dataset | str, root: Path) -> list[Source]:
    """What would have to be downloaded to build a data set."""
    sources = SOURCES.get(_known(dataset).name, ())
    return [source for source in sources if not downloads.present(source, Path(root) / KEPT)]


def command(data: Dataset, root: Path) -> str:
    """What to type to prepare a data set."""
    where = "" if Path(root) == Path("data") else f" --root {root}"
    return f"lazoo data lra {data.name}{where}"


def _problem(data: Dataset, folder: Path, given: Path | None) -> str | None:
    """Why a cache has to be built: damage, or nothing is there (""); None where it can be used."""
    try:
        found = manifest.read(folder, data)
    except FileNotFoundError:
        return ""
    except ValueError as error:
        return f"{error}; building {data.name} again"
    if given and found["source"] != layout.SOURCE:
        return f"{folder} is not from {given} ({found['source']}); building {data.name} again"
    return None


def _build(data: Dataset, folder: Path, given: Path | None, tell: Tell, limit: int) -> None:
    root = folder.parent.parent
    takes, free = sum(data.rows.values()) * data.length, shutil.disk_usage(folder.parent).free
    if data.pixels and takes > free:
        raise OSError(f"{data.name} takes {takes:,} bytes, more than the {free:,} free in {root}")
    part = folder.with_name(f"{folder.name}.{'from' if given else 'made'}.part")
    if given:
        part.mkdir(exist_ok=True)
        source = layout.build(data, given, part, tell=tell)
    else:
        absent = missing(data, root)
        for source in absent:
            tell(f"to download: {source}")
        if (size := sum(source.bytes for source in absent)) > limit:
            said = f"{data.name} needs a download of {size:,} bytes, more than {limit:,}"
            raise MissingData(f"{said}; type: {command(data, root)} --yes")
        fetch = partial(downloads.obtain, kept=root / KEPT, tell=tell)
        part.mkdir(exist_ok=True)
        build = import_module(BUILDERS[data.of]).build
        needs = {"fetch": fetch} if data.name in SOURCES else {}
        source = build(data, part, tell=tell, **needs)
    _seal(data, part, folder, source)


def _seal(data: Dataset, part: Path, folder: Path, source: str) -> None:
    """Checks what was built, writes its manifest and gives it its name."""
    splits: dict[Split, Rows] = {
        split: arrays.read(part, split, data.documents, data.length) for split in SPLITS
    }
    checks.check(data, splits)
    kept = {path for split in SPLITS for path in arrays.files_of(part, split).values()}
    for path in set(part.iterdir()) - kept:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    manifest.write(part, data, source, checks.baselines(data, splits))
    sealed.name(part, folder)


def _known(dataset: Dataset | str) -> Dataset:
    return lra.dataset(dataset) if isinstance(dataset, str) else dataset
