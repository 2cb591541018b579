"""The probes measure what they say: models whose answers are known get the scores they deserve."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

import zoo
from runners.lm_needle import equal, pieces
from runners.lm_probes import held_out, probe
from runners.lm_read import Reader
from runners.lm_values import fraction, mean, pooled
from tasks.lm import needle
from tasks.lm.tokenisers import BYTES
from tests import lm_oracles as oracles
from zoo.model import Model

CPU = torch.device("cpu")


def asked(model, tokeniser=BYTES, budget=100, **fields):
    config = oracles.config(**{"seq_len": 64, **fields})
    return probe(model, oracles.data(TEXTS, tokeniser), config, budget=budget)


TEXTS = oracles.held_out()


@cache
def copier():
    return asked(oracles.Copier(), seq_len=256)


def net(name, vocabulary=257, **options):
    torch.manual_seed(0)
    return Model(zoo.load(name), vocabulary=vocabulary, d_model=32, depth=1, **options).eval()


def reader(model, seq_len=64):
    return Reader(model, CPU, False, seq_len)


def test_a_model_that_copies_copies():
    found = copier()
    assert found["copy"]["value"] > 0.999
    # English has about 96 of 128 bytes that are no repetition, at 20 nats each.
    assert found["copy_unrelated"]["value"] < 0.5
    assert found["copy_bits_saved"]["value"] > 10


@pytest.mark.parametrize("gap", ["", "_32", "_64", "_128"])
def test_a_model_that_copies_finds_what_followed(gap):
    assert copier()[f"induction{gap}"]["value"] == 1


@pytest.mark.parametrize("size", ["", "_128", "_256", "_512"])
def test_a_model_that_copies_finds_the_needle(size):
    assert copier()[f"needle{size}"]["value"] == 1
    # Two letters of the right word are nearly enough to know it again, whatever the question.
    assert copier()[f"needle_hard{size}"]["value"] >= 0.9
    if size != "_128":
        assert copier()[f"needle_keys{size}"]["value"] == 1


def test_a_model_that_only_knows_which_words_it_saw_does_not_know_whose_they_are():
    found = asked(oracles.Speller(), budget=1000)
    assert found["needle_128"]["value"] == 1
    spread = math.sqrt(0.25 * 0.75 / found["needle_keys_256"]["n"])
    assert abs(found["needle_keys_256"]["value"] - 0.25) <= 3 * spread


def test_lengths_beyond_the_window_are_marked_and_not_in_the_mean():
    found = copier()
    marks = [found[f"needle_{size}"]["extrapolated"] for size in (128, 256, 512)]
    assert marks == [False, False, True]
    assert found["needle"]["n"] == found["needle_128"]["n"] + found["needle_256"]["n"]


@pytest.mark.parametrize("tokeniser", [BYTES, oracles.PAIRS], ids=["bytes", "pairs"])
def test_a_model_that_sees_the_next_token_gets_each_last_word(tokeniser):
    found = asked(oracles.Seer(vocabulary=tokeniser.vocabulary), tokeniser)
    assert found["last_word"]["value"] == 1
    assert found["last_word_nats"]["value"] < 1e-3
    assert found["copy"]["value"] == found["copy_unrelated"]["value"] == 1


def test_a_model_that_is_one_token_off_gets_none():
    found = asked(oracles.Seer(ahead=2))
    assert found["last_word"]["value"] == 0
    assert found["copy"]["value"] < 0.2  # double letters


def test_a_word_that_would_go_on_is_wrong():
    assert asked(oracles.Seer(at_end="s"))["last_word"]["value"] == 0


def test_induction_is_asked_before_its_answer_is_read():
    # What follows the last A is not in the row, so seeing ahead is no help.
    assert asked(oracles.Seer())["induction"]["value"] < 0.1


@pytest.mark.parametrize("name", ["attention", "gla", "mamba", "metala", "cosformer"])
def test_an_untrained_model_is_at_chance(name):
    found = asked(net(name), budget=800)
    for each in ("last_word", "induction", "needle_128", "needle_hard_128", "needle_keys_256"):
        chance, n = found[each]["chance"], found[each]["n"]
        spread = math.sqrt(chance * (1 - chance) / n)
        assert abs(found[each]["value"] - chance) <= 3 * spread, each
    saved = found["copy_bits_saved"]
    assert abs(saved["value"]) <= max(3 * saved["stderr"], 0.02)


def test_an_answer_comes_from_the_needle_alone():
    items = needle.prompts(TEXTS, 256, 20)
    other = [(item.right + 1) % 8 for item in items]
    moved = [
        replace(x, needle=x.needle.replace(x.choices[x.right], x.choices[i]))
        for x, i in zip(items, other)
    ]
    data = oracles.data(TEXTS)
    prompts = equal([pieces(data, item) for item in moved])
    endings = [[BYTES.encode(word) for word in item.choices] for item in moved]
    assert reader(oracles.Copier()).likelihoods(prompts, endings).argmax(1).tolist() == other


def test_learned_positions_are_not_exceeded():
    model = net("attention", positions="learned", max_length=64)
    found = asked(model, seq_len=64, positions="learned")
    assert found["copy"]["n"]
    assert found["last_word"]["n"]
    assert found["induction_32"]["n"]
    assert "needle_128" not in found
    assert found["needle"] == {"value": None, "stderr": None, "chance": 1 / 8, "n": 0}


def test_bf16_gives_numbers():
    found = asked(net("gla"), seq_len=64, precision="bf16")
    assert all(math.isfinite(each["value"]) for each in found.values() if each["n"])


def test_the_same_questions_are_asked_again():
    assert asked(net("gla")) == asked(net("gla"))


@pytest.mark.parametrize("tokeniser", [BYTES, oracles.PAIRS], ids=["bytes", "pairs"])
def test_about_the_budget_is_read(tokeniser):
    model = oracles.Seer(vocabulary=tokeniser.vocabulary)
    data = oracles.data(TEXTS, tokeniser)
    probe(model, data, oracles.config(), budget=600)  # pyright: ignore[reportArgumentType]
    assert 0.7 * 600 * 256 < model.read < 1.1 * 600 * 256


def test_text_that_is_too_short_gives_no_value():
    found = probe(net("gla"), oracles.data(["A word."]), oracles.config())
    empty = [name for name, each in found.items() if not name.startswith("induction")]
    assert all(found[name]["value"] is None and found[name]["n"] == 0 for name in empty)


def test_held_out_text_is_the_test_split_without_ends():
    texts = ["one two", "three", "four"]
    assert sorted(held_out(oracles.data(texts))) == sorted(texts)


def test_prompts_are_cut_to_the_shortest_without_touching_the_needle():
    data = oracles.data(TEXTS, oracles.PAIRS)
    items = needle.prompts(TEXTS, 256, 20)
    prompts = equal([pieces(data, item) for item in items])
    assert len({len(ids) for ids in prompts}) == 1
    for ids, item in zip(prompts, items):
        text = oracles.PAIRS.decode(ids)
        assert item.needle in text
        assert text.endswith(item.question)


def test_standard_errors():
    assert fraction([True, False, False, False], 0.1)["stderr"] == pytest.approx(0.25 * 3**0.5 / 2)
    assert mean([1.0, 3.0], None) == {
        "value": 2,
        "stderr": pytest.approx(1),
        "chance": None,
        "n": 2,
    }
    parts = [{"value": 0.2, "stderr": 0.3, "n": 5}, {"value": 0.6, "stderr": 0.4, "n": 50}]
    both = {"value": pytest.approx(0.4), "stderr": pytest.approx(0.25), "chance": 0, "n": 55}
    assert pooled([*parts, fraction([], 0)], 0) == both
