"""The tables of language models: what is compared, what is best, and what the seeds tell apart."""

import csv
import io
import random
import re
import statistics

import pytest

from results import lm_cost, lm_ranks, lm_words, tables
from results.lm_blocks import OWN, SETTING, VARIED, blocks, only
from results.styles import STYLES
from runners.lm_config import Lm
from tests.lm_synthetic import MODELS, failed, row, run, sweep

FILES = {"lm.md", "lm.tex", "lm.csv", "lm-rates.csv", "lm-positions.csv", "lm-curves.csv"}


def written(rows, folder):
    return {path.name: path.read_text() for path in tables.write("lm", rows, folder)}


def lines_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def entries(text, model, title="Language models"):
    """The entries of a model's line, by header, in the Markdown table whose title starts so."""
    table = next(part for part in text.split("### ")[1:] if part.startswith(title))
    found = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    parted = [[entry.strip() for entry in line] for line in found]
    (line,) = [line for line in parted if line[0] == model]
    return dict(zip(parted[0], line))


def only_block(rows):
    (block,) = blocks(rows)
    return block


def said(rows):
    """All text of the terminal's tables, without line breaks."""
    return " ".join(tables.render("lm", rows, 3000).split())


def seeds(model, values, **fields):
    return [row(model, seed=s, value=v, valid=v, **fields) for s, v in enumerate(values)]


def test_every_field_of_a_run_has_its_place_and_no_measured_column_has():
    placed = [*SETTING, *OWN, *VARIED]
    assert len(placed) == len(set(placed))
    assert set(Lm.model_fields) | {"task_version", "plugin_sha256"} == set(placed)


def test_lower_is_better_for_the_bold_number(tmp_path):
    text = written([row("gla", value=2.5), row("metala", value=2.4)], tmp_path)["lm.md"]
    assert entries(text, "MetaLA")["bits per byte"] == "**2.400**"
    assert entries(text, "GLA")["bits per byte"] == "2.500"
    assert "lower is better" in text


def test_one_model_alone_is_not_the_best_of_anything(tmp_path):
    text = written([run("gla", 0.003, 0)], tmp_path)["lm.md"]
    assert not any("**" in text for text in entries(text, "GLA").values())
    assert entries(text, "GLA", "Parameters")["off"] == "–"


def test_the_rate_with_the_lowest_validation_is_chosen_whatever_the_test_says():
    rows = [row(lr=0.1, valid=2.2, value=2.9), row(lr=0.2, valid=2.3, value=2.1)]
    cell = only(only_block(rows).lines[0])
    assert cell.best is not None
    assert (cell.best.lr, cell.mean) == (0.1, 2.9)
    lost = [{k: v for k, v in r.items() if k != "higher_is_better"} for r in rows]
    assert only(only_block(lost).lines[0]).mean == 2.9


def test_a_rate_at_which_a_seed_diverged_does_not_win():
    rows = [row(lr=0.1, seed=0, valid=2.0), failed(row(lr=0.1, seed=1))]
    rows += [row(lr=0.2, seed=s, valid=2.4) for s in (0, 1)]
    best = only(only_block(rows).lines[0]).best
    assert best is not None
    assert best.lr == 0.2
    assert "MetaLA 1 diverged" in said(rows)


def test_seeds_are_averaged_and_counted(tmp_path):
    values = [2.40, 2.42, 2.47]
    files = written(seeds("metala", values), tmp_path)
    assert set(files) == FILES
    assert entries(files["lm.md"], "MetaLA")["bits per byte"] == "2.430 ± 0.036"
    assert "n = 3 seeds" in files["lm.md"]
    (line,) = lines_of(files["lm.csv"])
    assert float(line["value"]) == statistics.fmean(values)
    assert float(line["std"]) == statistics.stdev(values)
    assert (line["n"], line["lr"], line["corpus"]) == ("3", "0.003", "classics")


def test_models_within_two_pooled_deviations_of_the_best_are_marked(tmp_path):
    rows = seeds("metala", [2.40, 2.42]) + seeds("gla", [2.41, 2.44]) + seeds("hgrn", [2.6, 2.62])
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA")["bits per byte"] == "2.425 ± 0.021 ≈"
    assert entries(text, "HGRN")["bits per byte"] == "2.610 ± 0.014"
    assert "≈ within 2 pooled standard deviations of the best: GLA." in text
    assert lm_ranks.pooled([1.0, 3.0], [5.0, 5.0]) == pytest.approx(1.0)
    assert lm_ranks.pooled([1.0], [5.0, 6.0]) is None


