"""What `lazoo data` says: which data sets there are, which are here, and whether they are right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runners.sizes import padded, size, taken
from tasks import lra
from tasks.lra import Dataset, Split, data, downloads, manifest
from tasks.lra.sources import SOURCES

Fact = dict[str, Any]


def fact(dataset: Dataset, root: Path) -> Fact:
    """One data set: what it is, where it is or what to type, what obtaining it takes."""
    folder = data.cache_folder(dataset, root)
    sources = SOURCES.get(dataset.name, ())
    size = sum(source.bytes for source in sources)
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "task": dataset.of,
        "rows": dict(dataset.rows),
        "length": dataset.length,
        "documents": dataset.documents,
        "about": dataset.about,
        "here": _state(dataset, folder),
        "folder": str(folder),
        "bytes": taken(folder),
        "command": data.command(dataset, root) + " --yes" * (size > data.SMALL),
        "download_bytes": size,
        "downloads": [
            {"what": s.what, "bytes": s.bytes, "from": s.place, "licence": s.licence}
            for s in sources
        ],
    }


def lines(facts: Sequence[Fact]) -> list[str]:
    """A table of facts, then what would be downloaded."""
    head = ["name", "kind", "task", "rows", "length", "obtained", "here, or what to type"]
    printed = padded([head, *(_cells(fact) for fact in facts)])
    needed = {d["what"]: d for fact in facts for d in fact["downloads"]}
    if needed:
        printed += ["", "downloads, and under which licence"]
        printed += [
            f"  {d['what']}: {size(d['bytes'])} {d['from']}; {d['licence']}"
            for d in needed.values()
        ]
    kinds = "Only scores on data of the kind lra are LRA scores. Rows: training, validation, test."
    return [*printed, "", kinds]


def made(found: data.Data) -> str:
    """One line on a data set that is here: name, source, rows, what guessing scores, folder."""
    guesses = ", ".join(f"{name} {100 * value:.1f} %" for name, value in found.baselines.items())
    counts = _rows(found.dataset.rows)
    return f"{found.dataset.name}: {found.source}, {counts} rows; {guesses}; {found.folder}"


def verified(root: Path) -> Iterator[tuple[str, bool]]:
    """A line for each cache, each download and each thing that is wrong with one; is it good?"""
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; type --root and the folder of data sets")
    used = {data.cache_folder(dataset, root): dataset for dataset in lra.DATASETS.values()}
    for folder in sorted((root / "lra").glob("*/")):
        if folder.suffix == ".part" or ".old-" in folder.name:
            yield f"left   {folder}: unfinished; its data set is built from it or anew", True
            continue
        problems = list(manifest.wrong(folder, used.get(folder)))
        note = "" if folder in used else ", of another version or other parameters: not used"
        if not problems:
            yield f"ok     {folder}: {size(taken(folder))}{note}", True
        for problem in problems:
            yield f"wrong  {problem}", False
    for source in {source.file: source for many in SOURCES.values() for source in many}.values():
        path = root / data.KEPT / source.file
        if path.is_file():
            problem = downloads.wrong(source, path)
            yield (f"wrong  {problem}", False) if problem else (f"ok     {path}", True)


def _cells(fact: Fact) -> list[str]:
    length = f"{fact['length']:,}" if fact["documents"] == 1 else f"2 x {fact['length']:,}"
    how = f"download, {size(fact['download_bytes'])}" if fact["downloads"] else "generated"
    here = f"here, {size(fact['bytes'])}" if fact["here"] == "yes" else fact["command"]
    if fact["here"] not in ("yes", "no"):
        here = f"{fact['here']}; {here}"
    return [fact["name"], fact["kind"], fact["task"], _rows(fact["rows"]), length, how, here]


def _rows(counts: dict[Split, int] | Any) -> str:
    return " / ".join(f"{count:,}" for count in counts.values())


def _state(dataset: Dataset, folder: Path) -> str:
    """yes, no, damaged, or begun."""
    try:
        manifest.read(folder, dataset)
    except FileNotFoundError:
        return "begun" if list(folder.parent.glob(f"{folder.name}.*.part")) else "no"
    except ValueError:
        return "damaged"
    return "yes"
