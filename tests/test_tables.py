"""Tables: which run speaks for a cell, what is printed beside its number, and in which spelling."""

import csv
import io
import random
import re
import runpy
import statistics
from pathlib import Path

import pytest
import torch

from results import published, tables
from results.select import MEASURED, SETTING, VARIED, blocks
from runners.config import Mqar
from runners.run import empty_row

synthetic = runpy.run_path(str(Path(__file__).with_name("synthetic.py")))
row, failed, sweep = synthetic["row"], synthetic["failed"], synthetic["sweep"]
HARD = {"length": 512, "pairs": 80, "vocabulary": 8192, "preset": "paper-hard"}


def cell(rows, d_model=64):
    (block,) = blocks(rows)
    (line,) = block.lines
    return line.cells[d_model]


def chosen(rows):
    best = cell(rows).best
    assert best is not None
    return best.lr


def searched(*valids, **fields):
    """One run per validation accuracy, at the rates 1, 2, 4, ... thousandths."""
    return [row(lr=0.001 * 2**i, valid=valid, **fields) for i, valid in enumerate(valids)]


def written(rows, folder):
    return {path.name: path.read_text() for path in tables.write("mqar", rows, folder)}


def lines_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_rate_is_chosen_on_validation_and_the_number_comes_from_the_test_set():
    rows = [row(lr=0.1, valid=0.8, value=0.2), row(lr=0.2, valid=0.7, value=0.9)]
    assert chosen(rows) == 0.1
    assert cell(rows).mean == 0.2


def test_the_published_protocol_chooses_on_the_test_set_and_is_marked(tmp_path):
    rows = [
        row(lr=0.1, valid=0.8, value=0.2, selection="test"),
        row(lr=0.2, valid=0.7, value=0.9, selection="test"),
    ]
    assert cell(rows).mean == 0.9
    text = written(rows, tmp_path)["mqar.md"]
    assert "90.0** ‡†" in text
    assert "† Learning rate of 0.1, 0.2: the best on the test set itself" in text


def test_the_mean_over_seeds_decides_not_the_luckiest_seed():
    lucky = [row(lr=0.1, seed=s, valid=v) for s, v in enumerate((0.99, 0.2, 0.2))]
    steady = [row(lr=0.2, seed=s, valid=0.6) for s in range(3)]
    assert chosen(lucky + steady) == 0.2


def test_a_rate_at_which_a_seed_diverged_does_not_win():
    rows = [row(lr=0.1, seed=s, valid=0.6) for s in range(2)]
    rows += [row(lr=0.2, seed=0, valid=0.9), failed(row(lr=0.2, seed=1), "diverged")]
    assert chosen(rows) == 0.1
    assert cell(rows).failures == {"diverged": 1}


def test_an_exact_tie_goes_to_the_rate_further_inside_the_grid():
    assert chosen(searched(0.9, 0.9, 0.9, 0.1)) == 0.002
    assert chosen(searched(0.1, 0.5, 0.5, 0.1)) == 0.002


def test_a_metric_where_smaller_is_better_is_followed_downwards():
    rows = searched(0.9, 0.3, 0.5, higher_is_better=False)
    assert chosen(rows) == 0.002
    rows = [row(model=m, value=v, higher_is_better=False) for m, v in (("gla", 0.1), ("hgrn", 0.2))]
    assert blocks(rows)[0].best(64) == {"GLA"} or blocks(rows)[0].best(64) == {"gla"}


@pytest.mark.parametrize(
    ("valids", "edge"),
    [
        ((0.9, 0.5, 0.1), "lowest"),
        ((0.1, 0.5, 0.9), "highest"),
        ((0.1, 0.9, 0.5), ""),
        ((0.5,), "only"),
    ],
)
def test_a_best_rate_at_the_edge_is_flagged(valids, edge):
    rows = searched(*valids)
    assert cell(rows).edge == edge
    assert ("‡" in tables.render("mqar", rows)) == (edge in ("lowest", "highest"))


def test_a_rate_that_only_failed_still_widens_the_grid():
    rows = searched(0.5, 0.9)
    rows.append(failed(row(lr=0.1), "diverged"))
    assert cell(rows).edge == ""


def test_mean_and_sample_deviation_are_over_the_seeds_of_the_chosen_rate(tmp_path):
    values = [0.9, 0.95, 0.985]
    rows = [row(seed=seed, value=value) for seed, value in enumerate(values)]
    rows += [row(seed=seed, lr=0.5, valid=0.1, value=0.0) for seed in range(3)]
    files = written(rows, tmp_path)
    assert "94.5** ± 4.3" in files["mqar.md"]
    (line,) = lines_of(files["mqar.csv"])
    assert float(line["mean"]) == statistics.fmean(values)
    assert float(line["std"]) == statistics.stdev(values)
    assert line["keys"].split() == sorted(r["key"] for r in rows[:3])


