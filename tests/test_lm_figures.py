"""Figures of language models: what is drawn for which rows, and that nothing overlaps."""

import io
import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from results import figures
from results.chart import COLUMN, FULL
from results.styles import STYLES, style
from tests.lm_synthetic import failed, row, run, sweep

ROOT = Path(__file__).parents[1]
NAMES = ("lm-tokens", "lm-time", "lm-positions", "lm-state")
# Columns that figures read, and what is left without one, where that is not all of them.
READ = """curve_steps curve_valid by_position state_bytes step_seconds value baselines batch seq_len
    device label family conv preset positions data_source""".split()  # noqa: SIM905  as words
WITHOUT = {
    "curve_steps": {"lm-tokens", "lm-time"},
    "curve_valid": {"lm-tokens", "lm-time"},
    "batch": {"lm-tokens"},
    "seq_len": {"lm-tokens"},
    "step_seconds": {"lm-time"},
    "by_position": {"lm-positions"},
    "state_bytes": {"lm-state"},
    "value": set(NAMES),
}


@cache
def drawn(width=0.0, many=False):
    """Figures of 8 lines and two seeds, or of 20 models; laid out."""
    rows = sweep(tuple(STYLES)[:20]) if many else sweep(seeds=2)
    rows += [] if many else sweep(("linformer",), seeds=2, conv="k4-silu")
    made = figures.draw("lm", rows, width)
    for figure in made.values():
        figure.canvas.draw()
    return made


def only(rows, name):
    return figures.draw("lm", rows)[name].axes[0]


def words(figure):
    """All text, the line breaks undone."""
    found = [text.get_text() for axis in figure.axes for text in axis.texts]
    found += [axis.get_title(loc="left") for axis in figure.axes]
    return " ".join(" ".join([*found, *(t.get_text() for t in figure.texts)]).split())


def named(axis):
    return {text.get_text() for text in axis.texts}


def curves(axis):
    """Everything with more than two points, as x and y."""
    lines = [np.asarray(line.get_xydata(), float) for line in axis.lines]
    return [line for line in lines if len(line) > 2]


def points(axis, marker):
    """x and y of all markers of one kind."""
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [tuple(np.asarray(line.get_xydata(), float)[0]) for line in lines]


def boxes(axis):
    """Pixels that title, direct labels and ticks take."""
    title = axis.get_title(loc="left")
    found = [text for text in axis.texts if len(text.get_text()) > 1]
    found += [t for t in axis.get_children() if isinstance(t, Text) and t.get_text() == title]
    found += [axis.xaxis.label, axis.yaxis.label, *axis.get_yticklabels()]
    return [Text.get_window_extent(text) for text in found if text.get_text()]


def test_four_figures_in_three_formats(tmp_path):
    paths = figures.write("lm", sweep(("gla",)), tmp_path)
    assert {p.name for p in paths} == {f"{n}.{k}" for n in NAMES for k in ("png", "svg", "pdf")}


def test_each_comparison_has_figures_of_its_own():
    rows = sweep(("gla",)) + sweep(("gla",), corpus="pysource")
    made = figures.draw("lm", rows)
    assert set(made) == {f"{name}-{i}" for name in NAMES for i in (1, 2)}
    assert "classics as bytes" in words(made["lm-tokens-1"])
    assert "pysource as bytes" in words(made["lm-tokens-2"])


def test_curves_are_validation_over_tokens_one_for_each_seed():
    rows = [run("gla", 0.003, seed) for seed in (0, 1)]
    found = curves(only(rows, "lm-tokens"))
    assert len(found) == 2
    for made, line in zip(rows, found):
        assert np.allclose(line[:, 0], 16 * 256 * np.array(made["curve_steps"]))
        assert np.allclose(line[:, 1], made["curve_valid"])


def test_only_the_chosen_rate_is_drawn():
    (line,) = curves(only(sweep(("gla",), rates=(0.003, 0.006)), "lm-tokens"))
    assert np.allclose(line[:, 1], run("gla", 0.003, 0)["curve_valid"])


def test_time_is_the_time_of_one_update_times_updates():
    made = [run("gla", 0.003, 0, step_seconds=0.5), run("hgrn", 0.003, 0, step_seconds=0.25)]
    axis = only(made, "lm-time")
    assert axis.get_xlabel() == "training time, minutes"
    assert [line[-1, 0] for line in curves(axis)] == [300 / 60, 150 / 60]
    text = words(figures.draw("lm", made)["lm-time"])
    assert "seconds of one update times updates, without validation, on cpu x86_64" in text


@pytest.mark.parametrize(
    ("seconds", "unit"), [(0.001, "seconds"), (0.1, "seconds"), (1, "minutes"), (60, "hours")]
)
def test_time_has_a_unit_that_suits_it(seconds, unit):
    axis = only([run("gla", 0.003, 0, step_seconds=seconds)], "lm-time")
    assert axis.get_xlabel() == f"training time, {unit}"


def test_very_different_times_are_on_a_logarithmic_axis():
    rows = [run("gla", 0.003, 0), run("hgrn", 0.003, 0, step_seconds=0.01)]
    assert only(rows, "lm-time").get_xscale() == "log"
    assert only(rows, "lm-tokens").get_xscale() == "linear"


def test_the_steep_start_is_cut_and_said_to_be():
    made = run("gla", 0.003, 0)
    made["curve_valid"][0] = 60.0
    axis = only([made], "lm-tokens")
    assert made["curve_valid"][2] < axis.get_ylim()[1] < 60
    assert "where the axis ends" in words(figures.draw("lm", [made])["lm-tokens"])


