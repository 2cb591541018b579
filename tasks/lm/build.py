"""Builds the cache of a corpus: texts in, a sealed folder of token ids out, block by block."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks import sealed
from tasks.lm import SPLITS, Split, bpe, cache, corpora, tokenisers
from tasks.lm.cache import Counts, Tell
from tasks.lm.tokenisers import Tokeniser
from tasks.lm.wanted import Wanted

JSON = "tokenizer.json"
FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (
    *(errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENOENT),
)


def build(wanted: Wanted, tell: Tell, first: int | None) -> None:
    """Writes a cache and gives it its name. first: bytes of text of each split; None for all."""
    part = wanted.folder.with_name(f"{wanted.folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        _write(wanted, part, tell, first)
        if corpora.identity(wanted.corpus) not in ("", wanted.decides["text"]):
            raise ValueError(f"{wanted.corpus} has changed while it was read; type the same again")
        sealed.name(part, wanted.folder)
    except BaseException:  # Ctrl-C as well: half a cache is of no use
        shutil.rmtree(part, ignore_errors=True)
        raise


def explained(error: OSError, folder: Path) -> str:
    """What to do about an error of the file system."""
    if error.errno in FULL:
        free = shutil.disk_usage(folder.parent).free
        return (
            f"no space left: {free:,} bytes are free on the disk of {folder}, which is not enough."
            f" Nothing that was there has changed. Free some space (caches that you no longer need"
            f" are folders in {folder.parent}), or type --root and a folder on another disk"
        )
    place, root = Path(str(error.filename)), folder.parent.parent
    ours = place.is_relative_to(root) or root.is_relative_to(place)
    if error.errno in CLOSED and ours:  # not a text that cannot be read
        said = f"{folder} cannot be written ({error.strerror})"
        return f"{said}; type --root and a folder that can"
    return str(error)


def _write(wanted: Wanted, part: Path, tell: Tell, first: int | None) -> None:
    made = _tokeniser(wanted, tell, first)
    sealed.write_text(part / JSON, made.json)
    xz, counts = cache.Xz(), {}
    for split in SPLITS:
        texts = corpora.documents(wanted.corpus, split, first)
        counts[split] = cache.write(
            part, split, texts, made, tell, xz.add if split == "test" else None
        )
        if not counts[split].bytes:
            raise ValueError(f"{wanted.corpus} has no text in its {split} split; give more text")
    _tell_difference(counts, made, tell)
    unigram = cache.unigram(counts["train"].histogram, counts["test"].histogram)
    sealed.write(
        part,
        {
            **_facts(wanted, made, first),
            "splits": {split: count.facts() for split, count in counts.items()},
            "baselines": {**xz.bits_per_byte(), "unigram": unigram},
        },
    )


def _facts(wanted: Wanted, made: Tokeniser, first: int | None) -> dict[str, Any]:
    """What a manifest says of the corpus and the tokeniser."""
    about = wanted.about
    source = f"{about.title} ({about.kind}; {about.licence})"
    listed = corpora.manifest(wanted.corpus) if about.kind == "installed" else []
    return {
        **wanted.decides,
        "corpus": wanted.corpus,
        "source": source if first is None else f"{source}, the first {first / 1e6:g} MB",
        "first": first,
        "tokeniser": {
            "name": made.name,
            "sha256": made.sha256,
            "vocabulary": made.vocabulary,
            "eos": made.eos,
        },
        "installed": {path: sha256 for path, _, sha256 in listed},
    }


def _tokeniser(wanted: Wanted, tell: Tell, first: int | None) -> Tokeniser:
    """Trained on the training split where it is a bpe-N."""
    name = wanted.tokeniser
    size = tokenisers.trained_size(name)
    if not size:
        return tokenisers.load(name)
    tell(f"training {name} on the training split of {wanted.corpus}")
    text = bpe.train(corpora.documents(wanted.corpus, "train", first), size)
    made = tokenisers.from_json(name, text, vocabulary=size)
    if unused := sum(not piece for piece in made.pieces) - 1:
        tell(f"{wanted.corpus} has pairs for {size - unused:,} entries; {unused:,} stay unused")
    return made


def _tell_difference(counts: Mapping[Split, Counts], made: Tokeniser, tell: Tell) -> None:
    """Says by how much the tokens of a tokeniser that changes the text differ from the text."""
    for split, count in counts.items():
        if count.token_bytes != count.bytes:
            share = 100 * (count.token_bytes / count.bytes - 1)
            tell(
                f"{made.name} changes the text: the tokens of {split} stand for"
                f" {count.token_bytes:,} bytes, {share:+.4f} % of its {count.bytes:,}"
            )
