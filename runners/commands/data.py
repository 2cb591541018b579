"""lazoo data: which data sets there are and which of them are here; prepares and verifies them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from runners import data_facts, lm_facts
from runners.commands import Switch, flag, parse, print_json, refusals
from runners.commands.data_lm import PrepareLm
from runners.commands.data_lm import prepare as prepare_lm
from runners.commands.teller import Teller
from tasks import lra
from tasks.lm import corpora
from tasks.lra import data as store

EXAMPLES = (
    "lazoo data",
    "lazoo data lra listops-short pathfinder-easy text-short",
    "lazoo data lra text --yes",
    "lazoo data lra listops pathfinder --from lra_release",
    "lazoo data lm classics --tokeniser bpe-4096",
    "lazoo data lm tinystories --limit-mb 200 --yes",
    "lazoo data verify",
)
NAMES = "data sets; without one, those that are missing are listed"
FROM = "a folder in the layout of LRA's release, where data are looked for first"
YES = (
    f"download without asking; up to {store.SMALL // 10**6} MB need no asking, and where nobody can"
    " answer more is not downloaded without this flag"
)
SIZELESS = 2**63
Root = Annotated[Path, flag("folder of data sets", "data")]


@dataclass(frozen=True)
class List:
    """List all data sets and corpora: what they are, and which are here."""

    root: Root = Path("data")
    json: Annotated[Switch, flag("the same as JSON")] = False


@dataclass(frozen=True)
class Prepare:
    """Prepare data sets of the Long Range Arena: from a folder of yours, generated, downloaded."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], flag(NAMES, metavar="NAME ...")] = ()
    root: Root = Path("data")
    from_: Annotated[
        Path | None, tyro.conf.arg(name="from", help=FROM, help_behavior_hint="", metavar="FOLDER")
    ] = None
    yes: Annotated[Switch, flag(YES)] = False


@dataclass(frozen=True)
class Verify:
    """Read every byte of what is here and compare its hashes; exit code 1 if something is wrong."""

    root: Root = Path("data")


Arguments = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Prepare, tyro.conf.subcommand("lra")]
    | Annotated[PrepareLm, tyro.conf.subcommand("lm")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
)
KINDS = ("list", "lra", "lm", "verify")


def main(argv: Sequence[str]) -> int:
    with refusals("data"):
        argv = completed(list(argv))
    arguments = parse(cast("type[Any]", Arguments), "data", argv, EXAMPLES)
    with refusals("data"):
        if isinstance(arguments, Prepare):
            return prepare(arguments)
        if isinstance(arguments, PrepareLm):
            return prepare_lm(arguments)
        return verify(arguments.root) if isinstance(arguments, Verify) else listed(arguments)


def completed(argv: list[str]) -> list[str]:
    """The command line with its first word. Raises: ValueError where that is another one."""
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        return ["list", *argv]
    word = argv[0]
    if word in lra.DATASETS:
        raise ValueError(f"{word} is a data set of lra; type: lazoo data lra {' '.join(argv)}")
    if word in corpora.NAMES:
        raise ValueError(f"{word} is a corpus of lm; type: lazoo data lm {' '.join(argv)}")
    if word not in (*KINDS, "-h", "--help"):
        close = difflib.get_close_matches(word, KINDS, n=1, cutoff=0.5)
        hint = f"did you mean lazoo data {close[0]}?" if close else f"type {', '.join(KINDS)}"
        raise ValueError(f"{word!r} is none of {', '.join(KINDS)}; {hint}")
    return argv


def listed(arguments: List) -> int:
    facts = [data_facts.fact(data, arguments.root) for data in lra.DATASETS.values()]
    texts = lm_facts.facts(arguments.root)
    if arguments.json:
        print_json([*facts, *texts])
    else:
        print(*data_facts.lines(facts), "", *lm_facts.lines(texts), sep="\n")
    return 0


def prepare(arguments: Prepare) -> int:
    """Prepares one after the other; one that cannot be had keeps none of the others back."""
    chosen = [lra.dataset(name) for name in arguments.names]
    if arguments.from_ and not arguments.from_.is_dir():
        raise ValueError(f"{arguments.from_} is no folder; type --from and one in LRA's layout")
    if not chosen:
        every = [data_facts.fact(data, arguments.root) for data in lra.DATASETS.values()]
        missing = [fact for fact in every if fact["here"] != "yes"]
        print(*(data_facts.lines(missing) if missing else ["every data set is here"]), sep="\n")
        return 0
    codes = [prepare_one(data, arguments) for data in chosen]
    return max(codes, key=(0, 2, 1).index)


def prepare_one(data: lra.Dataset, arguments: Prepare) -> int:
    """Prints one line on a data set that is here then. Returns: the exit code."""
    teller = Teller()
    try:
        limit = agreed(data, arguments, teller)
        made = store.prepare(data, arguments.root, user=arguments.from_, tell=teller, limit=limit)
    except (ValueError, OSError) as error:
        teller.end()
        print(f"lazoo data: {data.name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, store.MissingData) else 1
    finally:
        teller.end()
    print(data_facts.made(made), flush=True)
    return 0


def agreed(data: lra.Dataset, arguments: Prepare, teller: Teller) -> int:
    """Bytes that may be downloaded; asks for more than a small download if somebody is there."""
    if arguments.yes:
        return SIZELESS
    sources = store.missing(data, arguments.root)
    size = sum(source.bytes for source in sources)
    here = data_facts.fact(data, arguments.root)["here"] == "yes"
    if here or arguments.from_ or size <= store.SMALL or not sys.stdin.isatty():
        return store.SMALL
    for source in sources:
        teller(str(source))
    teller(f"{data.name} needs a download of {size:,} bytes. Go on? [y/N] ")
    return size if sys.stdin.readline().strip().lower() in ("y", "yes") else store.SMALL


def verify(root: Path) -> int:
    """One line for each cache and each download, and one for each thing that is wrong."""
    wrong = 0
    for line, good in chain(data_facts.verified(root), lm_facts.verified(root)):
        print(line, flush=True)
        wrong += not good
    print(f"{wrong} of them wrong" if wrong else "nothing is wrong")
    return int(wrong > 0)
