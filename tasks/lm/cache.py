"""One split of a corpus on its way to disk: ids as a stream, and what is counted on the way."""

from __future__ import annotations

import lzma
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks import npy
from tasks.lm import Split
from tasks.lm.bpe import cut
from tasks.lm.tokenisers import Tokeniser, utf8
from tasks.lm.tokens import Tokens

Tell = Callable[[str], None]
XZ_FIRST = 20_000_000  # bytes of the test text that xz compresses; it takes a second for each MB
EVERY = 4_000_000  # bytes of text between two lines of progress
COUNTED = ("bytes", "words", "lines", "documents", "tokens", "token_bytes")


@dataclass
class Counts:
    """What a split holds so far. token_bytes: bytes that its ids stand for.

    histogram: how often each byte occurs in the text.
    """

    bytes: int = 0
    words: int = 0
    lines: int = 0
    documents: int = 0
    tokens: int = 0
    token_bytes: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def add(self, text: bytes, words: int) -> None:
        found = np.bincount(np.frombuffer(text, np.uint8), minlength=256)
        self.histogram += found
        self.bytes, self.words = self.bytes + len(text), self.words + words
        self.lines, self.documents = self.lines + int(found[10]), self.documents + 1

    def facts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in COUNTED}


class Xz:
    """Size of a text in xz's strongest setting, as it streams by."""

    def __init__(self) -> None:
        # The dictionary of this setting takes 64 MB; half is enough to see all of the text.
        strongest = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}
        filters = [strongest | {"dict_size": 2**25}]
        self._compressor = lzma.LZMACompressor(format=lzma.FORMAT_XZ, filters=filters)
        self._size, self.read, self.whole = 0, 0, True

    def add(self, text: bytes) -> None:
        taken = text[: XZ_FIRST - self.read]
        self.whole = self.whole and len(taken) == len(text)
        self.read += len(taken)
        self._size += len(self._compressor.compress(taken))

    def bits_per_byte(self) -> dict[str, float]:
        name = "xz" if self.whole else f"xz of the first {XZ_FIRST / 1e6:g} MB"
        return {name: 8 * (self._size + len(self._compressor.flush())) / self.read}


def write(
    folder: Path,
    split: Split,
    documents: Iterable[str],
    tokeniser: Tokeniser,
    tell: Tell,
    seen: Callable[[bytes], Any] | None = None,
) -> Counts:
    """Writes the ids and starts of a split. seen: gets the text of each document as well."""
    counts, starts = Counts(), array("q")

    def read() -> Iterator[str]:
        told = EVERY
        for text in documents:
            content = utf8(text)
            counts.add(content, sum(len(part.split()) for part in cut(text)))
            if seen:
                seen(content)
            if counts.bytes >= told:
                told = counts.bytes + EVERY
                tell(f"{split}: {counts.bytes / 1e6:.0f} MB of text, {counts.tokens:,} tokens")
            yield text

    dtype = np.dtype(np.uint16 if tokeniser.vocabulary <= 2**16 else np.uint32)

    def blocks() -> Iterator[np.ndarray]:
        for ids in tokeniser.stream(read()):
            starts.append(counts.tokens)
            counts.tokens += len(ids) + 1
            counts.token_bytes += int(tokeniser.token_bytes[ids].sum())
            ended = np.empty(len(ids) + 1, dtype)
            ended[:-1], ended[-1] = ids, tokeniser.eos
            yield ended

    paths = files(folder, split)
    npy.stream(paths["ids"], blocks(), dtype)
    npy.stream(paths["starts"], [np.frombuffer(starts, np.int64)], np.dtype(np.int64))
    return counts


def read(folder: Path, split: Split, counted: dict[str, int]) -> Tokens:
    """A split that was written, memory-mapped. counted: what its manifest says of it."""
    ids, starts = (npy.mapped(path) for path in files(folder, split).values())
    if (len(ids), len(starts)) != (counted["tokens"], counted["documents"]):
        raise ValueError(
            f"{folder}: {split} has {len(ids):,} tokens in {len(starts):,} documents, expected"
            f" {counted['tokens']:,} in {counted['documents']:,}"
        )
    return Tokens(ids, np.array(starts), counted["bytes"], counted["words"], counted["lines"])


def files(folder: Path, split: Split) -> dict[str, Path]:
    return {part: folder / f"{split}.{part}.npy" for part in ("ids", "starts")}


def unigram(train: np.ndarray, test: np.ndarray) -> float:
    """Bits per byte of a text under the frequencies of bytes in another, each counted once more."""
    share = (train + 1) / (train.sum() + 256)
    return float(-(test * np.log2(share)).sum() / test.sum())
