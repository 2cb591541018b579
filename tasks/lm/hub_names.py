"""Names of data sets on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_NAME = re.compile(
    r"hub:(?P<id>[\w.-]+/[\w.-]+)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?"
)


@dataclass(frozen=True)
class Source:
    """id: owner/name on the hub. config: "" for its default. revision: a commit, or "" for main.

    files: of each split, where the library does not find them by itself. held_out: documents read
    of the validation and of the test split, 0 for all.
    """

    id: str
    config: str
    title: str
    licence: str
    about: str
    revision: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    held_out: int = 0


ALIASES = {
    "wikitext-103": Source(
        "Salesforce/wikitext",
        "wikitext-103-raw-v1",
        "WikiText-103",
        "CC-BY-SA-3.0 and GFDL",
        "Wikipedia's good and featured articles, 103 million words; its own three splits",
    ),
    "tinystories": Source(
        "roneneldan/TinyStories",
        "",
        "TinyStories",
        "CDLA-Sharing-1.0",
        "2.1 million short stories in simple words; half of its validation split is the test split",
    ),
    "fineweb-edu": Source(
        "HuggingFaceFW/fineweb-edu",
        "sample-10BT",
        "FineWeb-Edu",
        "ODC-By-1.0",
        "web pages that teach; only a training split, of which the first documents are held out",
    ),
    "pile": Source(
        "monology/pile-uncopyrighted",
        "",
        "Pile, uncopyrighted",
        "each part's own",
        "the Pile without its copyrighted parts; 2,000 documents each of its validation and test "
        "files; zst files, which need zstandard",
        files={
            "train": "train/*.jsonl.zst",
            "validation": "val.jsonl.zst",
            "test": "test.jsonl.zst",
        },
        held_out=2000,
    ),
}


def source(name: str) -> Source:
    """The data set of an alias or of hub:OWNER/NAME[:CONFIG][@REVISION]."""
    alias, _, revision = name.partition("@")
    if alias in ALIASES:
        return replace(ALIASES[alias], revision=revision)
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"corpus {name!r} is not a name of the hub; type hub:OWNER/NAME, if need be with a "
            "configuration and a commit: hub:Salesforce/wikitext:wikitext-2-raw-v1@COMMIT"
        )
    given = match.groupdict(default="")
    for known in ALIASES.values():
        if (known.id, known.config) == (given["id"], given["config"]):
            return replace(known, revision=given["revision"])
    return Source(
        given["id"],
        given["config"],
        title=given["id"].partition("/")[2],
        licence="see its page on the hub",
        about=f"https://huggingface.co/datasets/{given['id']}, column text",
        revision=given["revision"],
    )
