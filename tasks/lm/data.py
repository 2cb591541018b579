"""Corpora as token ids on disk: found, built, opened.

A cache is a folder of memory-mapped arrays with the tokenizer.json that made them and a
manifest.json of what is in it. It has its name only when it is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import sealed
from tasks.lm import SPLITS, Split, build, cache, tokenisers
from tasks.lm.cache import Tell
from tasks.lm.tokenisers import Tokeniser
from tasks.lm.tokens import Tokens
from tasks.lm.wanted import Wanted
from tasks.locks import alone

SMALL = 50_000_000  # bytes that may be downloaded without asking
AGAIN = "; to build it again, type: "


class MissingData(ValueError):
    """A corpus is not on this machine as tokens; the message says what to type."""


@dataclass(frozen=True, eq=False)
class Data:
    """A corpus as tokens.

    sha256: of each split's ids. source: where the text comes from, in a few words. baselines: bits
    per byte on the test split: "xz" of the test text alone, "unigram" of the training bytes.
    """

    corpus: str
    tokeniser: Tokeniser
    train: Tokens
    valid: Tokens
    test: Tokens
    sha256: dict[Split, str]
    source: str
    folder: Path
    baselines: dict[str, float]


def cache_folder(corpus: str, tokeniser: str, root: Path) -> Path:
    """Where a corpus lies as tokens, whether or not it is there."""
    return Wanted(corpus, tokeniser, Path(root)).folder


def command(corpus: str, tokeniser: str, root: Path) -> str:
    """What to type to prepare a corpus."""
    return Wanted(corpus, tokeniser, Path(root)).command


def open_data(corpus: str, tokeniser: str, root: Path) -> Data:
    """The cached corpus; sizes of its files are checked, hashes are not (`lazoo data verify`).

    Raises: MissingData where there is none, ValueError where a file is not what was written.
    """
    return _opened(Wanted(corpus, tokeniser, Path(root)))


def prepare(
    corpus: str,
    tokeniser: str,
    root: Path,
    *,
    tell: Tell,
    limit: int = SMALL,
    first: int | None = None,
) -> Data:
    """Opens a corpus; builds its cache first where that is missing or damaged.

    tell: gets a line of progress now and then. limit: bytes that may be downloaded; a corpus of
    the hub, whose size is not known, needs a limit above SMALL. first: bytes of text of each split
    of a corpus of the hub; None for all, or for what is there.
    Raises: MissingData for a download that is not allowed; ValueError for wrong text; OSError.
    """
    wanted = Wanted(corpus, tokeniser, Path(root))
    if first is not None and not wanted.from_hub:
        raise ValueError(f"{corpus} is read as a whole; a limit is for corpora of the hub")
    if _problem(wanted, first) is not None:
        if wanted.from_hub and limit <= SMALL:
            said = f"{corpus} is a download of a size that is not known"
            raise MissingData(f"{said}; type: {wanted.command}")
        try:
            wanted.folder.parent.mkdir(parents=True, exist_ok=True)
            with alone(wanted.folder, tell):
                if (problem := _problem(wanted, first)) is not None:
                    tell(problem or f"building {wanted} in {wanted.folder}")
                    build.build(wanted, tell, first)
        except OSError as error:
            raise OSError(build.explained(error, wanted.folder)) from error
    return _opened(wanted)


def _opened(wanted: Wanted) -> Data:
    folder = wanted.folder
    if not (folder / sealed.NAME).is_file():
        raise MissingData(f"{wanted} is not in {wanted.root}; type: {wanted.command}")
    try:
        found = sealed.read(folder, wanted.decides)
        made = _tokeniser(wanted.tokeniser, folder, found)
        parts = {split: cache.read(folder, split, found["splits"][split]) for split in SPLITS}
    except ValueError as error:
        raise ValueError(f"{error}{AGAIN}{wanted.command}") from error
    sha256: dict[Split, str] = {
        split: sealed.split_sha256(found["files"], split) for split in SPLITS
    }
    rest = {"source": found["source"], "folder": folder, "baselines": found["baselines"]}
    return Data(wanted.corpus, made, **parts, sha256=sha256, **rest)


def _problem(wanted: Wanted, first: int | None) -> str | None:
    """Why a cache has to be built: damage, or nothing is there (""); None where it can be used."""
    try:
        _opened(wanted)
    except MissingData:
        return ""
    except ValueError as error:
        return f"{str(error).partition(AGAIN)[0]}; building it again"
    kept = sealed.read(wanted.folder)["first"]
    if first not in (None, kept):
        has = "all of it" if kept is None else f"the first {kept / 1e6:g} MB"
        return f"{wanted.folder} has {has}; building it again"
    return None


def _tokeniser(name: str, folder: Path, found: Mapping[str, Any]) -> Tokeniser:
    """What made the ids of a cache. Raises: ValueError where the file beside them is another."""
    path, expected = folder / build.JSON, found["tokeniser"]
    content = path.read_bytes()
    if (sha256 := hashlib.sha256(content).hexdigest()) != expected["sha256"]:
        raise ValueError(
            f"the tokenisers differ: {path} has sha256 {sha256[:16]}..., but the ids were made with"
            f" {expected['name']}, sha256 {expected['sha256'][:16]}..."
        )
    if name == "bytes":
        return tokenisers.BYTES
    size, end = expected["vocabulary"], expected["eos"]
    text = content.decode("utf-8")
    return tokenisers.from_json(name, text, eos=end, vocabulary=size, where=str(path))
