"""Table 7: what counts as an LRA score, what stands beside the paper, and what is said below."""

import csv
import io
import random
import re
import statistics

import pytest
import torch

from results import published, tables
from results.lra_blocks import MEASURED, VARIED, groups
from results.published import LRA_TASKS
from runners.lra_config import Lra
from runners.lra_run import empty_row
from tests.lra_synthetic import MANY, MODELS, QUICK, SIX, failed, row, sweep


def written(rows, folder):
    return {path.name: path.read_text() for path in tables.write("7", rows, folder)}


def lines_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def entries(text, model, title=""):
    """The entries of a model's line in the first Markdown table whose title starts so."""
    table = next(part for part in text.split("### ")[1:] if part.startswith(title))
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {model} |")]
    return [entry.strip() for entry in line.strip("|").split("|")]


def chosen(rows):
    """Of the only cell: the rate that speaks for it, and its number."""
    cell = only(rows).lines[0].cells["listops"]
    assert cell.best is not None
    return cell.best.lr, cell.mean


def only(rows):
    (group,) = groups(rows)
    return group


def test_ours_the_papers_value_and_the_difference_stand_side_by_side(tmp_path):
    files = written([row(value=0.5812, dataset="listops")], tmp_path)
    assert set(files) == {"table7.md", "table7.tex", "table7.csv", "table7-rates.csv"}
    metala = entries(files["table7.md"], "MetaLA")
    assert metala[:7] == ["MetaLA", "**58.1**", "59.34", "−1.2", "–", "89.27", "–"]
    assert entries(files["table7.md"], "HGRN")[-4:] == ["–", "86.91", "–", "–"]


def test_the_mean_of_six_needs_all_six(tmp_path):
    six = [row(dataset=task, value=0.1 * i) for i, task in enumerate(SIX, 1)]
    assert entries(written(six, tmp_path)["table7.md"], "MetaLA")[-4:-1] == [
        *("**35.0**", "86.67", "−51.7"),
    ]
    for without in range(6):
        fewer = six[:without] + six[without + 1 :]
        assert entries(written(fewer, tmp_path)["table7.md"], "MetaLA")[-4:-1] == [
            "–",
            "86.67",
            "–",
        ]
    fewer = [*six[:5], failed(six[5], "oom")]
    assert entries(written(fewer, tmp_path)["table7.md"], "MetaLA")[-4] == "–"


def test_a_mean_that_the_paper_has_over_five_has_no_difference(tmp_path):
    rows = [row(model="attention", dataset=task, value=0.5) for task in SIX]
    attention = entries(written(rows, tmp_path)["table7.md"], "Attention")
    assert attention[-7:-1] == ["**50.0**", "–", "–", "**50.0**", "47.81", "–"]
    assert "counts the missing Path-X as 0" in tables.render("7", rows)


@pytest.mark.parametrize("kind", ["variant", "short", "stand-in", "LRA", "", None])
@pytest.mark.parametrize("task", SIX)
def test_no_other_data_ever_print_as_an_lra_score(kind, task, tmp_path):
    fake = {"value": 0.7777, "dataset_kind": kind, "preset": "paper"}
    rows = [row(dataset=task, **fake), *(row(dataset=other) for other in SIX if other != task)]
    files = written(rows, tmp_path)
    parts = [part for part in files["table7.md"].split("### ") if "77.8" in part]
    assert len(parts) == 1
    assert parts[0].startswith("Not LRA scores: ")
    assert "| paper |" not in parts[0]
    assert entries(files["table7.md"], "MetaLA")[-4] == "–"
    (line,) = [r for r in lines_of(files["table7.csv"]) if r["value"] == "0.7777"]
    assert (line["lra_score"], line["paper_percent"], line["difference_points"]) == (
        "False",
        "",
        "",
    )


def test_a_stand_in_under_its_own_name_has_a_table_of_its_own():
    rows = [row(dataset="image-fashion", preset="paper"), row(dataset="image", preset="paper")]
    assert [group.scores for group in groups(rows)] == [True, False]
    text = tables.render("7", rows, 200)
    assert "Not LRA scores: stand-in data, preset paper" in text
    assert "image-fashion stands in for Image. No published number is comparable." in text
    assert "image-fashion" not in text.partition("Not LRA scores")[0]


def test_other_data_have_lines_for_chance_majority_and_root_operator():
    text = tables.render("7", sweep(), 200)
    assert re.search(r"^Chance +10 +50 +50$", text, re.M)
    assert re.search(r"^Majority class +21 +50 +50.8$", text, re.M)
    assert re.search(r"^Root operator +45.2 +– +–$", text, re.M)
    assert "listops-short is a short version of ListOps" in text
    assert "paper" not in text.partition("\n---")[0]