def test_a_level_near_the_curves_is_drawn_and_one_far_away_is_not():
    axis = only(sweep(("gla",)), "lm-tokens")
    assert "xz -9e" in named(axis)
    assert "byte frequencies" not in named(axis)
    assert axis.get_ylim()[0] < 2.204
    (far,) = sweep(("gla",), baselines={"xz": 1.9})
    assert only([far], "lm-tokens").get_ylim()[0] > 1.9


def test_a_diverged_model_ends_in_a_cross_and_is_named():
    lost = failed(run("mamba", 0.003, 0))
    lost["curve_steps"], lost["curve_valid"] = lost["curve_steps"][:3], lost["curve_valid"][:3]
    made = figures.draw("lm", [run("gla", 0.003, 0), lost])
    axis = made["lm-tokens"].axes[0]
    assert [x for x, _ in points(axis, "x")] == [lost["curve_steps"][-1] * 16 * 256]
    assert "Mamba" in named(axis)
    assert "Without result: Mamba (diverged)." in words(made["lm-tokens"])
    assert named(made["lm-state"].axes[0]) == {"GLA"}


def test_positions_are_spans_side_by_side_and_means_over_seeds():
    rows = [run("gla", 0.003, seed) for seed in (0, 1)]
    axis = only(rows, "lm-positions")
    (line,) = curves(axis)
    both = [made["by_position"]["bits_per_byte"] for made in rows]
    assert np.allclose(line[:, 1], np.mean(both, axis=0))
    ticks = [tick.get_text() for tick in axis.get_xticklabels()]
    assert ticks == ["0+", "", "2+", "", "8+", "", "32+", "", "128+"]


def test_a_span_without_a_number_is_a_gap():
    made = run("gla", 0.003, 0)
    made["by_position"]["bits_per_byte"][4] = None
    axis = only([made], "lm-positions")
    (line,) = curves(axis)
    assert np.isnan(line[4, 1])
    assert len(points(axis, style("gla").marker)) == len(line) - 1


def test_state_is_drawn_with_deviations_and_a_cache_has_an_arrow():
    rows = [row("gla", seed=s, value=v) for s, v in enumerate((2.4, 2.5))] + [row("attention")]
    figure = figures.draw("lm", rows)["lm-state"]
    (axis,) = figure.axes
    assert points(axis, style("gla").marker) == [(33_024, pytest.approx(2.45))]
    (bar,) = [
        np.asarray(line.get_ydata(), float) for line in axis.lines if line.get_marker() == "_"
    ]
    assert list(bar) == pytest.approx([2.45 - 0.005**0.5, 2.45 + 0.005**0.5])
    assert "Arrow: a KV cache" in words(figure)
    assert "Arrow" not in words(figures.draw("lm", rows[:2])["lm-state"])


def test_states_alike_still_have_ticks():
    axis = only(sweep(("gla", "metala")), "lm-state")
    low, high = axis.get_xlim()
    assert sum(low <= tick <= high for tick in axis.get_xticks()) >= 2


def test_a_model_has_its_colour_in_every_figure():
    made = figures.draw("lm", sweep(("gla",)))
    for figure in made.values():
        assert style("gla").colour in {line.get_color() for line in figure.axes[0].lines} | {
            line.get_markerfacecolor() for line in figure.axes[0].lines
        }


def test_without_rows_or_numbers_there_are_no_figures():
    assert figures.draw("lm", []) == {}
    assert figures.draw("lm", [failed(row("gla"), "oom")]) == {}


@pytest.mark.parametrize("name", READ)
def test_a_store_without_a_column_is_drawn_as_far_as_it_goes(name):
    rows = [made | {name: None} for made in sweep(("attention",))]
    gone = [{k: v for k, v in made.items() if k != name} for made in sweep(("attention",))]
    assert (
        set(figures.draw("lm", rows))
        == set(figures.draw("lm", gone))
        == set(NAMES) - WITHOUT.get(name, set())
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("width", "many"), [(0.0, False), (FULL, False), (COLUMN, False), (0.0, True)]
)
def test_labels_cover_neither_each_other_nor_the_axes_and_stay_on_the_page(name, width, many):
    figure = drawn(width, many)[name]
    (axis,) = figure.axes
    taken = boxes(axis)
    assert len(taken) > 10
    for one, other in itertools.combinations(taken, 2):
        overlap = Bbox.intersection(one, other)  # of boxes that include white above and below
        assert overlap is None or min(overlap.width, overlap.height) < 3
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in taken)


@pytest.mark.parametrize("name", NAMES)
def test_every_line_has_its_name_beside_it(name):
    expected = {"Attention", "LinFormer", "LinFormer, conv k4-silu", "GLA", "MetaLA", "RWKV-4"}
    assert named(drawn()[name].axes[0]) >= expected | {"HGRN", "Mamba"}


def test_the_same_rows_in_any_order_make_the_same_picture():
    rows = sweep(("hgrn", "metala"), seeds=2)
    made = [figures.draw("lm", rows), figures.draw("lm", rows[::-1])]
    for name in NAMES:
        pictures = [io.BytesIO(), io.BytesIO()]
        for picture, each in zip(pictures, made):
            each[name].savefig(picture, format="raw", dpi=100)
        assert pictures[0].getvalue() == pictures[1].getvalue()


def test_tables_and_figures_need_neither_torch_nor_the_models(tmp_path):
    code = """
import sys
from tests.lm_synthetic import sweep
from results import figures, tables
figures.write("lm", sweep(), sys.argv[1]), tables.write("lm", sweep(), sys.argv[1])
print(*{name.partition(".")[0] for name in sys.modules} & {"torch", "zoo", "tasks", "runners"})
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (tmp_path / "lm.md").exists()
