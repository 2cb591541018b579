"""Log-likelihoods are the model's own; our task files, standard errors and names are as said."""

import math

import numpy as np
import pytest

from runners import harness_data, harness_lm, harness_quiet, harness_tasks, harness_values
from runners.commands.eval import main
from runners.harness_score import Scorer, windows
from tasks.lm.harness import TASKS, logiqa, multirc
from tasks.lm.tokenisers import BYTES
from tests.harness_tiny import CLOSE, LENGTH, LOGIQA, MULTIRC, Rows, direct, installed, tiny


def test_windows_say_every_token_once_with_what_fits_before_it():
    X, *text = range(7)
    assert list(windows([X], text, 4)) == [([X, 1, 2, 3], [1, 2, 3, 4]), ([2, 3, 4, 5], [5, 6])]
    assert list(windows([8, 9, X], [1, 2], 3)) == [([9, X, 1], [1, 2])]
    assert list(windows([X], [1], 3)) == [([X], [1])]


@installed
@pytest.mark.parametrize("count", [1, 4, 5, 8, 11])
def test_windows_of_a_whole_text_are_those_of_the_harness(count):
    with harness_quiet.quiet():
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    text = list(range(1, count + 1))
    rolling = get_rolling_token_windows(text, 0, max_seq_len=4, context_len=1)
    theirs = [(c, s) for c, s in map(make_disjoint_window, rolling)]
    ours = [(reads[: len(reads) - len(says) + 1], says) for reads, says in windows([0], text, 4)]
    assert ours == [(list(context), list(says)) for context, says in theirs]


PAIRS = (
    ("a short one", " and more"),
    ("", "begins a text"),
    ("far more than the forty tokens of a window, and so it is cut on the left", " end"),
    ("x", "y"),
)


