"""Byte-level tokenizer.json files: the bytes behind every token, read without a library.

The byte-level alphabet of GPT-2 writes each byte as one printable character, so a vocabulary
entry has as many bytes as characters. Tokens that were added beside the vocabulary are plain
text, and the special ones among them stand for no text.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

END = "<|endoftext|>"
# What families of models call the end of a text; looked up in this order, never guessed.
ENDS = (END, "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "<EOS>", "[EOS]")
NEVER = {0xC0, 0xC1, *range(0xF5, 0x100)}  # bytes that UTF-8 does not use


@cache
def characters() -> tuple[str, ...]:
    """The character of each byte: itself where it prints, else one from 256 on, in order."""
    printing = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printing]
    return tuple(
        chr(byte) if byte in printing else chr(256 + others.index(byte)) for byte in range(256)
    )


def plain() -> str:
    """A tokenizer.json in which every byte is its own token and the end of a text is 256."""
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    end = {"id": 256, "content": END, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**end, **flags}],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {character: byte for byte, character in enumerate(characters())} | {END: 256},
            "merges": [],
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=2)


def parsed(text: str, where: str) -> dict[str, Any]:
    """The content of a tokenizer.json. Raises: ValueError where the text is none."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is no tokenizer.json: {error}") from error
    model = content.get("model") if isinstance(content, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocab, dict) or not vocab:
        raise ValueError(f"{where} has no model.vocab; give a tokenizer.json of Hugging Face's")
    return content


def pieces(content: dict[str, Any], where: str) -> list[bytes]:
    """The bytes of each id; none for special tokens and for ids that nothing has.

    Raises: ValueError where the tokeniser is not byte-level.
    """
    model, parts = content["model"], (content.get("decoder"), content.get("pre_tokenizer"))
    marks = ("continuing_subword_prefix", "end_of_word_suffix")  # characters that are no bytes
    kind = model.get("type", "BPE")
    if kind != "BPE" or not any(map(_byte_level, parts)) or any(map(model.get, marks)):
        raise ValueError(
            f"{where} is not byte-level ({kind}, decoder {_kind(content.get('decoder'))}), so the"
            " bytes of its tokens are not known; give one with a ByteLevel decoder as GPT-2,"
            " GPT-NeoX or Llama 3 have, or type bytes or bpe-4096"
        )
    added = {token["id"]: token for token in content.get("added_tokens") or ()}
    vocab = {piece: id for piece, id in content["model"]["vocab"].items() if id not in added}
    known = {character: bytes([byte]) for byte, character in enumerate(characters())}
    missing = [b for b, c in enumerate(characters()) if c not in vocab and b not in NEVER]
    if missing:
        raise ValueError(f"{where} has no token for the byte {missing[0]}, so it cannot write all")
    found = [b""] * (1 + max([*vocab.values(), *added]))
    for piece, id in vocab.items():
        if not all(character in known for character in piece):
            raise ValueError(f"{where} is not byte-level: token {id} is {piece!r}")
        found[id] = b"".join(map(known.__getitem__, piece))
    for id, token in added.items():
        found[id] = b"" if token.get("special") else token["content"].encode()
    return found


def end(content: dict[str, Any], named: str | None, where: str) -> int:
    """The id of the end of a text. named: what a tokenizer_config.json beside it says it is."""
    ids = dict(content["model"]["vocab"])
    ids |= {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
    found = [named] if named else [name for name in ENDS if name in ids]
    if len(found) == 1 and found[0] in ids:
        return ids[found[0]]
    said = f"has {', '.join(found)}" if found else f"has none of {', '.join(ENDS)}"
    if named:
        said = f"has no token {named}, which tokenizer_config.json calls eos_token"
    raise ValueError(
        f"{where}: which token ends a text? It {said}; name one of its tokens in a"
        ' tokenizer_config.json beside it: {"eos_token": "..."}'
    )


def _byte_level(part: Any) -> bool:
    """Is a decoder or a pre-tokeniser byte-level, or a sequence in which one is?"""
    if not isinstance(part, dict):
        return False
    inner = [*part.get("decoders", ()), *part.get("pretokenizers", ())]
    return part.get("type") == "ByteLevel" or any(map(_byte_level, inner))


def _kind(part: Any) -> str:
    return part.get("type", "unknown") if isinstance(part, dict) else "none"
