"""Questions to a language model about held-out text, each with one right answer.

They are made from text, so that models with different tokenisers get the same ones, and depend on
the text and the seed alone. Three kinds are here; tasks/lm/needle.py has the fourth.

    last word    "... the river. He fell into the" -> " river", which has occurred before
    copy         a segment of text, and again the same segment: does the second cost less?
    induction    x x x A B x x x x A -> B, where x, A and B are random frequent tokens
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.lm import VERSION

# At the end of a sentence and after a space; not in capitals, as the speakers of a play are.
_LAST = re.compile(r"(?<=\S )[A-Za-z][a-z]{3,}(?=[.!?](?:[\s\"')]|$))")
_LONG = re.compile(r"(?<![A-Za-z])[A-Za-z]{4,}(?![A-Za-z])")
# Tokens in front of the first A of an induction row, so that no A is the first token of all.
LEAD = 8


@dataclass(frozen=True)
class LastWord:
    """context: ends before a space. word: the space, and a word that the context has.

    guess: chance of a blind guess among the context's words of four or more letters to be right.
    """

    context: str
    word: str
    guess: float


def stream(*key: object) -> np.random.Generator:
    """Random numbers that the key and the version of the task decide."""
    text = " ".join(map(str, ("probe", VERSION, *key)))
    return np.random.Generator(np.random.PCG64(int(hashlib.sha256(text.encode()).hexdigest(), 16)))


def last_words(texts: Sequence[str], count: int, size: int, seed: int = 0) -> list[LastWord]:
    """At most `count` passages of nearly `size` bytes that end in a word they have had before.

    As in LAMBADA (Paperno et al. 2016), where it is so in four cases of five. Passages do not
    overlap; they begin at a word and are at least half of `size` long.
    """
    found = [passage for text in texts for passage in _passages(text, size)]
    order = stream("last word", seed, size).permutation(len(found))[:count]
    return [found[i] for i in order]


def _passages(text: str, size: int) -> list[LastWord]:
    found, end = [], 0  # end: of the passage before
    for match in _LAST.finditer(text):
        start = max(end, match.end() - size)
        passage = text[start : match.end()]
        while (over := len(passage.encode()) - size) > 0:
            passage = passage[-(-over // 4) :]  # a character has at most four bytes
        if start > 0:
            passage = passage[passage.find(" ") + 1 :]
        context, word = passage[: -len(match[0]) - 1], match[0]
        before = _LONG.findall(context)
        if word in before and 2 * len(passage.encode()) >= size:
            found.append(LastWord(context, " " + word, before.count(word) / len(before)))
            end = match.end()
    return found


def segments(texts: Sequence[str], count: int, size: int, seed: int = 0) -> list[str]:
    """At most `count` different pieces of text of `size` bytes; half characters are left out."""
    parts = [text.encode() for text in texts]
    places = [(i, at) for i, part in enumerate(parts) for at in range(0, len(part) - size, size)]
    order = stream("copy", seed, size).permutation(len(places))[:count]
    chosen = [places[i] for i in order]
    return [parts[i][at : at + size].decode("utf-8", errors="ignore") for i, at in chosen]


def frequent(ids: np.ndarray, token_bytes: np.ndarray, count: int) -> np.ndarray:
    """The `count` ids that occur most often among those that stand for text, most frequent first.

    Fewer if the text has fewer. ids: of a text. token_bytes: of each id of the vocabulary.
    """
    counts = np.bincount(ids, minlength=len(token_bytes)) * (token_bytes > 0)
    order = np.argsort(-counts, kind="stable")[:count]
    return order[counts[order] > 0]


def bigrams(
    choices: np.ndarray, gap: int, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of random tokens that end in A, which has stood `gap` places before, followed by B.

    A stands at these two places only. B and the other tokens are all choices but A, each as often
    as another or once more, in random order. So a guess that reads no order is right with
    probability 1 / (choices - 1); a guess among the tokens seen most often is so in one case of 40
    at best (64 choices).

    choices: ids, at least 3. gap: at least 2. Returns: rows, count x (LEAD + gap + 1); B, count.

    Example for gap 4 and LEAD 2:     4  7  A  B  5  3  A  -> B
    """
    random, others = stream("induction", seed, gap, len(choices)), len(choices) - 1
    keys = random.integers(len(choices), size=(count, 1))
    width = LEAD + gap - 1
    each = random.permuted(np.tile(np.arange(others), (count, 1)), axis=1)
    drawn = np.tile(each, -(-width // others))[:, :width]
    drawn = random.permuted(drawn, axis=1)
    drawn += drawn >= keys  # all but A
    first, last = drawn[:, :LEAD], drawn[:, LEAD:]
    return choices[np.hstack([first, keys, last, keys])], choices[last[:, 0]]