def test_with_one_seed_nothing_is_told_apart():
    text = said([row("gla", value=2.5), row("metala", value=2.4), row("hgrn", value=2.6)])
    assert "One seed: which models differ from the best is not known." in text
    assert "untested for lack of a second common seed: MetaLA, GLA, HGRN." in text
    assert "≈" not in text
    some = seeds("gla", [2.5, 2.51]) + seeds("metala", [2.4, 2.41]) + [row("hgrn", value=2.6)]
    assert "For lack of a second seed not tested against the best: HGRN." in said(some)
    assert "MetaLA < GLA ? HGRN." in said(some)


def test_neighbours_are_compared_pair_by_pair_of_seeds():
    # Alone, the seeds overlap; on each seed the second is worse by as much.
    rows = seeds("metala", [2.4, 2.6, 2.8]) + seeds("gla", [2.45, 2.66, 2.84])
    (pair,) = lm_ranks.pairs(only_block(rows))
    assert (pair.first.model, pair.seeds, pair.verdict) == ("metala", 3, "<")
    assert pair.difference == pytest.approx(0.05)
    assert pair.stderr == pytest.approx(0.01 / 3**0.5)
    crossed = seeds("metala", [2.4, 2.6, 2.8]) + seeds("gla", [2.85, 2.65, 2.42])
    assert lm_ranks.pairs(only_block(crossed))[0].verdict == "≈"
    assert "MetaLA ≈ GLA. ≈ the difference is not above 2 of its standard errors." in said(crossed)


def test_only_common_seeds_are_compared():
    rows = seeds("metala", [2.4, 2.5]) + [row("gla", seed=s, value=2.6) for s in (1, 2)]
    (pair,) = lm_ranks.pairs(only_block(rows))
    assert (pair.seeds, pair.verdict) == (1, "?")
    assert pair.difference == pytest.approx(0.1)


def test_a_short_convolution_for_all_makes_a_line_of_its_own(tmp_path):
    rows = sweep(("linformer", "metala")) + sweep(("linformer",), conv="k4-silu")
    assert [line.name for line in only_block(rows).lines] == [
        *("LinFormer", "LinFormer, conv k4-silu", "MetaLA"),
    ]
    alone = sweep(("linformer", "metala"), conv="k4-silu")
    assert [line.name for line in only_block(alone).lines] == ["LinFormer", "MetaLA"]
    assert "the same short convolution k4-silu" in said(alone)


def test_a_models_own_convolution_is_the_usual_one_however_rare():
    rows = sweep(("linformer", "metala"), seeds=2, conv="k4-silu") + sweep(("linformer",))
    assert [line.name for line in only_block(rows).lines] == [
        *("LinFormer", "LinFormer, conv k4-silu", "MetaLA, conv k4-silu"),
    ]


def test_other_corpora_budgets_and_shapes_are_other_comparisons():
    odd = {"corpus": "pysource", "tokeniser": "bpe-4096", "updates": 9, "seq_len": 64, "depth": 2}
    for name, value in odd.items():
        rows = [row(), row("gla", **{name: value})]
        assert len(blocks(rows)) == 2, name
        titles = {lm_words.title(block, blocks(rows)) for block in blocks(rows)}
        assert len(titles) == 2
    assert len(blocks([row(), row("gla", positions="rope", time="later", epochs=3)])) == 1


def test_what_is_unusual_about_a_model_is_noted():
    rows = sweep() + sweep(("metala:no_aug",), label="MetaLA")
    assert "Attention: positions rope." in said(rows)
    assert "MetaLA, no_aug is metala:no_aug." in said(rows)


def test_runs_without_result_show_why(tmp_path):
    rows = [row("gla"), failed(row("mamba")), failed(row("hgrn"), "oom")]
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "Mamba")["bits per byte"] == "diverged ¶"
    assert entries(text, "HGRN")["bits per byte"] == "oom ¶"
    assert entries(text, "HGRN")["runs"] == "0/1"
    assert "Mamba 1 diverged; HGRN 1 out of memory" not in text  # lines are in the zoo's order
    assert "HGRN 1 out of memory; Mamba 1 diverged" in text


def test_the_edge_of_the_grid_and_missing_runs_are_marked(tmp_path):
    rows = sweep(("gla",), rates=(0.003, 0.006)) + sweep(("hgrn",), rates=(0.003,))
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA")["lr"] == "0.003 ‡"
    assert "HGRN 1 of 2 rates" in text
    rates = entries(text, "GLA", "Learning rates")
    (low, high) = (line["valid"] for line in lines_of(written(rows, tmp_path)["lm-rates.csv"])[:2])
    assert rates["0.003"] == f"**{float(low):.3f}**"
    assert rates["0.006"] == f"{float(high):.3f}"