def test_one_seed_is_said_and_has_no_deviation():
    text = tables.render("mqar", sweep(seeds=1))
    assert "n = 1 seed" in text
    assert "±" not in text


def test_data_seeds_count_as_seeds():
    rows = [row(data_seed=0, key="a", value=0.8), row(data_seed=1, key="b", value=0.9)]
    assert len(cell(rows).runs) == 2


def test_deleting_a_run_changes_the_number_of_seeds_and_is_flagged():
    rows = [row(model=m, seed=s) for m in ("gla:mqar", "based") for s in range(3)]
    assert "§" not in tables.render("mqar", rows)
    text = tables.render("mqar", rows[1:], 200)
    assert "n = 2 to 3 seeds" in text
    assert "§ fewer runs than the comparison plans: GLA d64 2 of 3 seeds." in text


def test_a_smaller_search_than_the_others_had_is_flagged():
    rows = sweep(models=("based", "rwkv4"), widths=(64,))
    rows.remove(rows[0])
    assert "§ fewer runs than the comparison plans: Based d64 2 of 3 rates." in tables.render(
        "mqar", rows, 200
    )


def test_a_cell_that_was_never_run_is_a_dash():
    rows = [row(model="based", d_model=d) for d in (32, 64)] + [row(model="rwkv4", d_model=32)]
    text = tables.render("mqar", rows)
    assert re.search(r"^RWKV-4 +90\.0\S* +– ", text, re.M)
    assert "– not run: RWKV-4 d64." in text


def test_a_cell_with_failures_alone_names_the_failure():
    rows = [row(model="based"), failed(row(model="rwkv4"), "oom")]
    text = tables.render("mqar", rows)
    assert re.search(r"^RWKV-4 +oom¶ +0/1$", text, re.M)
    assert "RWKV-4 d64 1 out of memory" in text


def test_a_model_that_never_left_the_plateau_is_marked_and_not_ranked():
    rows = [row(model="based", value=0.3), row(model="rwkv4", value=0.31, left_plateau=False)]
    assert blocks(rows)[0].best(64) == {"Based"}
    text = tables.render("mqar", rows)
    assert "31.0○" in text
    assert "undetermined at this budget" in text


def test_leaving_the_plateau_at_any_rate_counts():
    rows = [row(lr=0.1, valid=0.3, left_plateau=False), row(lr=0.2, valid=0.2, left_plateau=True)]
    assert not cell(rows).undetermined


def test_runs_that_stopped_at_the_threshold_are_not_ranked_among_themselves():
    rows = [
        row(model=m, value=v, stop="threshold") for m, v in (("based", 0.991), ("gla:mqar", 0.999))
    ]
    rows.append(row(model="rwkv4", value=0.95))
    assert blocks(rows)[0].best(64) == {"Based", "GLA"}


def test_equal_printed_numbers_are_both_bold():
    rows = [row(model="based", value=0.9001), row(model="rwkv4", value=0.9004)]
    assert tables.render("mqar", rows).count("90.0*") == 2


def test_budgets_are_compared_apart():
    rows = sweep(models=("based",), updates=700) + sweep(models=("based",), updates=7000)
    assert [block.setting["updates"] for block in blocks(rows)] == [700, 7000]
    assert "updates 7,000" in tables.render("mqar", rows)


def test_what_a_model_has_and_the_others_lack_is_said():
    rows = [row(model=m) for m in ("based", "rwkv4", "hgrn")]
    rows.append(row(model="attention", positions="learned"))
    assert "Attention has positions learned." in tables.render("mqar", rows)


def test_lines_that_share_a_label_are_told_apart():
    rows = [row(model=f"metala:mqar+{v}", label="MetaLA") for v in ("conv2", "conv2_silu")]
    rows += [row(model="based", positions=p, key=p) for p in ("none", "rope")]
    names = [line.name for line in blocks(rows)[0].lines]
    assert names == [
        *("Based, positions none", "Based, positions rope"),
        *("MetaLA, conv2", "MetaLA, conv2_silu"),
    ]


@pytest.mark.parametrize(
    ("conv", "words"),
    [
        ("k2", "the same short convolution k2 (kernel 2, no activation) in every model"),
        ("k4-silu", "k4-silu (kernel 4, SiLU)"),
        ("own", "each model with its own short convolution or token shift"),
        ("none", "no short convolution"),
    ],
)
def test_the_caption_names_the_short_convolution(conv, words):
    assert words in tables.render("mqar", [row(conv=conv)], 1000)


def test_the_caption_says_chance_budget_runs_and_commands():
    text = tables.render("mqar", sweep(), 1000, "lazoo table mqar --out here")
    assert "Chance 1/4 = 25%." in text
    assert "Budget 700 updates of batch 32; a run ends above 99%." in text
    assert "72 runs." in text
    assert "`lazoo mqar --preset quick` on cpu x86_64 (torch 2.13.0+cpu" in text
    assert "table by `lazoo table mqar --out here`" in text


