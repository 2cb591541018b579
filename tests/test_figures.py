"""Figures: what is drawn for which rows, that labels keep apart, and files that repeat exactly."""

import functools
import itertools
import math
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

import zoo
from results import figures, styles
from results.chart import COLUMN, FULL
from results.labels import spread, uncrossed

ROOT = Path(__file__).parents[1]
synthetic = runpy.run_path(str(Path(__file__).with_name("synthetic.py")))
row, failed, sweep = synthetic["row"], synthetic["failed"], synthetic["sweep"]
WIDTHS = (64, 128, 256, 512)


@functools.cache
def saturated(width):
    """Figures of eight models near 100 % over four widths, three seeds, two lengths; laid out."""
    rows = [
        run
        for length, pairs in ((256, 16), (512, 64))
        for run in sweep(widths=WIDTHS, seeds=3, length=length, pairs=pairs, updates=25_000)
    ]
    drawn = figures.draw("mqar", rows, width)
    for figure in drawn.values():
        figure.canvas.draw()
    return drawn


def words(figure):
    """All text, the line breaks of the small print undone."""
    axes = [text.get_text() for axis in figure.axes for text in axis.texts]
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    return " ".join(" ".join([*axes, *titles, *(t.get_text() for t in figure.texts)]).split())


def boxes(axis):
    """Pixels that the title and the direct labels of a panel take."""
    named = [t for t in axis.texts if len(t.get_text()) > 1]
    title = axis.get_title(loc="left")
    named += [t for t in axis.get_children() if isinstance(t, Text) and t.get_text() == title]
    return {text.get_text(): Text.get_window_extent(text) for text in named}


def points(line):
    return np.asarray(line.get_xydata()).tolist()


def markers(axis):
    """The drawn points: x, y, face."""
    lines = [line for line in axis.lines if line.get_marker() not in ("None", "x", "|", "_", 2, 3)]
    return [(x, y, line.get_markerfacecolor()) for line in lines for x, y in points(line)]


def test_every_figure_comes_in_three_formats(tmp_path):
    paths = figures.write("mqar", sweep(models=("based", "hgrn")), tmp_path)
    names = {path.name for path in paths}
    stems = ("mqar", "mqar-state", "mqar-curves", "mqar-rates")
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg", "pdf")}
    for path in tmp_path.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.min() < 80
        assert pixels.mean() > 200


def test_the_same_rows_in_any_order_make_the_same_bytes(tmp_path):
    rows = sweep(models=("attention", "based"), widths=(16, 32))
    first = figures.write("mqar", rows, tmp_path / "a")
    second = figures.write("mqar", rows[::-1], tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_no_rows_make_no_figure(tmp_path):
    assert figures.write("mqar", [], tmp_path) == []


def test_rows_that_all_failed_make_an_empty_panel_and_no_curves():
    drawn = figures.draw("mqar", [failed(run, "oom") for run in sweep(models=("based",))])
    assert set(drawn) == {"mqar", "mqar-state", "mqar-rates"}
    assert markers(drawn["mqar"].axes[0]) == []
    assert "9 of them without result: 9 out of memory" in words(drawn["mqar"])


def test_an_unknown_figure_suggests_a_known_one():
    with pytest.raises(ValueError, match=r"Did you mean mqar\?"):
        figures.draw("mkar", [])


def test_the_points_are_the_means_over_seeds():
    rows = [row(d_model=d, seed=s, value=0.5 + d / 200 + s / 10) for d in (16, 32) for s in (0, 1)]
    found = sorted(y for _, y, _ in markers(figures.draw("mqar", rows)["mqar"].axes[0]))
    assert found == pytest.approx([63, 71])


def test_what_is_undetermined_is_hollow_and_explained():
    rows = [row(model="based"), row(model="hgrn", value=0.25, left_plateau=False)]
    figure = figures.draw("mqar", rows)["mqar"]
    assert {round(y): face == "white" for _, y, face in markers(figure.axes[0])} == {
        90: False,
        25: True,
    }
    assert "Hollow: undetermined at this budget" in words(figure)


def test_a_missing_cell_is_a_gap():
    rows = [row(d_model=d) for d in (16, 64)] + [failed(row(d_model=32), "oom")]
    axis = figures.draw("mqar", rows)["mqar"].axes[0]
    (line,) = [points(line) for line in axis.lines if len(points(line)) == 3]
    assert [math.isnan(y) for _, y in line] == [False, True, False]


def test_small_print_has_runs_seeds_choice_convolution_and_commands():
    text = words(figures.draw("mqar", sweep(), command="lazoo plot mqar --out x")["mqar"])
    for said in (
        *("72 runs.", "n = 1 seed.", "Best of 3 learning rates on the validation set."),
        *("short convolution k2", "`lazoo mqar --preset quick`", "`lazoo plot mqar --out x`"),
        *("chance 1/4", "MQAR, length 32, 4 pairs"),
    ):
        assert said in text


def test_rates_chosen_on_the_test_set_are_said_to_be():
    figure = figures.draw("mqar", sweep(models=("based",), selection="test"))["mqar-rates"]
    assert "on the test set itself (†, published protocol)" in words(figure)
    assert figure.axes[0].get_ylabel() == "test, %"


def test_the_state_axis_has_the_measured_bytes_and_a_cache_has_arrows():
    rows = [row(model="attention", d_model=d) for d in (16, 32)] + [row(model="hgrn", d_model=16)]
    figure = figures.draw("mqar", rows)["mqar-state"]
    assert {x for x, _, _ in markers(figure.axes[0])} == {8192, 16384, 384}
    arrows = [t for t in figure.axes[0].texts if not t.get_text()]
    assert len(arrows) == 2
    assert "a KV cache, which grows with every token" in words(figure)


def test_a_learning_rate_at_the_edge_is_flagged_and_a_failure_is_a_cross():
    rows = [row(lr=lr, valid=valid) for lr, valid in ((0.1, 0.9), (0.2, 0.5))]
    axis = figures.draw("mqar", [*rows, failed(row(lr=0.4), "diverged")])["mqar-rates"].axes[0]
    assert "‡" in [text.get_text() for text in axis.texts]
    crosses = [points(line) for line in axis.lines if line.get_marker() == "x"]
    assert crosses == [[[0.4, 0]]]


def test_every_model_and_width_has_its_panel():
    rows = sweep(seeds=2)
    drawn = figures.draw("mqar", rows)
    titles = [axis.get_title(loc="left") for axis in drawn["mqar-rates"].axes]
    assert titles == [label for label, *_ in synthetic["MODELS"].values()]
    assert len(drawn["mqar-curves"].axes) == 3


@pytest.mark.parametrize("width", [COLUMN, FULL])
@pytest.mark.parametrize("name", ["mqar", "mqar-state", "mqar-curves", "mqar-rates-1"])
def test_labels_cover_neither_each_other_nor_the_title_and_stay_on_the_page(name, width):
    figure = saturated(width)[name]
    for axis in figure.axes:
        taken = boxes(axis)
        assert len(taken) >= 4
        for one, other in itertools.combinations(taken.values(), 2):
            overlap = Bbox.intersection(one, other)  # of boxes that include white above and below
            assert overlap is None or min(overlap.width, overlap.height) < 3
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in taken.values())