@pytest.mark.parametrize(
    ("model", "positions"), [("metala", "none"), ("mamba", "none"), ("attention", "learned")]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_loglikelihoods_are_those_of_the_model_itself(model, positions, batch):
    made, _ = tiny(model, positions)
    pairs = [(BYTES.encode(a), BYTES.encode(b)) for a, b in PAIRS]
    scorer = Scorer(made, LENGTH, BYTES.eos, batch)
    for (context, after), (nats, greedy) in zip(pairs, scorer.score(pairs)):
        assert (nats, greedy) == (
            pytest.approx(direct(made, context or [BYTES.eos], after)[0], rel=CLOSE, abs=CLOSE),
            direct(made, context or [BYTES.eos], after)[1],
        )
    assert (scorer.asked, scorer.cut) == (4, 1)


@pytest.mark.parametrize("model", ["cosformer", "performer", "dss:softmax", "gla"])
def test_rows_of_a_batch_do_not_change_each_other(model):
    made, _ = tiny(model)
    pairs = [(BYTES.encode(a), BYTES.encode(b)) for a, b in PAIRS]
    alone = [Scorer(made, LENGTH, BYTES.eos, 1).score([pair])[0][0] for pair in pairs]
    together = [nats for nats, _ in Scorer(made, LENGTH, BYTES.eos, 4).score(pairs)]
    assert together == pytest.approx(alone, rel=CLOSE, abs=CLOSE)


def test_a_continuation_longer_than_a_window_is_the_sum_of_its_pieces():
    made, _ = tiny()
    text = BYTES.encode("all of these words are more than one window can hold at a time")
    ((nats, _),) = Scorer(made, LENGTH, BYTES.eos, 2).score([([], text)])
    first = direct(made, [BYTES.eos], text[:LENGTH])[0]
    second = direct(made, text[:LENGTH], text[LENGTH:])[0]
    assert nats == pytest.approx(first + second, rel=CLOSE, abs=CLOSE)


def test_what_greedy_decoding_says_is_greedy():
    made, _ = tiny()
    scorer = Scorer(made, LENGTH, BYTES.eos, 2)
    context = BYTES.encode("begin")
    says = scorer.generate(context, 3)
    other = [*says[:-1], (says[-1] + 1) % 256]
    found = scorer.score([(context, says), (context, other)])
    assert [greedy for _, greedy in found] == [True, False]


def test_generated_text_ends_before_the_first_end():
    assert harness_lm.until("one. two\n\nthree", ["\n\n", "."]) == "one"
    assert harness_lm.until("one", "\n") == "one"
    with pytest.raises(ValueError, match="do_sample"):
        harness_lm.new_tokens({"do_sample": True, "temperature": 0.7})


def test_standard_errors():
    scores = [1, 0, 0, 1, 1, 0, 1]
    plain = np.std(scores, ddof=1) / math.sqrt(len(scores))

    def mean(x):
        return sum(x) / len(x)

    def other(x):
        return mean(x)

    def perplexity(x):
        return math.exp(-mean(x))

    assert harness_values.standard_error(scores, mean) == pytest.approx(plain)
    # Of a mean, the jackknife is the usual formula.
    assert harness_values.standard_error(scores, other) == pytest.approx(plain)
    expected = math.exp(-4 / 7) * plain
    assert harness_values.standard_error(scores, perplexity) == pytest.approx(expected)
    assert harness_values.standard_error([1], mean) is None


def test_noise_of_libraries_stays_off_standard_output(capsys):
    with harness_quiet.quiet():
        print("noise")
    print("result")
    assert capsys.readouterr() == ("result\n", "noise\n")


def test_the_file_of_logiqa_becomes_items_with_the_prompt_of_the_harness():
    first, second = logiqa.parsed(LOGIQA)
    assert [logiqa.answer(item) for item in (first, second)] == [1, 3]
    assert first["options"][3] == "Tom reads"
    assert logiqa.prompt(first) == (
        "Passage: All cats sleep. Tom is a cat.\nQuestion: What follows?\nChoices:\n"
        "A. Tom barks.\nB. Tom sleeps.\nC. Tom eats.\nD. Tom reads\nAnswer:"
    )
    with pytest.raises(ValueError, match="line 1 of LogiQA's file"):
        list(logiqa.parsed("some other text\nof two lines\nand three"))


def test_a_question_of_multirc_is_right_if_all_its_answers_are():
    first, second = multirc.questions(Rows(MULTIRC))
    assert (first["answers"], first["labels"], second["labels"]) == (
        ["a cat", "a dog"],
        [1, 0],
        [0],
    )
    assert multirc.choices(first)[:2] == [
        "a cat\nIs the answer correct? yes",
        "a cat\nIs the answer correct? no",
    ]
    yes_no = [(-1.0, False), (-2.0, False), (-2.0, False), (-1.0, False)]
    assert multirc.score(first, yes_no) == {"em": 1.0}
    assert multirc.score(first, yes_no[:2] * 2) == {"em": 0.0}
    assert multirc.score(second, yes_no[:2]) == {"em": 0.0}


def test_names_are_spelt_out_and_come_once():
    assert harness_tasks.names(["piqa", "paper", "piqa"])[:2] == ["piqa", "lambada_openai"]
    assert len(harness_tasks.names(["superglue", "commonsense"])) == 16
    assert set(TASKS) == {"logiqa", "multirc"}


def test_local_data_and_files_of_ones_own_need_no_network(tmp_path):
    (tmp_path / "piqa.jsonl").write_text("{}")
    (tmp_path / "logiqa.txt").write_text(LOGIQA)
    own = tmp_path / "own.yaml"
    own.write_text("dataset_kwargs: {data_files: {test: own.jsonl}}")
    for name in ("piqa", "logiqa", "niah", str(own)):
        assert not harness_data.needs_network(name, tmp_path)
    assert harness_data.needs_network("boolq", tmp_path)


def test_without_the_harness_the_command_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(harness_quiet, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--tasks", "piqa", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "pip install 'linear-attention-zoo[eval]'" in capsys.readouterr().err
