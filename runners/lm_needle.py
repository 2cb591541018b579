"""Needles in held-out text, answered by likelihood: the right one of several words."""

from __future__ import annotations

from statistics import fmean

from runners.lm_read import Reader
from runners.lm_values import Found, fraction, pooled
from tasks.lm import needle
from tasks.lm.data import Data

NAMES: dict[needle.Mode, str] = {
    "easy": "needle",
    "hard": "needle_hard",
    "keys": "needle_keys",
}
SHORTEST = {"easy": 7, "hard": 7, "keys": 8}  # logarithm of a length in bytes
FEWEST = 20  # questions of one length
ENDING = 8  # bytes of a choice, about


def needles(
    reader: Reader, data: Data, texts: list[str], tokens: float, mode: needle.Mode, longest: int
) -> dict[str, Found]:
    """longest: tokens beyond which no row may be, 0 for no limit. depths: accuracy at each."""
    name, chance = NAMES[mode], 1 / needle.CHOICES[mode]
    first = 2 ** SHORTEST[mode]
    lengths = [2**i for i in range(SHORTEST[mode], 30) if 2**i <= max(first, 2 * reader.seq_len)]
    found: dict[str, Found] = {}
    for size in lengths:
        kinds = len(needle.DEPTHS)
        each = size + needle.CHOICES[mode] * ENDING  # bytes of a question
        count = kinds * max(FEWEST // kinds, int(tokens / len(lengths) / each / kinds))
        items = needle.prompts(texts, size, count, mode)
        prompts = equal([pieces(data, item) for item in items])
        endings = [[data.tokeniser.encode(word) for word in item.choices] for item in items]
        most = max((len(p) + max(map(len, e)) for p, e in zip(prompts, endings)), default=0)
        if 0 < longest < most:
            continue
        right = []
        if items:
            best = reader.likelihoods(prompts, endings).argmax(1).tolist()
            right = [one == item.right for one, item in zip(best, items)]
        depths = [fmean(right[i::kinds]) for i in range(kinds)] if right else None
        found[f"{name}_{size}"] = fraction(right, chance) | {
            "depths": depths,
            "extrapolated": most > reader.seq_len,
        }
    within = [each for each in found.values() if not each["extrapolated"]]
    return {name: pooled(within, chance)} | found


def pieces(data: Data, item: needle.Prompt) -> list[list[int]]:
    texts = (item.before, item.needle, item.after, item.question)
    return [data.tokeniser.encode(text) for text in texts]


def equal(prompts: list[list[list[int]]]) -> list[list[int]]:
    """The prompts as ids, the haystack of the longer ones cut so that all are equally long.

    The cut is at the beginning, or before the question if the needle is at the beginning.
    """
    fewest, found = min((sum(map(len, p)) for p in prompts), default=0), []
    for before, middle, after, question in prompts:
        over = len(before) + len(middle) + len(after) + len(question) - fewest
        front = min(over, len(before))
        after = after[: len(after) - (over - front)]
        found.append([*before[front:], *middle, *after, *question])
    return found
