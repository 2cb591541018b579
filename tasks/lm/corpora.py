"""Where text comes from: with the package, from this machine, from the user, or from the hub.

classics                       King James Bible and Shakespeare, in the package
pysource                       Python source of the standard library and torch
pysource:numpy,pandas          Python source of other installed packages
texts/ or notes.txt            the user's own
wikitext-103, hub:OWNER/NAME   a data set of the Hugging Face hub
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from tasks.lm import Split, classics, hub, installed, user
from tasks.lm.hub_names import ALIASES, source

Kind = Literal["embedded", "installed", "user", "hub"]
NAMES = ("classics", "pysource", *ALIASES)


@dataclass(frozen=True)
class Corpus:
    """What a corpus is. name: as typed. about: one sentence for people."""

    name: str
    title: str
    kind: Kind
    licence: str
    about: str

    @property
    def counts_lines(self) -> bool:
        """Whether an end of a line is a word in published word perplexities (WikiText)."""
        return self.kind == "hub" and "wikitext" in self.name


def corpus(name: str) -> Corpus:
    """The corpus of that name. Raises: ValueError with what to type instead."""
    match kind(name):
        case "embedded":
            return Corpus(
                name,
                "Classics",
                "embedded",
                "public domain",
                "King James Bible and Shakespeare, 9.2 MB of English that come with the package",
            )
        case "installed":
            packages = ", ".join(installed.packages(name))
            return Corpus(
                name,
                "Python source",
                "installed",
                installed.licence(name),
                f"Python files of {packages} as installed here: differs from machine to machine",
            )
        case "user":
            path = user.existing(name)
            return Corpus(name, path.name, "user", "your own", f"texts in {name}")
        case "hub":
            found = source(name)
            return Corpus(name, found.title, "hub", found.licence, found.about)


def kind(name: str) -> Kind:
    """Raises: ValueError with the nearest names."""
    if name == "classics":
        return "embedded"
    if name == "pysource" or name.startswith("pysource:"):
        return "installed"
    if name.startswith("hub:") or name.partition("@")[0] in ALIASES:
        return "hub"
    separators = {os.sep, os.altsep, "/"} - {None}
    if name and (any(s in name for s in separators if s) or Path(name).exists()):
        return "user"
    close = get_close_matches(name, NAMES, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"type one of {', '.join(NAMES)}."
    raise ValueError(
        f"corpus {name!r} is not known; {hint} Or type the path of a text file or folder "
        "(./NAME for one in the current folder), or hub:OWNER/NAME"
    )


def identity(name: str) -> str:
    """16 hexadecimal digits of what outside the package decides the text; "" if nothing does.

    A data set of the hub has none: pin it with @REVISION in its name.
    """
    lines = [f"{path} {size} {digest}\n" for path, size, digest in manifest(name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16] if lines else ""


def manifest(name: str) -> list[tuple[str, int, str]]:
    """Path in the corpus, bytes and SHA-256 of each file; empty for classics and the hub."""
    match kind(name):
        case "installed":
            files = installed.listing(installed.packages(name)).files
            return [(file.name, file.bytes, file.sha256) for file in files]
        case "user":
            return user.manifest(name)
    return []


def documents(name: str, split: Split, limit: int | None = None) -> Iterator[str]:
    """The texts of a split in fixed order.

    limit: stops after the document that makes it this many bytes of UTF-8; None for all.
    """
    match kind(name):
        case "embedded":
            texts: Iterable[str] = classics.texts(split)
        case "installed":
            texts = installed.texts(name, split)
        case "user":
            texts = user.texts(name, split)
        case "hub":
            texts = hub.texts(name, split)
    return iter(texts) if limit is None else _first(texts, limit)


def _first(texts: Iterable[str], limit: int) -> Iterator[str]:
    taken = 0
    for text in texts:
        yield text
        taken += len(text.encode("utf-8"))
        if taken >= limit:
            return
