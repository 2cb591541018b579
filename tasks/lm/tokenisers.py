"""Text to token ids and back: single bytes, byte-pair encoding, or any byte-level tokenizer.json.

Every id stands for a known number of bytes of text, so losses in bits per byte compare whatever
the tokeniser. bytes, the default, needs no library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np

from tasks.lm import bpe, bytelevel

SMALLEST, LARGEST = 300, 65_535  # entries of a trained vocabulary; ids then fit in 16 bits
KINDS = "bytes, bpe-N (N entries, for example bpe-4096), or a path to a tokenizer.json"
SETTINGS = "tokenizer_config.json"


@dataclass(frozen=True, eq=False)
class Tokeniser:
    """name: as typed. vocabulary: ids are below it. eos: the id that ends a text.

    sha256: of `json`, the text of a Hugging Face tokenizer.json with the same ids.
    pieces: the UTF-8 bytes of text that each id stands for; none for special and unused ids.
    """

    name: str
    vocabulary: int
    eos: int
    json: str = field(repr=False)
    pieces: list[bytes] = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.json.encode()).hexdigest()

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """How many bytes each id stands for: vocabulary, int64."""
        return np.array([len(piece) for piece in self.pieces], np.int64)

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without the one that ends it; special tokens in it are text."""
        return next(self.stream([text])).tolist()

    def stream(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """The ids of each text, as `encode`, for many: an array of unsigned integers each."""
        if self.name == "bytes":
            return (np.frombuffer(utf8(text), np.uint8) for text in texts)
        return bpe.encoded(self.json, self.name, map(_text, texts))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; half characters become U+FFFD, special tokens nothing."""
        found = [int(id) for id in ids]
        if found and not 0 <= min(found) <= max(found) < self.vocabulary:
            said = f"ids {min(found)} to {max(found)}, expected 0 to {self.vocabulary - 1}"
            raise ValueError(f"{said}: those of the tokeniser {self.name}")
        return b"".join(self.pieces[id] for id in found).decode("utf-8", errors="replace")


def vocabulary(name: str) -> int:
    """Ids of a tokeniser, without data. Raises: ValueError for a name that is none."""
    if name == "bytes":
        return 257
    return size if (size := trained_size(name)) else load(name).vocabulary


def load(name: str, trained: Path | None = None) -> Tokeniser:
    """The tokeniser of that name. trained: the tokenizer.json of a bpe-N."""
    if name == "bytes":
        return BYTES
    size = trained_size(name)
    if size and trained is None:
        raise ValueError(f"{name} is trained on a corpus; give the tokenizer.json that resulted")
    path = trained or Path(name).expanduser()
    return from_json(name, _read(path), eos=_eos(path), vocabulary=size, where=str(path))


def from_json(
    name: str, text: str, *, eos: str | int | None = None, vocabulary: int = 0, where: str = ""
) -> Tokeniser:
    """A tokeniser from the text of a tokenizer.json.

    eos: which token ends a text, its name or id; None looks among the usual names. vocabulary:
    where ids are below a larger number than the file needs. where: what an error calls the file.
    """
    where = where or name
    content = bytelevel.parsed(text, where)
    pieces = bytelevel.pieces(content, where)
    end = eos if isinstance(eos, int) else bytelevel.end(content, eos, where)
    if not 0 <= end < len(pieces):
        raise ValueError(f"{where}: the end of a text is {end}, expected 0 to {len(pieces) - 1}")
    pieces[end] = b""
    if vocabulary and len(pieces) > vocabulary:
        raise ValueError(f"{where} has {len(pieces):,} entries, expected {vocabulary:,} for {name}")
    pieces += [b""] * (vocabulary - len(pieces))
    return Tokeniser(name, len(pieces), end, text, pieces)


def trained_size(name: str) -> int:
    """N of bpe-N; 0 for another tokeniser. Raises: ValueError for a name that is none."""
    head, dash, digits = name.partition("-")
    if name == "bytes" or (Path(name).expanduser().exists() and not (head == "bpe" and dash)):
        return 0
    if head == "bpe" and digits.isascii() and digits.isdigit():
        if SMALLEST <= (size := int(digits)) <= LARGEST and digits == str(size):
            return size
        raise ValueError(
            f"tokeniser {name}: {digits} entries, expected {SMALLEST} to {LARGEST:,}"
            " (the 256 bytes, the end of a text, and pairs); type for example bpe-4096"
        )
    if name.endswith(".json") or "/" in name:
        raise ValueError(f"tokeniser {name}: there is no such file; type {KINDS}")
    close = get_close_matches(name, ("bytes", "bpe-4096"), n=1, cutoff=0.4)
    hint = f"did you mean {close[0]}?" if close else f"type {KINDS}"
    raise ValueError(f"tokeniser {name!r} is not known; {hint}")


def identity(name: str) -> str:
    """16 hex digits of what outside of the package decides the ids: a file of the user's, or ""."""
    if name == "bytes" or trained_size(name):
        return ""
    found = load(name)
    return hashlib.sha256(f"{found.sha256} {found.eos}".encode()).hexdigest()[:16]


def utf8(text: str) -> bytes:
    """Raises: ValueError where a text is none: half of a pair of surrogates stands alone."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(
            f"character {error.start:,} of a text is U+{code:04X}, half of a surrogate pair,"
            " which no UTF-8 can write; repair the text or leave the document out"
        ) from None


def _text(text: str) -> str:
    utf8(text)
    return text


def _read(path: Path) -> str:
    if path.is_dir():
        path /= "tokenizer.json"
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no tokenizer.json: it is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"tokeniser {path}: {error.strerror}; type {KINDS}") from None


def _eos(path: Path) -> str | None:
    """The token that a tokenizer_config.json beside a tokenizer.json calls the end of a text."""
    beside = (path if path.is_dir() else path.parent) / SETTINGS
    try:
        named = json.loads(beside.read_text(encoding="utf-8")).get("eos_token")
    except (OSError, ValueError, AttributeError):
        return None
    return named.get("content") if isinstance(named, dict) else named


_BYTES = [bytes([byte]) for byte in range(256)]
BYTES = Tokeniser("bytes", 257, 256, bytelevel.plain(), [*_BYTES, b""])
