"""lazoo data lm: corpora for language models, prepared as token ids."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from runners import lm_facts
from runners.commands import Switch, flag
from runners.commands.teller import Teller
from tasks.lm import corpora, tokenisers
from tasks.lm import data as store

NAMES = (
    f"{', '.join(corpora.NAMES)}, a text file or folder of yours, or hub:OWNER/NAME; without one,"
    " the corpora are listed"
)
YES = (
    "download from the Hugging Face hub without asking; where nobody can answer, nothing is"
    " downloaded without this flag"
)
LIMIT = "of a corpus of the hub, read the first N million bytes of each split's text"
SIZELESS = 2**63


@dataclass(frozen=True)
class PrepareLm:
    """Prepare corpora for language models: text as token ids, in a cache."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], flag(NAMES, metavar="NAME ...")] = ()
    tokeniser: Annotated[str, flag(tokenisers.KINDS, "bytes")] = "bytes"
    root: Annotated[Path, flag("folder of data sets", "data")] = Path("data")
    yes: Annotated[Switch, flag(YES)] = False
    limit_mb: Annotated[float | None, flag(LIMIT, "all of it", metavar="N")] = None


def prepare(arguments: PrepareLm) -> int:
    """Prepares one after the other; one that cannot be had keeps none of the others back."""
    kinds = [corpora.corpus(name).kind for name in arguments.names]
    tokenisers.vocabulary(arguments.tokeniser)
    if arguments.limit_mb is not None:
        if not 0 < arguments.limit_mb < 1e9:
            raise ValueError(f"--limit-mb {arguments.limit_mb:g} is no size; type for example 100")
        if whole := [name for name, kind in zip(arguments.names, kinds) if kind != "hub"]:
            raise ValueError(
                f"--limit-mb is for corpora of the hub, and {whole[0]} is none: it is read as a"
                " whole; leave the flag out"
            )
    if not arguments.names:
        print(*lm_facts.lines(lm_facts.facts(arguments.root)), sep="\n")
        return 0
    codes = [_prepare_one(name, arguments) for name in arguments.names]
    return max(codes, key=(0, 2, 1).index)


def _prepare_one(name: str, arguments: PrepareLm) -> int:
    """Prints one line on a corpus that is here then. Returns: the exit code."""
    teller = Teller()
    first = None if arguments.limit_mb is None else int(arguments.limit_mb * 1e6)
    try:
        limit = _agreed(name, arguments, teller)
        made = store.prepare(
            name, arguments.tokeniser, arguments.root, tell=teller, limit=limit, first=first
        )
    except (ValueError, OSError) as error:
        teller.end()
        said = str(error)
        begin = "" if said.startswith(name) else f"{name}: "
        print(f"lazoo data: {begin}{said}", file=sys.stderr)
        return 2 if isinstance(error, store.MissingData) else 1
    finally:
        teller.end()
    print(lm_facts.made(made), flush=True)
    return 0


def _agreed(name: str, arguments: PrepareLm, teller: Teller) -> int:
    """Bytes that may be downloaded; asks before a download if somebody is there."""
    if arguments.yes:
        return SIZELESS
    if corpora.corpus(name).kind != "hub" or not sys.stdin.isatty():
        return store.SMALL
    folder = store.cache_folder(name, arguments.tokeniser, arguments.root)
    if folder.is_dir() and arguments.limit_mb is None:
        return store.SMALL
    teller(corpora.corpus(name).about)
    part = "" if arguments.limit_mb is None else f", of which {arguments.limit_mb:g} MB are read"
    teller(f"{name} is a download of a size that is not known{part}. Go on? [y/N] ")
    yes = sys.stdin.readline().strip().lower() in ("y", "yes")
    return SIZELESS if yes else store.SMALL
