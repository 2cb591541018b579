"""The text that comes with the package: King James Bible and Shakespeare, both public domain."""

from __future__ import annotations

import hashlib
import json
import lzma
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tasks.lm import Split
from tasks.lm.cuts import SHORT, cut

FILE = Path(__file__).parent / "text" / "classics.xz"
# Of the file after decompression; a change of the text is a change of this and of tasks.lm.VERSION.
SHA256 = "9f9278bf9b487a884bf552307146c2e6bf659daa2dde18ed07f78461de23097f"


@dataclass(frozen=True)
class Document:
    """A book of the Bible, a play, or a volume of poems. part: the work that it belongs to."""

    title: str
    part: str
    text: str


def texts(split: Split) -> list[str]:
    """One text for each document that has a part in the split, in the order of the file.

    Documents below SHORT characters are in the training split as a whole.
    """
    parts = (
        {"train": document.text, "valid": "", "test": ""}
        if len(document.text) < SHORT
        else cut(document.text)
        for document in read()
    )
    return [part[split] for part in parts if part[split]]


def read(path: Path = FILE) -> tuple[Document, ...]:
    """All documents. Raises: ValueError if the file is not the one that was published."""
    return _read(path)


@cache
def _read(path: Path) -> tuple[Document, ...]:
    again = "install it again with pip install --force-reinstall --no-deps linear-attention-zoo"
    try:
        content = lzma.decompress(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}, part of the package, is not there; {again}") from None
    except lzma.LZMAError as error:
        raise ValueError(f"{path}, part of the package, is damaged ({error}); {again}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{path}, part of the package, is damaged: its text has sha256 {found[:16]}..., "
            f"not {SHA256[:16]}...; {again}"
        )
    return tuple(
        Document(**json.loads(line)) for line in content.decode("utf-8").rstrip("\n").split("\n")
    )