def test_baselines_stand_below_listops(tmp_path):
    text = written([row()], tmp_path)["table7.md"]
    assert entries(text, "Root operator")[1:4] == ["36.9", "", ""]
    assert entries(text, "Majority class")[1] == "17.4"
    text = written([row(), row(model="hgrn", baselines={"majority": 0.18})], tmp_path)["table7.md"]
    assert entries(text, "Majority class")[1] == "17.4 / 18"


def test_every_published_line_is_there_and_missing_numbers_are_dashes(tmp_path):
    text = written([row()], tmp_path)["table7.md"]
    for line in published.read("table7_lra"):
        name = {"Transformer": "Attention"}.get(line["model"], line["model"])
        found = entries(text, name)
        assert found[2:19:3] == [line[task] or "–" for task in LRA_TASKS]
        assert found[20] == line["AVG"]
    assert entries(text, "S4")[1:20:3] == ["–"] * 7


def test_models_of_ours_that_the_paper_lacks_have_a_line_without_its_number(tmp_path):
    text = written([row(model="gated_delta_net"), row(model="dss:softmax")], tmp_path)["table7.md"]
    assert entries(text, "Gated DeltaNet")[1:4] == ["**60.0**", "–", "–"]
    assert entries(text, "DSS (softmax)")[1:4] == ["**60.0**", "60.60", "−0.6"]
    assert "| DSS-softmax |" not in text


def test_a_variant_of_a_model_is_not_set_beside_the_papers_number(tmp_path):
    rows = [row(model="metala:no_aug", label="MetaLA"), row(model="dss", label="DSS")]
    text = written(rows, tmp_path)["table7.csv"]
    ours = {r["model"]: r["paper_percent"] for r in lines_of(text) if r["value"]}
    assert ours == {"metala:no_aug": "", "dss": ""}


def test_without_rows_the_papers_values_stand_alone(tmp_path):
    text = tables.render("7", [])
    assert re.search(r"^MetaLA +– +59.34 +– +– +89.27 ", text, re.M)
    assert "`lazoo lra --preset paper`" in text
    assert {r["value"] for r in lines_of(written([], tmp_path)["table7.csv"])} == {""}


def test_the_papers_values_stand_behind_other_data_but_not_behind_scores():
    alone = "No runs of ours yet"
    short = row(dataset="listops-short", dataset_kind="short")
    assert tables.render("7", [short]).index("Not LRA scores") < tables.render("7", [short]).index(
        alone
    )
    assert alone not in tables.render("7", [short, row(dataset="listops")])


def test_the_rate_is_chosen_on_validation_and_the_number_comes_from_the_test_set():
    rows = [row(lr=0.1, valid=0.8, value=0.2), row(lr=0.2, valid=0.7, value=0.9)]
    assert chosen(rows) == (0.1, 0.2)
    lucky = [row(lr=0.1, seed=s, valid=v) for s, v in enumerate((0.99, 0.2))]
    steady = [row(lr=0.2, seed=s, valid=0.6) for s in range(2)]
    assert chosen(lucky + steady)[0] == 0.2


def test_what_was_selected_on_the_test_set_is_marked(tmp_path):
    rows = [row(dataset=task, selection="test", value=0.5) for task in SIX]
    text = written([*rows, row(model="hgrn", dataset="text")], tmp_path)["table7.md"]
    metala = entries(text, "MetaLA")
    assert metala[1] == "**50.0** †"
    assert metala[19] == "**50.0** †"
    assert entries(text, "HGRN")[4] == "**60.0**"
    assert "† the test set stands in for the validation set" in text
    assert "MetaLA ListOps Text Retrieval Image Pathfinder Path-X." in text


def test_text_that_holds_rows_back_for_validation_is_named():
    said = "Text has no validation set"
    assert said in tables.render("7", [row(dataset="text")])
    assert said not in tables.render("7", [row(dataset="text", selection="test")])
    assert said not in tables.render("7", [row(dataset="listops")])


def test_seeds_are_averaged_and_counted(tmp_path):
    values = [0.5, 0.52, 0.57]
    files = written([row(seed=s, value=v) for s, v in enumerate(values)], tmp_path)
    assert "**53.0** ± 3.6" in files["table7.md"]
    assert "n = 3 seeds" in files["table7.md"]
    (line,) = [r for r in lines_of(files["table7.csv"]) if r["value"]]
    assert float(line["value"]) == statistics.fmean(values)
    assert float(line["std"]) == statistics.stdev(values)
    assert (line["n"], line["lr"], line["updates"]) == ("3", "0.0005", "50000")
    assert (line["kind"], line["data_source"]) == ("lra", "generated")


