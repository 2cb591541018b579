"""The questions that probes ask are what their definitions say."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from tasks.lm import needle, probes
from tests import lm_oracles as oracles

TEXTS = oracles.held_out()


def test_last_words_have_occurred_and_do_not_overlap():
    items = probes.last_words(TEXTS, 10**6, 256)
    places = []
    for item in items:
        word, whole = item.word[1:], item.context + item.word
        assert item.word[0] == " "
        assert re.search(rf"\b{word}\b", item.context)
        assert 128 <= len(whole.encode()) <= 256
        assert len(word) >= 4
        document = next(i for i, text in enumerate(TEXTS) if whole in text)
        at = TEXTS[document].index(whole)
        assert re.match(r"[.!?]", TEXTS[document][at + len(whole) :])
        places.append((document, at, at + len(whole)))
    places.sort()
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in itertools.pairwise(places))
    assert probes.last_words(TEXTS, 10, 256) == items[:10]


def test_passages_of_other_alphabets_keep_to_their_bytes():
    text = "Ω ω φως word " * 30 + "and the word. "
    (item,) = probes.last_words([text], 5, 200)
    assert 100 <= len((item.context + item.word).encode()) <= 200


def test_segments_are_different_pieces_of_their_size():
    parts = probes.segments(TEXTS, 50, 128)
    assert len(set(parts)) == 50
    assert all(len(part.encode()) == 128 for part in parts)
    assert all(any(part in text for text in TEXTS) for part in parts)


@pytest.mark.parametrize("gap", [2, 32, 64, 200])
def test_a_bigram_stands_once_and_the_rest_is_even(gap):
    choices = np.arange(100, 164)
    rows, answers = probes.bigrams(choices, gap, 500)
    assert rows.shape == (500, probes.LEAD + gap + 1)
    for row, answer in zip(rows, answers):
        (first, last) = np.flatnonzero(row == row[-1])
        assert (first, last - first, row[first + 1]) == (probes.LEAD, gap, answer)
        counts = np.unique(row[row != row[-1]], return_counts=True)[1]
        assert counts.max() - (counts.min() if len(counts) == 63 else 0) <= 1
    # Each choice is as likely: 500 draws of 64 have a chi-square of 63 give or take 11.
    drawn = np.bincount(answers - 100, minlength=64)
    assert ((drawn - 500 / 64) ** 2 / (500 / 64)).sum() < 63 + 5 * 11.3


def test_frequent_tokens_stand_for_text():
    ids = np.array([5, 5, 5, 9, 9, 9, 9, 2, 2, 7])
    sizes = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0])
    assert probes.frequent(ids, sizes, 3).tolist() == [5, 2, 7]
    assert probes.frequent(ids, sizes, 9).tolist() == [5, 2, 7]


@pytest.mark.parametrize("mode", ["easy", "hard", "keys"])
@pytest.mark.parametrize("size", [256, 512])
def test_choices_are_not_in_the_prompt_and_of_equal_size(mode, size):
    items = needle.prompts(TEXTS, size, 80, mode)
    for item in items:
        prompt = item.before + item.needle + item.after + item.question
        assert len((prompt + item.choices[0]).encode()) == size
        assert len(set(item.choices)) == needle.CHOICES[mode]
        assert len({len(word.encode()) for word in item.choices}) == 1
        shown = [i for i, word in enumerate(item.choices) if word[1:] in prompt.lower()]
        assert shown == (list(range(4)) if mode == "keys" else [item.right])
        assert item.needle.endswith(f"is{item.choices[item.right]}.")
        name = item.question.split(" is")[0].split()[-1] if mode != "hard" else ""
        assert name in item.needle
        assert (item.before + item.after).count(" secret word of ") == (3 if mode == "keys" else 0)
    assert len({item.right for item in items}) == needle.CHOICES[mode]
    assert [item.depth for item in items[:6]] == [*needle.DEPTHS, 0]
    assert not any(item.before for item in items[::5])
    assert not any(item.after for item in items[4::5])


def test_a_mode_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="type one of easy, hard, keys"):
        needle.prompts(TEXTS, 256, 5, "medium")  # pyright: ignore[reportArgumentType]
