"""Needles answered by generation: prompts, marks, and the averages of Table A8."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from runners import harness_niah
from runners.niah import niah
from tasks.lm import corpora
from tasks.lm import niah as grids
from tasks.lm.tokenisers import BYTES
from tests import lm_oracles as oracles
from zoo.model import Model

TEXTS = oracles.held_out()
ROOT = Path(__file__).parents[1]


def ask(model, **options):
    how = {"lengths": [160, 170], "depths": [0, 50, 100], "haystack_texts": TEXTS, **options}
    return niah(model, BYTES, **how)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("tokeniser", [BYTES, oracles.PAIRS], ids=["bytes", "pairs"])
@pytest.mark.parametrize("mode", ["easy", "hard"])
def test_a_prompt_has_its_length_and_the_answer_once(mode, tokeniser):
    lengths, depths = [200, 333], [0, 30, 100]
    cells = list(grids.cells(tokeniser, TEXTS, lengths, depths, mode))
    assert [(c.length, c.depth) for c in cells] == list(itertools.product(lengths, depths))
    for cell in cells:
        text = tokeniser.decode(cell.ids)
        assert len(cell.ids) == cell.length
        assert text.count(cell.answer) == 1
        assert text.endswith("? Answer:")
        assert ("Answer: " + cell.answer in text) == (mode == "easy")
    first, _, last = (tokeniser.decode(cell.ids) for cell in cells[:3])
    assert first.lstrip().startswith(("Question:", "The secret words"))
    assert last.count(cells[2].answer + ". Question: what are the secret words of") == 1


def test_a_needle_goes_behind_a_sentence():
    ids = BYTES.encode("One. Two three. Four five six.")
    assert [grids.place(BYTES, ids, depth) for depth in (0, 10, 40, 70, 100)] == [0, 3, 4, 15, 30]


def test_every_prompt_has_another_needle_and_a_seed_repeats_them():
    cells = list(grids.cells(BYTES, TEXTS, [200], range(0, 100, 10)))
    assert len({cell.words for cell in cells}) == 10
    assert cells == list(grids.cells(BYTES, TEXTS, [200], range(0, 100, 10)))
    assert cells != list(grids.cells(BYTES, TEXTS, [200], range(0, 100, 10), seed=1))


def test_a_short_haystack_is_repeated():
    (cell,) = grids.cells(BYTES, ["the green apples fall and the green apples rise. "], [400], [50])
    assert len(cell.ids) == 400


def test_a_model_that_copies_answers_the_easy_mode():
    found = ask(oracles.Copier())
    assert found["value"] == found["weighted"] == found["score"] == found["recall"] == 1
    assert found["grid"] == [[1, 1, 1], [1, 1, 1]]
    assert found["n"] == 6
    assert ask(oracles.Copier(), mode="hard", depths=[50])["value"] == 0


def test_a_model_that_is_not_trained_answers_nothing():
    torch.manual_seed(0)
    found = ask(Model(zoo.load("gla"), vocabulary=257, d_model=32, depth=1))
    assert found["value"] == found["score"] == found["recall"] == 0


def test_columns_are_those_of_the_published_table():
    with (ROOT / "results" / "published" / "tableA8_niah.csv").open() as file:
        names = next(csv.reader(file))[2:]
    assert list(grids.columns(np.ones((2, 2)), [2000, 4000])) == names
    assert names[0] in ask(oracles.Seer())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lengths": [20]}, "needle and question alone have"),
        ({"lengths": []}, "no length or no depth"),
        ({"depths": [0, 101]}, "type 0 to 100"),
        ({"mode": "medium"}, "type one of easy, hard"),
        ({"haystack_texts": ["Short."]}, "give more text"),
    ],
)
def test_what_is_impossible_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ask(oracles.Seer(), **options)


def test_learned_positions_are_refused_before_anything_is_asked(monkeypatch):
    options = {"vocabulary": 257, "d_model": 16, "depth": 1, "max_length": 200}
    model = Model(zoo.load("attention"), positions="learned", **options)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(model, "hidden", lambda *_: pytest.fail("a question was asked"))
    with pytest.raises(ValueError, match="positions"):
        ask(model, lengths=[160, 200])


def test_an_answer_is_the_two_words_as_they_stand():
    cell = grids.Cell(9, 0, [], ("garden", "thunder"))
    assert grids.matches(cell, " Garden and\nthunder. Then")
    assert not grids.matches(cell, "thunder and garden")
    assert grids.recall(cell, "thunder and gardens") == 0.5
    assert grids.recall(cell, "Thunder, garden") == 1


def test_averages_of_a_grid_by_hand():
    lengths = [1000, 1900, 4100, 8100]
    grid = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], float)
    found = grids.columns(grid, lengths)
    expected = {"acc_2k": 0.5, "acc_4k": 0, "acc_8k": 0.5, "acc_16k": None}
    expected |= {"acc_le_4k": 0.5, "acc_le_8k": 0.5, "avg": None, "weighted_avg": None}
    assert found == expected


def test_powers_of_two_are_the_lengths_of_the_table_and_longer_ones_are_left_out():
    grid = np.array([[1.0], [0], [1], [0], [1]])
    found = grids.columns(grid, [2048, 4096, 8192, 16384, 32768])
    assert (found["acc_4k"], found["acc_8k"], found["avg"]) == (0, 1, 0.5)
    assert found["acc_le_8k"] == pytest.approx(2 / 3)
    assert found["weighted_avg"] == pytest.approx((1 + 1.01**2) / (1 + 1.01 + 1.01**2 + 1.01**3))


def test_weights_grow_with_length_and_depth():
    corner = np.zeros((2, 3))
    corner[1, 2] = 1
    expected = 1.5 / 2.5 * 1.5**2 / (1 + 1.5 + 1.5**2)
    assert grids.weighted(corner, alpha=1.5) == pytest.approx(expected)
    assert grids.weighted(np.ones((35, 35))) == pytest.approx(1)


def test_alpha_takes_the_published_averages_to_the_weighted_ones():
    # LLaMA answers up to some length and nothing beyond: its rows are nearly steps,
    # and a failure at 4k, as the second has, changes the weighted average by less than 0.01.
    for avg, published in ((0.564, 0.523), (0.478, 0.441)):
        whole, rest = divmod(avg * 35, 1)
        grid = np.zeros((35, 35))
        grid[: int(whole)] = 1
        grid[int(whole), : round(35 * rest)] = 1
        assert grid.mean() == pytest.approx(avg, abs=5e-4)
        assert grids.columns(grid, grids.LENGTHS)["weighted_avg"] == pytest.approx(
            published, abs=0.01
        )


@pytest.mark.parametrize(
    ("row", "penalty"),
    [
        ([0, 0, 0, 0], 0),
        ([1, 1, 1, 1], 1),
        ([0, 0, 1, 1], 2**-0.5),
        ([1, 0, 1, 1], 2**-1),
        ([0, 1, 0, 1], 2**-1.5),
        ([0.4, 0.6, 0.7, 0.5], 2**-0.5),
    ],
)
def test_a_length_is_penalised_for_the_runs_of_its_depths(row, penalty):
    assert grids.evenness(np.array(row), 0.5) == pytest.approx(penalty)


def test_the_score_weighs_each_length_with_its_penalty():
    grid = np.array([[1, 1], [0, 1.0]])
    expected = (1 + 2 * 2**-0.5 * 2 / 3) / 3
    assert grids.score(grid, alpha=2) == pytest.approx(expected)


def test_a_haystack_that_is_not_the_models_own_text_is_told():
    said: list[str] = []
    corpus, texts = harness_niah.haystack("./no such text", said.append)
    assert (corpus, len(said)) == ("classics", 1)
    assert "no such text" in said[0]
    assert texts == list(corpora.documents("classics", "test"))
    assert harness_niah.haystack("classics", said.append)[0] == "classics"
    assert len(said) == 1
