"""A needle in a haystack, asked as a choice: which of several words is the likeliest to follow.

A sentence that names a word is put into held-out text, and the end of the prompt asks for it:

    easy   ... The secret word of Susan is garden. ... The secret word of Susan is  -> " garden"
    hard   ... The secret word of Susan is garden. ... Asked for the secret, Susan will always
           answer  -> " garden"

In the easy mode the question repeats the sentence, so it suffices to match; in the hard mode no
two words before the answer are those before the needle's. The other choices have as many bytes as
the right one and stand nowhere in the prompt, and which is right is drawn among all, so that a
model that does not remember the word is right with probability 1 / choices. A model that only
remembers which words it has seen is right, too: it does not have to know whose word it is. That
is what the third mode asks for, in which the other choices are the words of others:

    keys   ... The secret word of Wayne is barley. ... The secret word of Susan is garden. ...
           The secret word of Susan is  -> " garden", not " barley"
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tasks.lm.probes import stream

Mode = Literal["easy", "hard", "keys"]

CHOICES = {"easy": 8, "hard": 8, "keys": 4}
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the haystack, fraction from its beginning
NAMES = ["Brian", "Bruce", "Carol", "Diane", "Donna", "Ellen", "Karen"]
NAMES += ["Kevin", "Linda", "Nancy", "Oscar", "Susan", "Tracy", "Wayne"]
NEEDLE = " The secret word of {name} is {word}."
QUESTIONS = {
    "easy": " The secret word of {name} is",
    "hard": " Asked for the secret, {name} will always answer",
    "keys": " The secret word of {name} is",
}
_WORD = re.compile(r"(?<![A-Za-z])[a-z]{5,8}(?![A-Za-z])")


@dataclass(frozen=True)
class Prompt:
    """before, needle, after and question follow each other. choices: each with its space.

    right: number of the right choice. depth: of the needle, as asked for.
    """

    before: str
    needle: str
    after: str
    question: str
    choices: tuple[str, ...]
    right: int
    depth: float


def words(texts: Sequence[str]) -> list[str]:
    """Lower-case words of 5 to 8 letters that stand in the texts more than once, in ABC order."""
    counts = Counter(word for text in texts for word in _WORD.findall(text))
    return sorted(word for word, count in counts.items() if count > 1)


def prompts(
    texts: Sequence[str], size: int, count: int, mode: Mode = "easy", seed: int = 0
) -> list[Prompt]:
    """Prompts that have, with the answer, `size` bytes, the needle at the DEPTHS in turn.

    None if the texts are too short or have too few words. Needles go between two words.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode {mode!r} is not known; type one of {', '.join(get_args(Mode))}")
    random, known = stream("needle", seed, size, mode), words(texts)
    content = "\n\n".join(texts).encode()
    found = []
    for i in range(count if known else 0):
        prompt = _prompt(content, known, size, mode, DEPTHS[i % len(DEPTHS)], random)
        if prompt is None:
            return []
        found.append(prompt)
    return found


def _prompt(
    content: bytes,
    known: list[str],
    size: int,
    mode: Mode,
    depth: float,
    random: np.random.Generator,
) -> Prompt | None:
    hidden, choices = (CHOICES[mode] if mode == "keys" else 1), CHOICES[mode]
    for _ in range(20):  # a haystack may have a name, or most of the words
        names = [NAMES[i] for i in random.permutation(len(NAMES))[:hidden]]
        length = len(known[random.integers(len(known))])
        question = QUESTIONS[mode].format(name=names[0])
        fixed = "".join(NEEDLE.format(name=name, word="") for name in names) + question
        haystack = _haystack(content, size - len(fixed) - (hidden + 1) * length - 1, random)
        if haystack is None:
            return None
        shown = (haystack + fixed).lower()
        usable = [word for word in known if len(word) == length and word not in shown]
        if len(usable) < choices or any(name in haystack for name in names):
            continue
        chosen = [usable[i] for i in random.permutation(len(usable))[:choices]]
        needles = [NEEDLE.format(name=name, word=word) for name, word in zip(names, chosen)]
        before, after = _hide(haystack, needles, depth, random)
        order = random.permutation(choices)
        answers = tuple(" " + chosen[i] for i in order)
        right = int(np.argmin(order))
        return Prompt(before, needles[0], after, question, answers, right, depth)
    return None


def _haystack(content: bytes, size: int, random: np.random.Generator) -> str | None:
    if size < 1 or len(content) <= size:
        return None
    start = int(random.integers(len(content) - size))
    return content[start : start + size].decode("utf-8", errors="ignore")


def _hide(
    haystack: str, needles: list[str], depth: float, random: np.random.Generator
) -> tuple[str, str]:
    """What stands before and after the first needle; the other needles lie anywhere.

    Needles go before the space that is nearest to their place; the ends are always possible.
    """
    spaces = [i for i, letter in enumerate(haystack) if letter.isspace()]
    ends = (0, len(haystack))

    def nearest(place: int) -> int:
        return place if place in ends else min(spaces, key=lambda i: abs(i - place), default=place)

    mine = nearest(round(depth * len(haystack)))
    parts = [haystack[:mine], haystack[mine:]]
    places = [nearest(int(i)) for i in random.integers(len(haystack) + 1, size=len(needles) - 1)]
    # The last ones first, so that a place is still where it was.
    for place, needle in zip(sorted(places, reverse=True), needles[1:]):
        side = int(place > mine or (place == mine and depth < 1))
        part, at = parts[side], place - mine * side
        parts[side] = part[:at] + needle + part[at:]
    return parts[0], parts[1]