def test_edges_failures_and_missing_seeds_have_their_signs():
    rows = [row(lr=lr, valid=v, seed=s) for lr, v in ((0.1, 0.9), (0.2, 0.5)) for s in (0, 1)]
    rows += [row(model="hgrn", lr=0.1), failed(row(model="mamba"), "oom")]
    text = tables.render("7", rows, 300)
    assert "‡ the best learning rate is at the edge of the grid" in text
    assert "MetaLA ListOps lowest" in text
    assert "HGRN ListOps 1 of 2 seeds, 1 of 2 rates" in text
    assert re.search(r"^Mamba +oom¶ ", text, re.M)
    assert "Mamba ListOps 1 out of memory" in text


def test_models_with_grids_of_their_own_lack_no_rate():
    rows = [row(model="hgrn", lr=0.1), row(model="metala", lr=0.2)]
    assert "§" not in tables.render("7", rows)


def test_settings_that_differ_from_the_published_ones_are_named():
    assert "Table A4" not in tables.render("7", [row()])
    odd = {"updates": 100, "d_channel": 0, "bidirectional": True, "sublayer_dropout": 0.2}
    text = tables.render("7", [row(lr=0.001, depth=3, **odd)], 2000)
    (told,) = re.findall(r"MetaLA, where ours is not .*: (.*)\.", text)
    assert told == (
        "ListOps depth 3 (6), d_glu 0 (64), dropout 0.2 (0), learning rate 0.001 (5e-4),"
        " updates 100 (50,000), bidirectional yes (no)"
    )


@pytest.mark.parametrize("field", set(published.LRA_FIELDS.values()) - {"bidirectional"})
def test_each_published_setting_is_compared(field):
    rows = [row(dataset="text") | {field: 7}]
    assert re.search(r"in brackets\): Text [\w -]+ 7 \(", tables.render("7", rows, 2000))


def test_the_compared_settings_are_all_of_the_papers_but_the_width_of_keys():
    columns = set(published.read("tableA4_lra_hyperparameters")[0])
    assert set(published.LRA_FIELDS) == columns - {"task", "d_key"}


def test_other_models_numbers_are_said_to_come_from_their_own_settings():
    text = tables.render("7", [row(), row(model="hgrn"), row(model="based")], 2000)
    assert "HGRN: trained under MetaLA's settings (Table A4); each published" in text
    s4 = tables.render("7", [row(model="s5", preset="s4")], 2000)
    assert "S5: trained under the settings of the preset `s4`; each published number" in s4


def test_hgrns_image_number_is_said_to_be_of_another_task():
    assert "HGRN's published Image number is of RGB images" in tables.render("7", [row()], 2000)


def test_each_preset_has_a_table_of_its_own_and_its_place():
    presets = ["", "mine", "lra-original", "quick", "s4", "paper"]
    rows = [row(preset=p, depth=i + 2) for i, p in enumerate(presets)]
    ordered = ["paper", "s4", "lra-original", "quick", "mine", ""]
    assert [group.preset for group in groups(rows)] == ordered
    assert "runs without a preset" in tables.render("7", rows)


def test_models_and_seeds_that_a_preset_lacks_stand_beside_it():
    rows = [row(), row(model="gla", preset=""), row(seed=1, preset="")]
    group = only(rows)
    assert (group.preset, len(group.rows)) == ("paper", 3)
    assert "`lazoo lra` and `lazoo lra --preset paper`" in tables.render("7", rows, 2000)
    assert len(groups([*rows, row(preset="", updates=9)])) == 2


def test_settings_of_a_model_on_one_data_set_become_lines_named_by_what_differs():
    rows = [row(depth=d, key=str(d), preset="") for d in (2, 4)]
    rows += [row(dataset="text", depth=2, preset=""), row(model="hgrn", depth=2, preset="")]
    lines = only(rows).lines
    assert [line.name for line in lines] == ["MetaLA, depth 2", "MetaLA, depth 4", "HGRN"]
    assert set(lines[0].cells) == {"listops", "text"}


def test_settings_that_differ_between_data_sets_alone_are_one_line():
    rows = sweep(MODELS, SIX)
    assert [line.name for line in only(rows).lines] == ["Attention", "MetaLA", "HGRN", "Mamba"]
    assert all(len(line.cells) == 6 for line in only(rows).lines)


