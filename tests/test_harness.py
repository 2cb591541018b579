"""lazoo eval from the command line: what is scored, stored, skipped, refused and printed."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from results.harness_columns import SUITES
from results.store import Store
from runners import harness_quiet, harness_tasks, trained
from runners.harness_score import Scorer
from tasks.lm.harness import TASKS, logiqa, multirc
from tasks.lm.tokenisers import BYTES
from tests.harness_tiny import LENGTH, LOGIQA, MULTIRC, Rows, best, direct, installed, tiny

OWN = """
task: own_text
dataset_path: json
dataset_kwargs: {data_files: {test: data/own.jsonl}, cache_dir: cache}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: bits_per_byte}]
"""
DATA = {
    "piqa": [
        {"goal": "boil water", "sol1": "heat it", "sol2": "cool it", "label": 0},
        {"goal": "cut bread", "sol1": "a spoon", "sol2": "a sharp knife does it", "label": 1},
        {"goal": "dry hair", "sol1": "some towel", "sol2": "a shoe", "label": 0},
    ],
    "lambada_openai": [{"text": "the cat sat on the mat"}, {"text": "all is well"}],
    "multirc": MULTIRC,
    "cb": [
        {"premise": "Tom sleeps.", "hypothesis": "Tom is awake", "label": 1},
        {"premise": "Tom eats.", "hypothesis": "Tom eats", "label": 0},
        {"premise": "Tom is.", "hypothesis": "Tom reads", "label": 2},
    ],
    "winogrande": [
        {"sentence": "Tom met Ann, and _ left.", "option1": "he", "option2": "she", "answer": "2"}
    ],
    "own": [{"text": "a text of more than the forty tokens of one window, which is cut"}],
}
ASKED = ("piqa", "lambada_openai", "logiqa", "multirc", "cb", "winogrande", "own.yaml", "boolq")
# One process for all calls: to import the libraries takes most of the time.
CALLS = """
import contextlib, io, json, sys
from runners.commands.eval import main
for argv in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A folder with data, rows and a model, the model, and (code, out, err) of three calls."""
    folder = tmp_path_factory.mktemp("eval")
    model, config = tiny()
    trained.save(folder / "model", model, config, BYTES, {"label": "MetaLA"})
    (folder / "data").mkdir()
    for name, items in DATA.items():
        lines = "".join(json.dumps(item) + "\n" for item in items)
        (folder / "data" / f"{name}.jsonl").write_text(lines)
    (folder / "data" / "logiqa.txt").write_text(LOGIQA)
    (folder / "own.yaml").write_text(OWN)
    first = ["model", "--tasks", *ASKED, "--local", "data", "--batch", "3"]
    calls = [first, first, ["model", "--tasks", "none.yaml", "--local", "data"]]
    command = [sys.executable, "-c", CALLS, json.dumps(calls)]
    root = str(Path(__file__).parents[1])
    # No hub even where there is one: what is missing here is missing everywhere.
    env = {"PATH": "", "PYTHONPATH": root, "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    env |= {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, model, [json.loads(line) for line in done.stdout.splitlines()]


def values(folder):
    rows = Store(folder / "runs").read("eval")
    return {(row["harness_task"], row["metric"]): row for row in rows}


@installed
def test_multiple_choice_is_what_the_model_finds_likelier(evaluated):
    folder, model, _ = evaluated
    plain, normed = [], []
    for item in DATA["piqa"]:
        context, choices = f"Question: {item['goal']}\nAnswer:", [item["sol1"], item["sol2"]]
        plain.append(best(model, context, choices) == item["label"])
        normed.append(best(model, context, choices, list(map(len, choices))) == item["label"])
    found = values(folder)
    assert found["piqa", "acc"]["value"] == pytest.approx(np.mean(plain))
    assert found["piqa", "acc_norm"]["value"] == pytest.approx(np.mean(normed))
    assert found["piqa", "acc"]["stderr"] == pytest.approx(np.std(plain, ddof=1) / math.sqrt(3))
    assert (found["piqa", "acc"]["n"], found["piqa", "acc"]["chance"]) == (3, 0.5)


@installed
def test_logiqa_and_multirc_are_scored_by_our_own_files(evaluated):
    folder, model, _ = evaluated
    items = list(logiqa.parsed(LOGIQA))
    right = [best(model, logiqa.prompt(i), i["options"]) == logiqa.answer(i) for i in items]
    assert values(folder)["logiqa", "acc"]["value"] == pytest.approx(np.mean(right))
    exact = []
    for item in multirc.questions(Rows(MULTIRC)):
        context = f"{item['paragraph']}\nQuestion: {item['question']}\nAnswer:"
        said = multirc.choices(item)
        judged = [1 - best(model, context, said[i : i + 2]) for i in range(0, len(said), 2)]
        exact.append(judged == item["labels"])
    row = values(folder)["multirc", "em"]
    assert (row["value"], row["n"]) == (pytest.approx(np.mean(exact)), 2)


@installed
def test_lambada_is_the_last_word(evaluated):
    folder, model, _ = evaluated
    cut = [item["text"].rpartition(" ") for item in DATA["lambada_openai"]]
    pairs = [direct(model, BYTES.encode(a), BYTES.encode(" " + b)) for a, _, b in cut]
    found = values(folder)
    expected = math.exp(-np.mean([nats for nats, _ in pairs]))
    assert found["lambada_openai", "perplexity"]["value"] == pytest.approx(expected, rel=2**-12)
    assert found["lambada_openai", "acc"]["value"] == np.mean([greedy for _, greedy in pairs])


@installed
def test_a_file_of_ones_own_can_ask_for_whole_texts(evaluated):
    folder, model, _ = evaluated
    text = DATA["own"][0]["text"]
    ((nats, _),) = Scorer(model, LENGTH, BYTES.eos, 1).score([([], BYTES.encode(text))])
    row = values(folder)["own_text", "bits_per_byte"]
    assert row["value"] == pytest.approx(-nats / math.log(2) / len(text), rel=2**-16)
    assert (row["truncated"], row["harness_source"]) == (1.0, "file")


@installed
def test_one_task_without_data_fails_alone_and_says_what_to_do(evaluated):
    folder, _, ((code, out, err), *_) = evaluated
    assert code == 1
    assert "no network, and no data/boolq.jsonl" in err
    assert "load_dataset('aps/super_glue', 'boolq', split='validation')" in err
    assert values(folder)["boolq", ""]["status"] == "failed"
    assert out.startswith("MetaLA, model: ")
    assert "piqa " in out
    # Nothing of the libraries on standard output: a title, a header and one line for each metric.
    ok = [row for row in values(folder).values() if row["status"] == "ok"]
    assert len(out.rstrip().splitlines()) == 2 + len(ok)
    assert "Traceback" not in err


@installed
def test_what_is_stored_is_not_done_again(evaluated):
    folder, _, (first, second, _) = evaluated
    assert second[1] == first[1]
    assert "piqa: stored already" in second[2]
    files = "".join(p.read_text() for p in (folder / "runs").glob("eval.*.jsonl"))
    assert sum('"harness_task": "piqa"' in line for line in files.splitlines()) == 2
    assert sum('"harness_task": "boolq"' in line for line in files.splitlines()) == 2


@installed
def test_an_unknown_task_is_refused(evaluated):
    code, _, err = evaluated[2][2]
    assert code == 2
    assert "there is no file none.yaml" in err
    with harness_quiet.quiet(), pytest.raises(ValueError, match="did you mean logiqa"):
        harness_tasks.indexed(TASKS["logiqa"].parent, "logiqaa")


@installed
def test_a_row_says_what_was_run(evaluated):
    folder, model, _ = evaluated
    row = values(folder)["cb", "f1"]
    assert (row["column"], row["fewshot"], row["limit"], row["tokens"]) == (
        "CB F1",
        0,
        0,
        101 * LENGTH,
    )
    assert row["parameters"] == sum(p.numel() for p in model.parameters())
    assert all(row[name] for name in ("run", "lm_eval_version", "items_sha256", "harness_sha256"))
    assert row["chance"] is None
    assert values(folder)["cb", "acc"]["chance"] == pytest.approx(1 / 3)
    assert {row["harness_task"] for row in values(folder).values()} - {"own_text"} <= {
        *SUITES["paper"]
    }