def test_state_sizes_are_the_measured_ones_and_a_cache_is_marked():
    text = tables.render("mqar", [row(model="attention"), row(model="hgrn", state_bytes=1536)])
    assert re.search(r"^HGRN +1.5 KiB$", text, re.M)
    assert re.search(r"^Attention +32 KiB↗$", text, re.M)


def test_the_papers_values_stand_beside_ours(tmp_path):
    rows = [
        row(model=m, d_model=128, value=v, **HARD)
        for m, v in (("metala:mqar", 0.884), ("attention", 0.97))
    ]
    rows.append(row(model="attention", d_model=64, value=0.995, **HARD))
    files = written(rows, tmp_path)
    text = files["mqar.md"]
    assert "| MetaLA | – | 28.5 | – | 88.4 | 90.4 | −2.0 | 1 |" in text
    assert r"| Attention | **99.5** | \>99.0 | met | **97.0** | \>99.0 | \<−2.0 | 2 |" in text
    assert "| Mamba | – | 0.0 | – | – | 0.0 | – | – |" in text
    assert "$>$99.0" in files["mqar.tex"]
    papers = {(r["model"], r["d_model"]): r["paper_percent"] for r in lines_of(files["mqar.csv"])}
    assert papers["attention", "64"] == ">99.0"


def test_the_paper_is_not_set_beside_another_setting():
    rows = [row(model="metala", **{**HARD, "vocabulary": 1024})]
    assert "paper" not in tables.render("mqar", rows).partition("\n---")[0]


def test_without_rows_the_papers_values_stand_alone(tmp_path):
    text = tables.render("mqar", [])
    assert re.search(r"^MetaLA +– +28.5 +– +– +90.4 +– +–$", text, re.M)
    assert "lazoo mqar --preset paper-hard" in text
    assert {r["mean"] for r in lines_of(written([], tmp_path)["mqar.csv"])} == {""}


@pytest.mark.parametrize("path", sorted(published.FOLDER.glob("*.csv")), ids=lambda p: p.stem)
def test_every_published_table_has_its_place_and_columns_in_the_readme(path):
    text = (published.FOLDER / "README.md").read_text()
    shared, _, lines = text.partition("| file |")
    (line,) = [line for line in lines.splitlines() if line.startswith(f"| `{path.name}` |")]
    if path.stem.startswith("table"):
        assert f"| Table {path.stem.partition('_')[0].removeprefix('table')} |" in line
    columns = set(published.read(path.stem)[0]) - {"model"}
    assert columns <= set(re.findall(r"`([\w-]+)`", shared + line))


def test_tables_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = sweep(seeds=2) + sweep(models=("based",), widths=(64,), length=64)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert written(rows, tmp_path / "a") == written(shuffled, tmp_path / "b")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_terminal_lines_fit_and_lose_no_number(width):
    rows = sweep(widths=(16, 32, 64, 128, 256, 512), seeds=2)
    text = tables.render("mqar", rows, width)
    assert max(map(len, text.splitlines())) <= width
    assert all(re.search(rf"\bd{d}\b", text) for d in (16, 32, 64, 128, 256, 512))


def test_markdown_lines_have_equally_many_columns(tmp_path):
    text = written([row(model="mine", label="a|b_c"), row(model="based")], tmp_path)["mqar.md"]
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1


def test_latex_is_balanced_and_escaped(tmp_path):
    rows = [*sweep(seeds=2), row(model="my_model", label="50% #1 & {more}_~^\\")]
    text = written(rows, tmp_path)["mqar.tex"]
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"(?<!\\)#|\$\$", text)
    for tabular in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.S):
        ends = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in ends} == {len(tabular[0])}


def test_csv_has_every_cell_with_the_runs_behind_it(tmp_path):
    rows = sweep(seeds=2)
    files = written(rows, tmp_path)
    cells, rates = lines_of(files["mqar.csv"]), lines_of(files["mqar-rates.csv"])
    assert (len(cells), len(rates)) == (8 * 3, 8 * 3 * 3)
    by_key = {r["key"]: r for r in rows}
    for line in cells:
        values = [by_key[key]["value"] for key in line["keys"].split()]
        assert float(line["mean"]) == statistics.fmean(values)
        assert (line["conv"], line["positions"], line["chance"]) == ("k2", "none", "0.25")
    assert sum(line["chosen"] == "True" for line in rates) == len(cells)


def test_an_unknown_table_suggests_a_known_one():
    with pytest.raises(ValueError, match=r"Did you mean mqar\?"):
        tables.render("mqarr", [])


def test_every_column_of_a_row_is_either_configuration_or_measured():
    made = empty_row(Mqar(model="metala"), "", torch.device("cpu"))
    config = set(Mqar.model_fields) | {"task_version", "plugin_sha256"}
    assert set(made) - config <= MEASURED
    assert not config & MEASURED
    assert config >= set(SETTING) | VARIED