def test_baselines_and_chance_stand_below(tmp_path):
    text = written(sweep(("gla", "hgrn")), tmp_path)["lm.md"]
    assert entries(text, "xz -9e")["bits per byte"] == "2.204"
    assert entries(text, "byte frequencies")["bits per byte"] == "4.553"
    assert entries(text, "chance")["needle"] == "12.5"
    assert entries(text, "questions")["needle"] == "500"


def test_probes_are_means_with_the_error_over_questions(tmp_path):
    rows = sweep(("gla", "hgrn"), seeds=2)
    for made, value in zip(rows, (0.5, 0.7, 0.1, 0.1)):
        made["probes"]["needle"] |= {"value": value, "stderr": 0.02}
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA")["needle"] == "**60.0** ± 2.0"
    assert entries(text, "HGRN")["needle"] == "10.0 ± 2.0"
    details = entries(text, "GLA", "Probes")
    assert list(details)[1:4] == ["last word nats", "copy bits saved", "induction 32"]
    assert "needle" not in details
    assert "Longer than a window of the training: needle 512." in text


def test_no_probe_at_or_below_chance_is_the_best(tmp_path):
    rows = sweep(("gla", "hgrn"))
    for made in rows:
        made["probes"]["needle"] |= {"value": 0.125, "stderr": 0.0}
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA")["needle"] == "12.5"


@pytest.mark.parametrize(("value", "best"), [(0.18, False), (0.20, True)])
def test_a_probe_within_two_standard_errors_of_chance_is_not_the_best(tmp_path, value, best):
    rows = sweep(("gla", "hgrn"))
    for made, found in zip(rows, (value, 0.125)):
        made["probes"]["needle"] |= {"value": found, "stderr": 0.03}
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA")["needle"].startswith("**") == best


@pytest.mark.parametrize(("without", "best"), [(0.28, False), (0.20, True)])
def test_copying_is_the_best_where_it_beats_the_same_text_after_other_text(without, best, tmp_path):
    rows = sweep(("gla", "hgrn"))
    for made, value in zip(rows, (0.3, 0.1)):
        made["probes"]["copy"] |= {"value": value, "stderr": 0.01}
        made["probes"]["copy_unrelated"] = made["probes"]["copy"] | {"value": without}
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA")["copy"].startswith("**") == best


def test_fewer_nats_are_better_and_more_bits_saved():
    rows = sweep(("gla", "hgrn"))
    for made, value in zip(rows, (1.0, 2.0)):
        for name in ("last_word_nats", "copy_bits_saved"):
            made["probes"][name]["value"] = value
    (table,) = [t for t in tables.TABLES["lm"].make(rows, "") if t.kind == "probes"]
    gla, hgrn = ({h: e.best for h, e in zip(table.header, line)} for line in table.body)
    assert gla["last word nats"]
    assert hgrn["copy bits saved"]
    assert not gla["copy bits saved"]


def test_what_copying_has_to_beat_is_not_ranked(tmp_path):
    rows = sweep(("gla", "hgrn"))
    for made, value in zip(rows, (0.3, 0.2)):
        made["probes"]["copy_unrelated"] = made["probes"]["copy"] | {"value": value}
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA")["copy unrelated"].startswith("30.0")
    assert "Copy has to beat copy unrelated" in text
    assert "Copy has" not in said(sweep(("gla",)))


def test_word_perplexity_has_a_column_only_where_it_is_known(tmp_path):
    assert "word ppl" not in written([row()], tmp_path)["lm.md"]
    text = written([row(word_perplexity=34567.8), row("gla")], tmp_path)["lm.md"]
    assert entries(text, "MetaLA")["word ppl"] == "34,600"
    assert entries(text, "GLA")["word ppl"] == "–"


def test_parameters_are_split_and_compared_with_attention(tmp_path):
    roles = {"q": 10, "k": 20, "alpha": 3, "channel": 960, "norm": 7, "embedding": 50, "head": 50}
    more = roles | {"channel": 981}
    rows = [row("attention", parameters_by_role=roles), row("gla", parameters_by_role=more)]
    text = written(rows, tmp_path)["lm.md"]
    gla = entries(text, "GLA", "Parameters")
    assert list(gla.values())[1:7] == ["100", "33", "981", "7", "1,121", "+2.10 %"]
    assert entries(text, "Attention", "Parameters")["off"] == "+0.00 %"
    assert "Not of equal size, more than 1% away: GLA +2.10 %." in text
    assert "Not of equal size" not in said(sweep())