@given(st.lists(st.integers(0, 100), max_size=9), st.integers(1, 10))
def test_spread_labels_keep_their_distance_order_and_bounds(wanted, gap):
    placed = spread(wanted, gap, 0, 100)
    ordered = [placed[i] for i in sorted(range(len(wanted)), key=lambda i: (wanted[i], i))]
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(ordered))
    assert all(-1e-9 <= y <= 100 + 1e-9 for y in placed)


def test_spread_leaves_labels_that_have_room_where_they_want_to_be():
    assert spread([10, 50, 90], 5, 0, 100) == [10, 50, 90]
    assert spread([50, 50], 6, 0, 100) == [47, 53]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8, unique=True))
def test_lines_from_level_points_to_their_labels_do_not_cross(xs):
    heights = spread([100.0] * len(xs), 8, 0, 100)
    dealt = uncrossed([(x, 100.0) for x in xs], heights, 1)
    assert sorted(dealt) == sorted(heights)
    by_x = [height for _, height in sorted(zip(xs, dealt))]
    assert by_x == sorted(by_x)


def test_every_model_of_the_zoo_has_a_style_of_its_own():
    drawn = {name: styles.style(name) for name in zoo.names()}
    assert set(drawn) <= set(styles.STYLES), "give the new model a line in results/styles.py"
    assert len({style.colour for style in drawn.values()}) == len(drawn)
    assert len({(style.marker, style.dash) for style in drawn.values()}) == len(drawn)
    for one, other in relatives():
        assert drawn[one].marker != drawn[other].marker, (one, other)


def relatives():
    """Pairs of models of one family, which figures show together most often."""
    families = {name: zoo.load(name).family for name in zoo.names()}
    pairs = itertools.combinations(families, 2)
    return [(one, other) for one, other in pairs if families[one] == families[other]]


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB; the last is full sight.
SIGHT = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "full": np.eye(3).tolist(),
}


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_differ_for_colour_blind_readers(sight):
    seen = {}
    for name, style in styles.STYLES.items():
        rgb = np.array(styles.rgb(style.colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen[name] = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1) ** (1 / 2.2)
    for (one, a), (other, b) in itertools.combinations(seen.items(), 2):
        assert np.linalg.norm(a - b) > 0.1, (one, other)


def test_models_of_a_family_that_are_alike_in_grey_differ_in_marker_and_dash():
    grey = {name: styles.luminance(styles.rgb(s.colour)) for name, s in styles.STYLES.items()}
    for one, other in relatives():
        if abs(grey[one] - grey[other]) < 0.05:
            assert styles.STYLES[one].marker != styles.STYLES[other].marker
            assert styles.STYLES[one].dash != styles.STYLES[other].dash


@given(st.sampled_from([*styles.STYLES, "my_model", "another"]))
def test_label_colours_are_readable_on_white(model):
    ink = styles.luminance(styles.rgb(styles.ink(styles.style(model).colour)))
    assert 1.05 / (ink + 0.05) >= 4.45


def test_a_style_depends_on_the_name_alone():
    assert styles.style("metala:mqar") == styles.style("metala")
    assert styles.style("my_model") == styles.style("my_model") != styles.style("your_model")
    variant = styles.style("metala:no_aug", variant=True)
    assert variant.colour == styles.style("metala").colour
    assert variant.marker != styles.style("metala").marker


def test_drawing_needs_neither_torch_nor_the_models(tmp_path):
    code = """
import runpy, sys
rows = runpy.run_path(sys.argv[1])["sweep"](models=("based",))
from results import figures, tables
figures.write("mqar", rows, sys.argv[2]), tables.write("mqar", rows, sys.argv[2])
print(*{name.partition(".")[0] for name in sys.modules} & {"torch", "zoo", "tasks", "runners"})
"""
    command = [sys.executable, "-c", code, str(ROOT / "tests" / "synthetic.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (tmp_path / "mqar.pdf").stat().st_size > 1000
