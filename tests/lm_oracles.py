"""Hand-made language models whose answers to the probes are known, and text to ask them about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import zoo
from tasks.lm import classics
from tasks.lm.tokenisers import BYTES, Tokeniser
from tasks.lm.tokens import Tokens


class Oracle(nn.Module):
    """Logits 20 for one token after each position, which `predict` says, and 0 for the others."""

    position = None
    spec = zoo.load("attention")

    def __init__(self, vocabulary: int = 257) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 1)
        self.read = 0  # tokens

    def predict(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def hidden(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        self.read += tokens.numel()
        before = tokens[:, :0] if state is None else state["layers"][0]["tokens"]
        seen = torch.cat([before, tokens], dim=1)  # b t
        said = self.predict(seen)[:, before.shape[1] :]
        logits = 20.0 * nn.functional.one_hot(said, self.embedding.num_embeddings)
        return logits, {"position": seen.shape[1], "layers": [{"tokens": seen}]}

    def head(self, hidden: Tensor) -> Tensor:
        return hidden


class Copier(Oracle):
    """Says what followed the longest piece of text that has stood before just as it stands now."""

    def predict(self, tokens: Tensor) -> Tensor:
        b, t = tokens.shape
        said, run = torch.zeros_like(tokens), torch.zeros_like(tokens)
        place = torch.arange(t)
        for i in range(t):
            # run[j]: how many tokens up to j are those up to i
            run = torch.cat([torch.zeros(b, 1, dtype=run.dtype), run[:, :-1]], dim=1) + 1
            run = run * (tokens == tokens[:, i : i + 1])
            best = ((run * t + place) * (place < i)).argmax(1)  # of equals the latest
            found = run.gather(1, best[:, None])[:, 0].gt(0) & (best < i)
            said[:, i] = found * tokens.gather(1, (best + 1).clamp(max=t - 1)[:, None])[:, 0]
        return said


class Speller(Oracle):
    """Prefers words that it has read, each as much as another, and writes nothing else.

    After a letter it says all letters that have followed the letters of the word before, after a
    space nothing. A word in the text is likelier than one that is not, whatever stands around it.
    """

    def hidden(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        before = tokens[:, :0] if state is None else state["layers"][0]["tokens"]
        seen = torch.cat([before, tokens], dim=1)  # b t
        logits = torch.zeros(*tokens.shape, self.embedding.num_embeddings)
        for row, out in zip(seen.tolist(), logits):
            text = bytes(min(byte, 255) for byte in row)
            for i in range(before.shape[1], len(text)):
                stem = text[: i + 1].rpartition(b" ")[2]
                heads = {text[j + len(stem) + 1] for j in found(text[:i], b" " + stem)}
                out[i - before.shape[1], list(heads) if stem else []] = 20.0
        return logits, {"position": seen.shape[1], "layers": [{"tokens": seen}]}


def found(text: bytes, part: bytes) -> list[int]:
    """Where a part stands in a text, its end and the letter after it included."""
    places, at = [], text.find(part)
    while at >= 0 and at + len(part) < len(text):
        places.append(at)
        at = text.find(part, at + 1)
    return places


class Seer(Oracle):
    """Says the token that is `ahead` places ahead in its row, and `at_end` where there is none."""

    def __init__(self, ahead: int = 1, at_end: str = ".", vocabulary: int = 257) -> None:
        super().__init__(vocabulary)
        self.ahead, self.at_end = ahead, ord(at_end)

    def predict(self, tokens: Tensor) -> Tensor:
        said = torch.cat([tokens[:, self.ahead :], 0 * tokens[:, : self.ahead]], dim=1)
        return said.where(said != 0, self.at_end)  # rows are filled up with 0


class Pairs(Tokeniser):
    """Single bytes, and the two bytes "e " and "th" as one token each; needs no library."""

    def encode(self, text: str) -> list[int]:
        marked = text.encode().replace(b"e ", b"\xf8").replace(b"th", b"\xf9")
        return [{0xF8: 257, 0xF9: 258}.get(byte, byte) for byte in marked]


PAIRS = Pairs("pairs", 259, 256, BYTES.json, [*BYTES.pieces, b"e ", b"th"])


def data(texts: list[str], tokeniser: Tokeniser = BYTES) -> Any:
    """What a probe reads of tasks.lm.data.Data."""
    parts = [np.array([*tokeniser.encode(text), tokeniser.eos], np.uint16) for text in texts]
    starts = np.cumsum([0, *map(len, parts)])[:-1]
    return SimpleNamespace(tokeniser=tokeniser, test=Tokens(np.concatenate(parts), starts, 0, 0, 0))


def config(**fields: Any) -> Any:
    """What a probe reads of runners.lm_config.Lm."""
    return SimpleNamespace(**{"precision": "fp32", "seq_len": 256, "positions": "none"} | fields)


def held_out() -> list[str]:
    return classics.texts("test")
