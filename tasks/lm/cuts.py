"""Where a text is cut into training, validation and test part.

The last 5 % of a text's characters are the test part and the 5 % before are the validation part,
so that both are unseen continuations of what the model has read.
"""

from __future__ import annotations

from tasks.lm import Split

# Below this, 5 % are about a page: too few tokens to score, and paragraphs are longer.
SHORT = 20_000
_TRAIN, _VALID = 0.90, 0.95
# How far from its place a cut may move; twice this is less than a part, so that none is empty.
_REACH = 0.024


def cut(text: str) -> dict[Split, str]:
    """The three parts of a text; joined in the order train, valid, test they are the text."""
    a, b = _boundary(text, _TRAIN), _boundary(text, _VALID)
    return {"train": text[:a], "valid": text[a:b], "test": text[b:]}


def _boundary(text: str, share: float) -> int:
    """Position after the nearest blank line; if none is near, line, then sentence, then word."""
    place, reach = int(len(text) * share), int(len(text) * _REACH)
    for mark in ("\n\n", "\n", ". ", " "):
        found = (
            text.rfind(mark, place - reach, place),
            text.find(mark, place, place + reach),
        )
        ends = [_past_lines(text, at + len(mark), place + reach) for at in found if at >= 0]
        if ends:
            return min(ends, key=lambda end: abs(end - place))
    return place


def _past_lines(text: str, end: int, limit: int) -> int:
    """Blank lines stay with what they close, so that no part begins with one."""
    while end < limit and text[end] == "\n":
        end += 1
    return end
