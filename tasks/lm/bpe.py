"""Byte-pair encoding through Hugging Face's `tokenizers`: trained on a corpus, and fast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from json import loads as parse
from typing import Any

import numpy as np

from tasks.lm import bytelevel

TRAINED_ON = 100_000_000  # characters, from the beginning of the training text
BATCH = 4_000_000  # characters that are handed to the library at once
LONGEST = 1_000_000  # characters that are encoded in one piece; about 100 bytes of memory each


def train(texts: Iterable[str], vocabulary: int) -> str:
    """A byte-level tokenizer.json whose ids are below `vocabulary`; the same for the same texts."""
    library = _library(f"bpe-{vocabulary}")
    level = library.pre_tokenizers.ByteLevel
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = level(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[bytelevel.END],
        initial_alphabet=sorted(level.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(_first(texts, TRAINED_ON), trainer)
    return made.to_str(pretty=True)


def encoded(json: str, name: str, texts: Iterable[str]) -> Iterator[np.ndarray]:
    """The ids of each text, uint32. Special tokens are never seen in a text, nor added to it."""
    tokenizer = _loaded(json, name)
    for batch in _batches(texts):
        parts = [list(cut(text)) for text in batch]
        flat = [piece for pieces in parts for piece in pieces]
        found = iter(tokenizer.encode_batch_fast(flat, add_special_tokens=False))
        for pieces in parts:
            ids = [np.array(next(found).ids, np.uint32) for _ in pieces]
            yield np.concatenate(ids) if len(ids) > 1 else ids[0]


def cut(text: str) -> Iterator[str]:
    """A text in pieces that the library encodes one by one: a book at once takes gigabytes.

    Cut in front of the first line end beyond LONGEST that ends a word, where the words on both
    sides, and with them the tokens, are what they are in the whole.
    """
    begin = 0
    while len(text) - begin > LONGEST:
        end = begin + LONGEST
        while (end := text.find("\n", end)) > 0 and text[end - 1].isspace():
            end += 1
        if end < 0:
            break
        yield text[begin:end]
        begin = end
    yield text[begin:]


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _first(texts: Iterable[str], characters: int) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        yield text[:characters]
        characters -= len(text)


@lru_cache(maxsize=4)
def _loaded(json: str, name: str) -> Any:
    tokenizer = _library(name).Tokenizer.from_str(json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    for token in parse(json).get("added_tokens") or ():
        if (found := tokenizer.token_to_id(token["content"])) != token["id"]:
            raise ValueError(
                f"{name}: the added token {token['content']!r} has id {token['id']}, but the"
                f" library tokenizers reads it as {found}; number added tokens after the others"
            )
    return tokenizer


def _library(name: str) -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise ValueError(
            f"the tokeniser {name} needs the library tokenizers; type"
            " pip install 'linear-attention-zoo[lm]'; the tokeniser bytes needs no library"
        ) from None
    return tokenizers
