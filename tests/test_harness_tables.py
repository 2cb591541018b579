"""Tables 4, 5, 8, A5, A8 and A9: ours below the paper's, errors, averages, what is said below."""

import csv
import io
import math
import random
import re

import pytest

from results import harness_columns, published, tables
from results.harness_columns import ABLATIONS, COLUMNS, SUITES, TABLES

NAMES = list(TABLES)
EIGHT = ("LOGIQA", "WSC273", "BOOLQ", "PIQA", "HS", "WG", "ARC-c", "OBQA")


def row(title="PIQA", value: float | None = 0.6, model="metala", label="MetaLA", **more):
    column = COLUMNS[title]
    made = {
        "key": f"{model}{title}{more.get('weights_sha256')}{more.get('n')}",
        "task": "eval",
        "status": "ok",
        "error": "",
        "model": model,
        "label": label,
        "family": "",
        "run": f"{model}-0123",
        "weights_sha256": model,
        "corpus": "classics",
        "tokeniser": "bytes",
        "tokens": 2_457_600,
        "parameters": 840_000,
        "d_model": 128,
        "depth": 4,
        "harness_task": column.task,
        "metric": column.metric,
        "value": value,
        "stderr": 0.01,
        "n": column.items,
        "items_sha256": column.task,
        "lm_eval_version": "0.4.13",
        "torch": "2.13.0",
        "git": "",
        "time": "2026-01-01",
    }
    return made | more


def written(name, rows, folder):
    return {path.suffix: path.read_text() for path in tables.write(name, rows, folder)}