def test_what_a_model_has_and_the_others_lack_is_said_with_its_data_sets():
    rows = sweep(MODELS, ("image", "pathfinder", "pathx"))
    rows = [r | {"positions": "sinusoidal"} if r["model"] == "attention" else r for r in rows]
    said = "Attention has positions sinusoidal (Pathfinder, Path-X)."
    assert said in tables.render("7", rows, 2000)
    assert len(only(rows).lines) == len(MODELS)


def test_sources_of_the_data_are_named_and_different_data_in_a_column_too():
    text = tables.render("7", [row(dataset=task) for task in SIX], 2000)
    assert "Pathfinder and Path-X generated, seed_mode reference, seed 0" in text
    assert "Retrieval folder" in text
    other = row(model="hgrn", data_source="folder", data_sha256={"test": "f" * 64})
    assert "ListOps is not the same for all: folder (sha256 ffffffff) for HGRN" in tables.render(
        "7", [row(), other], 2000
    )


def test_the_best_of_ours_is_bold(tmp_path):
    rows = [row(model=m, value=v) for m, v in (("metala", 0.5), ("hgrn", 0.5), ("mamba", 0.4))]
    assert written(rows, tmp_path)["table7.md"].count("**50.0**") == 2
    assert "**40.0**" not in written(rows, tmp_path)["table7.md"]


def test_tables_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = sweep(seeds=2) + sweep(("metala", "hgrn"), SIX) + [row(preset="", depth=9)]
    rows += [row(model="gla", preset=""), row(preset="", depth=8, selection="test")]
    rows += [row(model=m, preset=p, depth=7) for m, p in zip(MODELS, ("s4", "quick", "s4", ""))]
    for other in (rows[::-1], random.Random(1).sample(rows, len(rows))):
        assert written(rows, tmp_path) == written(other, tmp_path)


@pytest.mark.parametrize("width", [80, 110, 300])
def test_a_task_the_papers_value_and_the_difference_stay_side_by_side(width):
    text = tables.render("7", sweep(tuple(MANY), SIX, seeds=2), width)
    assert max(map(len, text.splitlines())) <= width
    headers = re.findall(r"^Model +(.*)$", text, re.M)
    assert " ".join(" ".join(headers).split()).count("paper diff.") == 7
    assert all(re.fullmatch(r"(\S+ +paper +diff\.? *)+(runs)?", header) for header in headers)


def test_latex_stacks_the_parts_of_a_wide_table(tmp_path):
    text = written(sweep(MODELS, SIX, seeds=2) + sweep(), tmp_path)["table7.tex"]
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for columns, body in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.S):
        assert len(columns) <= 10
        ends = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in ends} == {len(columns)}


def test_the_settings_of_each_data_set_are_in_the_files_alone(tmp_path):
    rows = [*sweep(MODELS, SIX), row(model="gla", updates=9)]
    updates = entries(written(rows, tmp_path)["table7.md"], "updates", "Settings, ")
    assert updates[1:3] == ["9 to 50,000", "50,000"]
    pixels = written([r | {"inputs": "tokens"} for r in rows], tmp_path)["table7.md"]
    assert entries(pixels, "pixels as", "Settings, ")[1:] == ["–"] * 3 + ["tokens"] * 3
    assert "Settings, " not in tables.render("7", rows)


def test_csv_has_one_line_for_each_model_and_data_set(tmp_path):
    files = written(sweep(seeds=2, rates=(0.1, 0.2)), tmp_path)
    ours = [r for r in lines_of(files["table7.csv"]) if r["value"]]
    assert {(r["model"], r["dataset"]) for r in ours} == {(m, d) for m in MODELS for d in QUICK}
    assert len(ours) == len(MODELS) * len(QUICK)
    rates = lines_of(files["table7-rates.csv"])
    assert len(rates) == 2 * len(ours)
    assert sum(r["chosen"] == "True" for r in rates) == len(ours)
    published_alone = [r for r in lines_of(files["table7.csv"]) if not r["value"]]
    assert len(published_alone) == 11 * 6 - 1


def test_every_column_of_a_row_is_measured_varied_or_a_setting():
    config = Lra(model="metala", dataset="listops", updates=100, batch=4)
    made = empty_row(config, "", torch.device("cpu"))
    assert set(made) - set(config.model_dump()) - MEASURED <= {"task_version", "plugin_sha256"}
    assert set(config.model_dump()) & MEASURED == set()
    assert set(config.model_dump()) > VARIED
