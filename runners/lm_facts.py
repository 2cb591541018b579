"""What `lazoo data` says of corpora: which there are, what is here as tokens, and is it right?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runners.sizes import padded, size, taken
from tasks import sealed
from tasks.lm import SPLITS, corpora, data
from tasks.lm.wanted import Wanted

Fact = dict[str, Any]


def facts(root: Path) -> list[Fact]:
    """The corpora that have a name, then those of which a cache is here."""
    found = [_cached(folder) for folder in _folders(root)]
    caches = [cache for cache in found if cache]
    names = dict.fromkeys([*corpora.NAMES, *(cache["corpus"] for cache in caches)])
    return [
        {
            **_about(name),
            "command": _command(name, root),
            "caches": [cache for cache in caches if cache["corpus"] == name],
        }
        for name in names
    ]


def lines(facts: Sequence[Fact]) -> list[str]:
    """A table of corpora, then one of what is here."""
    head = ("corpus", "kind", "licence", "here as, or what to type")
    known = [
        (
            fact["name"],
            fact["kind"],
            fact["licence"],
            ", ".join(cache["tokeniser"] for cache in fact["caches"]) or fact["command"],
        )
        for fact in facts
    ]
    printed = ["corpora for language models", *padded([head, *known])]
    caches = [cache for fact in facts for cache in fact["caches"]]
    if caches:
        head = ("corpus", "tokeniser", "tokens", "on disk", "folder")
        rows = [
            (c["corpus"], c["tokeniser"], _counts(c["tokens"]), size(c["bytes"]), c["folder"])
            for c in caches
        ]
        printed += ["", "here as tokens: training, validation, test", *padded([head, *rows])]
    more = "Or a text file or folder of yours, or hub:OWNER/NAME: lazoo data lm --help."
    return [*printed, "", more]


def made(found: data.Data) -> str:
    """One line on a corpus that is here: name, source, sizes, what reading nothing scores."""
    parts = (found.train, found.valid, found.test)
    text = " / ".join(size(part.bytes) for part in parts)
    tokens = _counts([len(part.ids) for part in parts])
    scores = ", ".join(f"{name} {value:.3f}" for name, value in found.baselines.items())
    return (
        f"{found.corpus}: {found.source}, {text}; as {found.tokeniser.name} {tokens} tokens;"
        f" {scores} bits per byte; {found.folder}"
    )


def verified(root: Path) -> Iterator[tuple[str, bool]]:
    """A line for each cache and for each thing that is wrong with one; is it good?"""
    for folder in sorted((root / "lm").glob("*/")):
        if folder.suffix == ".part" or ".old-" in folder.name:
            yield f"left   {folder}: unfinished; it can be removed, unless it is being made", True
            continue
        problems = list(sealed.wrong(folder)) or list(_foreign(folder))
        if not problems:
            yield f"ok     {folder}: {size(taken(folder))}{_note(folder, root)}", True
        for problem in problems:
            yield f"wrong  {problem}", False


def _foreign(folder: Path) -> Iterator[str]:
    """Is the tokeniser beside the ids the one that made them?"""
    found = sealed.read(folder)
    try:
        made, there = found["tokeniser"]["sha256"], found["files"]["tokenizer.json"]["sha256"]
    except (KeyError, TypeError) as error:
        yield f"{folder / sealed.NAME} is no manifest of a corpus: {error!r}"
        return
    if made != there:
        yield f"{folder / 'tokenizer.json'} has sha256 {there}, but the ids were made with {made}"


def _note(folder: Path, root: Path) -> str:
    """Why a cache that is right is not used, if so."""
    found = sealed.read(folder)
    wanted = Wanted(found["corpus"], found["tokeniser"]["name"], root)
    try:
        same = wanted.folder.name == folder.name
    except (ValueError, OSError):  # a path of the user's that is not there, from here
        return f"; {wanted} is not there now, so it is not used"
    return "" if same else f"; {wanted} is another text or another version now: not used"


def _cached(folder: Path) -> Fact | None:
    """What the manifest of a cache says; None where it is damaged."""
    try:
        found = sealed.read(folder)
        return {
            "corpus": found["corpus"],
            "tokeniser": found["tokeniser"]["name"],
            "tokens": [found["splits"][split]["tokens"] for split in SPLITS],
            "bytes": taken(folder),
            "folder": str(folder),
        }
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _about(name: str) -> Fact:
    try:
        about = corpora.corpus(name)
    except ValueError as error:  # a path of the user's that is gone; its tokens are still here
        return {"name": name, "kind": "user", "licence": "", "about": str(error)}
    return {"name": name, "kind": about.kind, "licence": about.licence, "about": about.about}


def _command(name: str, root: Path) -> str:
    try:
        return data.command(name, "bytes", root)
    except ValueError:
        return ""


def _folders(root: Path) -> list[Path]:
    found = (path.parent for path in (root / "lm").glob(f"*/{sealed.NAME}"))
    return sorted(path for path in found if path.suffix != ".part" and ".old-" not in path.name)


def _counts(counts: Sequence[int]) -> str:
    return " / ".join(f"{count:,}" for count in counts)