def entries(text, begin):
    """The entries of the first Markdown line that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {begin}"))
    return [entry.strip() for entry in line.strip("|").split(" | ")]


def eight(**more):
    return [row(title, 0.5, **more) for title in EIGHT]


@pytest.mark.parametrize("name", NAMES)
def test_without_rows_the_paper_stands_alone_with_dashes_for_ours(name, tmp_path):
    files = written(name, [], tmp_path)
    lines = list(csv.DictReader(io.StringIO(files[".csv"])))
    paper = [line for line in lines if line["from"] == "paper"]
    known = published.languages(TABLES[name].file)
    assert len(paper) == sum(len(line.cells) for line in known)
    assert all(not line["value"] for line in lines if line["from"] == "ours")
    dashes = entries(files[".md"], "MetaLA, ours")
    assert set(dashes[2:]) == {"–"}
    assert f"lazoo eval MODEL --tasks {TABLES[name].suite}" in files[".md"]


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_are_printed_as_they_are(name, tmp_path):
    text = written(name, [], tmp_path)[".md"]
    printed = [re.split(r" +\| +", line) for line in text.splitlines() if "| paper |" in line]
    known = published.languages(TABLES[name].file)
    for entries_of, line in zip(printed, known, strict=True):
        assert set(line.cells.values()) <= {entry.strip(" |") for entry in entries_of}


@pytest.mark.parametrize("name", [name for name in NAMES if TABLES[name].mean])
def test_the_columns_behind_an_average_are_those_of_the_paper(name):
    for line in published.languages(TABLES[name].file):
        values = [float(line.cells[title]) for title in TABLES[name].mean]
        # Rounded twice: the columns and the average. Two rows of the paper are off by 0.01 more.
        assert sum(values) / len(values) == pytest.approx(float(line.cells["AVG"]), abs=0.021)


def test_ours_come_with_scale_and_standard_error(tmp_path):
    line = entries(written("5", [row()], tmp_path)[".md"], "MetaLA 0.84 M, ours")
    assert line[1:3] == ["ours, classics", "2.46 M"]
    assert line[6] == "60.00 ± 1.00"
    assert line[3] == line[-1].strip(" |") == "–"


def test_an_average_needs_all_its_columns(tmp_path):
    whole = entries(written("5", eight(), tmp_path)[".md"], "MetaLA 0.84 M, ours")
    assert whole[-1] == f"50.00 ± {1 / math.sqrt(8):.2f}"
    less = entries(written("5", eight()[1:], tmp_path)[".md"], "MetaLA 0.84 M, ours")
    assert less[-1] == "–"


def test_errors_of_the_paper_follow_from_the_number_of_items():
    text = tables.render("8", [], 400)
    assert "its MetaLA average of 42.52 is 0.58" in text
    error = 100 * math.sqrt(0.5824 * (1 - 0.5824) / 273)
    assert f"{error:.2f}" in next(x for x in text.splitlines() if x.startswith("± of"))


def test_an_ablation_within_two_standard_errors_is_no_difference():
    text = tables.render("8", [], 1000)
    assert re.search(r"w/o selfaug −0.36 \(± 1.6\d\): no difference", text)
    assert re.search(r"w/o conv −4.01 \(± 1.6\d\): a difference", text)


def test_table_8_has_our_four_models_of_each_scale(tmp_path):
    rows = [
        *eight(model="metala:no_conv", tokens=9_000_000),
        *[r | {"value": 0.6} for r in eight(tokens=9_000_000)],
        row(model="hgrn", label="HGRN"),
    ]
    files = written("8", rows, tmp_path)
    mine = [x for x in files[".md"].splitlines() if ", ours |" in x]
    assert [x.split(" 0.84 M")[0].split(", ours")[0][2:] for x in mine] == list(ABLATIONS.values())
    assert "Ours (9 M tokens), AVG" in files[".md"]
    assert re.search(r"MetaLA w/o conv −10.00 \(± 1.00\): a difference", files[".md"])
    assert "HGRN" not in files[".md"]


def test_what_does_not_differ_from_the_best_is_bold(tmp_path):
    rows = [
        row(value=0.60),
        row(value=0.58, model="hgrn", label="HGRN"),
        row(value=0.5, model="gla", label="GLA"),
    ]
    text = written("5", rows, tmp_path)[".md"]
    assert text.count("**") == 4
    assert "**58.00**" in text
    assert "**" not in written("5", rows[:2], tmp_path)[".md"]


def test_less_is_better_for_a_perplexity(tmp_path):
    rows = [
        row("LAMB_ppl", 20.0, stderr=0.5),
        row("LAMB_ppl", 30.0, "hgrn", "HGRN", stderr=0.5),
    ]
    text = written("A5", rows, tmp_path)[".md"]
    assert "**20.00** ± 0.50" in text
    assert "**30.00**" not in text


def test_part_of_the_items_is_marked(tmp_path):
    text = written("5", [row(n=100)], tmp_path)[".md"]
    assert "60.00 ± 1.00 †" in text
    assert "PIQA 100 of 1,838" in text
    both = written("5", [row(n=100, value=0.9), row()], tmp_path)[".md"]
    assert "90.00" not in both
    assert "† not" not in both


def test_other_items_of_one_task_are_told():
    rows = [row(), row(model="hgrn", label="HGRN", items_sha256="others")]
    assert "not all asked the same items of PIQA" in tables.render("5", rows, 200)
    assert "not all asked" not in tables.render("5", rows[:1], 200)


def test_a_failure_is_a_dash_with_its_reason(tmp_path):
    failure = row(metric="", status="failed", error="no network; long", value=None, key="f")
    text = written("5", [failure], tmp_path)[".md"]
    assert entries(text, "MetaLA 0.84 M, ours")[6] == "– ¶"
    assert "PIQA no network." in text
    assert "¶" not in written("5", [failure, row()], tmp_path)[".md"]


def test_another_scale_than_the_papers_is_called_that():
    said = "cannot be compared with one another"
    assert said in tables.render("5", [row()], 400)
    alike = row(parameters=4e8, tokens=15_000_000_000)
    assert said not in tables.render("5", [alike], 400)


def test_models_of_one_name_and_scale_are_told_apart_by_their_runs(tmp_path):
    rows = [row(), row(weights_sha256="other", run="fedcba98")]
    text = written("5", rows, tmp_path)[".md"]
    assert "MetaLA, metala 0.84 M, ours" in text
    assert "MetaLA, fedcba 0.84 M, ours" in text


def test_cb_is_accuracy_with_f1_beside_it(tmp_path):
    rows = [row("CB", 0.5), row("CB F1", 0.3)]
    text = written("4", rows, tmp_path)[".md"]
    header, line = entries(text, "Model"), entries(text, "MetaLA 0.84 M, ours")
    place = header.index("CB")
    assert header[place + 1] == "CB F1"
    assert line[place : place + 2] == ["50.00 ± 1.00", "30.00 ± 1.00"]


def test_needles_are_fractions_in_rows_and_percent_in_the_table(tmp_path):
    text = written("A8", [row("2K", 0.25, n=35)], tmp_path)[".md"]
    assert entries(text, "MetaLA 0.84 M, ours")[3] == "25.00 ± 1.00"


# MetaLA's columns, and what the harness calls them.
METRICS = """LAMB_ppl lambada_openai perplexity, LAMB_acc lambada_openai acc, LOGIQA logiqa acc,
    WSC273 wsc273 acc, BOOLQ boolq acc, PIQA piqa acc, HS hellaswag acc_norm, WG winogrande acc,
    ARC-e arc_easy acc, ARC-c arc_challenge acc_norm, OBQA openbookqa acc_norm, WSC wsc acc,
    WIC wic acc, RTE sglue_rte acc, CB cb acc, MULTIRC multirc em, COPA copa acc"""


def test_columns_are_the_tasks_and_metrics_of_the_paper():
    expected = [tuple(each.split()) for each in METRICS.split(",")]
    assert [(title, COLUMNS[title].task, COLUMNS[title].metric) for title, *_ in expected] == (
        expected
    )
    printed = {header for shape in TABLES.values() for header in shape.columns}
    assert printed - {"ARC-E", "ARC-C", *harness_columns.NEEDLE} == {t for t, *_ in expected}


def test_every_column_names_one_metric_and_suites_are_what_tables_need():
    assert len({(c.task, c.metric) for c in harness_columns.ALL}) == len(harness_columns.ALL)
    assert len(SUITES["commonsense"]) == 10
    assert len(SUITES["superglue"]) == 7
    assert len(SUITES["paper"]) == 16
    for name in ("4", "5", "8", "A5", "A9"):
        assert set(harness_columns.tasks(name)) <= set(SUITES["paper"])


def test_tables_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = [*eight(), *eight(model="hgrn", label="HGRN"), *eight(model="metala:no_aug")]
    rows += [row(n=5), row(weights_sha256="other")]
    for name in ("5", "8"):
        for other in (rows[::-1], random.Random(1).sample(rows, len(rows))):
            assert written(name, rows, tmp_path) == written(name, other, tmp_path)