def test_without_attention_sizes_are_compared_with_the_middle_one():
    sizes = {"gla": 990, "metala": 1000, "hgrn": 1005}
    rows = [row(m, parameters_by_role={"q": n, "embedding": 9}) for m, n in sizes.items()]
    assert lm_cost.off(only_block(rows)) == pytest.approx(
        {"GLA": -0.01, "MetaLA": 0, "HGRN": 0.005}
    )
    assert "the middle one of the models" in said(rows)


def test_the_fastest_is_bold_only_among_runs_on_one_device(tmp_path):
    rows = [row("gla", tokens_per_second=9e4), row("hgrn", tokens_per_second=5e4)]
    text = written(rows, tmp_path)["lm.md"]
    assert entries(text, "GLA", "Parameters")["tokens/s"] == "**90 k**"
    rows[1] |= {"device": "cuda H200"}
    assert entries(written(rows, tmp_path)["lm.md"], "GLA", "Parameters")["tokens/s"] == "90 k"


def test_memory_of_a_process_since_it_began_ranks_nobody(tmp_path):
    rows = [row(m, peak_memory_kind="process, since it began") for m in ("gla", "mamba")]
    text = written(rows, tmp_path)["lm.md"]
    assert "**" not in entries(text, "GLA", "Parameters")["memory"]
    rows = [row(m) for m in ("gla", "mamba")]
    text = written(rows, tmp_path)["lm.md"]
    assert "**" in entries(text, "GLA", "Parameters")["memory"]


def test_a_growing_state_has_its_sign():
    assert re.search(r"^Attention .* 1 MiB↗$", tables.render("lm", sweep(), 300), re.M)
    assert "↗ a KV cache" in said(sweep())
    assert "↗" not in said(sweep(("gla",)))


def test_different_text_under_one_name_is_told():
    assert "not the same for all" not in said([row(), row("gla")])
    other = row("gla", data_sha256={"test": "ff" * 32})
    assert "(test sha256 ffffffff) for GLA" in said([row(), other])


def test_curves_and_positions_are_in_csv(tmp_path):
    made = run("gla", 0.003, 0)
    files = written([made, run("gla", 0.006, 0)], tmp_path)
    curve = lines_of(files["lm-curves.csv"])
    assert [float(line["valid_bits_per_byte"]) for line in curve] == made["curve_valid"]
    assert curve[-1]["tokens"] == str(600 * 16 * 256)
    assert float(curve[-1]["seconds"]) == 600 * made["step_seconds"]
    spans = lines_of(files["lm-positions.csv"])
    assert [int(line["from"]) for line in spans] == made["by_position"]["edges"][:-1]
    assert spans[-1]["to"] == "256"
    assert {line["key"] for line in [*curve, *spans]} == {made["key"]}


def test_cells_in_csv_can_be_traced_to_their_runs(tmp_path):
    rows = sweep(("gla", "hgrn"), rates=(0.003, 0.006), seeds=2)
    lines = lines_of(written(rows, tmp_path)["lm.csv"])
    chosen = {row["key"] for row in rows if row["lr"] == 0.003}
    assert {key for line in lines for key in line["keys"].split()} == chosen


def test_the_order_of_rows_changes_nothing(tmp_path):
    rows = sweep(seeds=2, rates=(0.002, 0.003)) + sweep(("gla",), corpus="pysource")
    first = written(rows, tmp_path)
    random.Random(0).shuffle(rows)
    assert written(rows, tmp_path) == first


@pytest.mark.parametrize("name", sorted(set(run("gla", 0.003, 0)) - {"key", "model", "lr", "seed"}))
def test_a_store_without_a_column_still_has_its_tables(name, tmp_path):
    kept = ("status", "task")
    rows = sweep(("gla", "attention"), seeds=2)
    lacking = [{k: v for k, v in made.items() if k != name or k in kept} for made in rows]
    nothing = [made | ({} if name in kept else {name: None}) for made in rows]
    for each in (lacking, [*rows[:1], *lacking[1:]], nothing):
        assert "gla" in tables.render("lm", each, 120).lower()
        assert set(written(each, tmp_path)) == FILES


def test_all_models_of_the_zoo_fit(tmp_path):
    rows = sweep(tuple(STYLES))
    assert len(only_block(rows).lines) == len(STYLES)
    assert max(map(len, tables.render("lm", rows, 100).splitlines())) <= 100


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (9_999, "9,999"), (12_345, "12.3 k"), (999_999, "1 M"), (3.2e9, "3.2 G")],
)
def test_counts_have_three_digits(value, text):
    assert lm_words.count(value) == text


def test_models_of_the_task_are_all_in_one_comparison():
    assert [line.model for line in only_block(sweep()).lines] == sorted(
        MODELS, key=list(STYLES).index
    )
