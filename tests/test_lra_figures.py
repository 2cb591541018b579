"""Figures of the Long Range Arena: what is drawn for which rows, and that nothing overlaps."""

import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from results import figures, published
from results.chart import COLUMN, FULL
from results.lra_blocks import groups
from results.lra_figures import limits
from tests.lra_synthetic import MANY, MODELS, SIX, failed, row, sweep

ROOT = Path(__file__).parents[1]


@cache
def drawn(width=FULL):
    """Figures of 4 models on 3 data sets and of 11 models on 6 tasks, two seeds; laid out."""
    rows = sweep(seeds=2) + sweep(tuple(MANY), SIX, seeds=2)
    made = figures.draw("lra", rows, width)
    for figure in made.values():
        figure.canvas.draw()
    return made


def words(figure):
    """All text, the line breaks undone."""
    found = [text.get_text() for axis in figure.axes for text in axis.texts]
    found += titles(figure) + [text.get_text() for text in figure.texts]
    return " ".join(" ".join(found).replace("\N{NO-BREAK SPACE}", " ").split())


def titles(figure):
    return [
        " ".join(axis.get_title(loc="left").split()).replace("\N{NO-BREAK SPACE}", " ")
        for axis in figure.axes
    ]


def xs(line):
    return np.asarray(line.get_xdata(), float)


def ys(line):
    return np.asarray(line.get_ydata(), float)


def marks(axis, filled):
    """Heights and accuracies of ours (filled) or of the paper (rings)."""
    lines = [line for line in axis.lines if line.get_marker() not in ("None", "|", "", None)]
    chosen = [line for line in lines if (str(line.get_markerfacecolor()) != "none") == filled]
    return {float(y): round(float(x), 2) for line in chosen for x, y in zip(xs(line), ys(line))}


def rows_of(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def boxes(axis):
    """Pixels that title, direct labels and names of rows take."""
    title = axis.get_title(loc="left")
    found = [t for t in axis.texts if len(t.get_text()) > 1]
    found += [t for t in axis.get_children() if isinstance(t, Text) and t.get_text() == title]
    found += [label for label in axis.get_yticklabels() if len(label.get_text()) > 3]
    return [Text.get_window_extent(text) for text in found]


def test_scores_and_other_data_have_figures_of_their_own_in_three_formats(tmp_path):
    paths = figures.write("lra", sweep(("hgrn",), ("listops", "text-short")), tmp_path)
    stems = ("lra-paper", "lra-paper-curves", "lra-quick-other-data", "lra-quick-other-data-curves")
    assert {p.name for p in paths} == {f"{s}.{k}" for s in stems for k in ("png", "svg", "pdf")}


@pytest.mark.parametrize("kind", ["variant", "short", "stand-in", None])
def test_other_data_say_so_in_every_title_and_never_stand_beside_the_paper(kind):
    made = figures.draw("lra", sweep(MODELS, ("listops",), dataset_kind=kind, preset="paper"))
    assert set(made) == {"lra-paper-other-data", "lra-paper-other-data-curves"}
    for figure in made.values():
        assert titles(figure) == ["listops (not LRA)"]
        assert "Not LRA scores" in words(figure)
        assert all(marks(axis, filled=False) == {} for axis in figure.axes)


def test_dots_are_the_means_over_seeds_and_rings_the_papers_values():
    rows = [row(model="hgrn", seed=s, value=v) for s, v in enumerate((0.5, 0.53, 0.56))]
    axis = figures.draw("lra", rows)["lra-paper"].axes[0]
    place = rows_of(axis).index("HGRN")
    assert marks(axis, filled=True) == {place: 53.0}
    rings = marks(axis, filled=False)
    assert {rows_of(axis)[int(y)] for y in rings} >= {"HGRN", "S4", "TNN", "Mega", "SGConv"}
    assert rings[place] == float(published.lra()["hgrn"]["listops"].text)
    assert "53.0 ± 3.0" in [text.get_text() for text in axis.texts]


def test_guesses_are_lines_with_names_and_numbers():
    axis = drawn()["lra-quick-other-data"].axes[0]
    assert rows_of(axis)[-3:] == ["chance", "majority class", "root operator"]
    upright = {round(x[0], 1) for x in map(xs, axis.lines) if len(x) == 2}
    assert {10.0, 21.0, 45.2} <= upright
    assert {"10", "21", "45.2"} <= {text.get_text() for text in axis.texts}
    curves = drawn()["lra-quick-other-data-curves"].axes
    assert {"chance 1/10", "majority class", "root operator"} <= {
        t.get_text() for t in curves[0].texts
    }
    assert "majority class" not in {t.get_text() for t in curves[1].texts}


def test_a_panel_for_each_data_set_that_was_run():
    assert titles(drawn()["lra-paper"]) == list(published.LRA_TITLES.values())
    assert titles(drawn()["lra-quick-other-data"]) == [
        f"{name} (not LRA)" for name in ("listops-short", "text-short", "pathfinder-easy")
    ]
    one = figures.draw("lra", sweep(("hgrn",), ("image",)))
    assert [titles(figure) for figure in one.values()] == [["Image"], ["Image"]]


def test_curves_end_at_the_last_update_and_mark_the_tested_weights():
    (run,) = sweep(("hgrn",), ("image",))
    run["best_update"] = run["curve_steps"][-3]
    axis = figures.draw("lra", [run])["lra-paper-curves"].axes[0]
    (curve,) = [line for line in axis.lines if len(xs(line)) == len(run["curve_steps"])]
    assert np.allclose(ys(curve), 100 * np.array(run["curve_valid"]))
    (point,) = [line for line in axis.lines if line.get_marker() == "X"]
    assert np.allclose(
        [xs(point), ys(point)], [[run["best_update"]], [100 * run["curve_valid"][-3]]]
    )


def test_runs_without_result_leave_a_dash_and_no_curve():
    made = figures.draw("lra", [failed(row(model="hgrn"), "oom")])
    assert set(made) == {"lra-paper"}
    assert marks(made["lra-paper"].axes[0], filled=True) == {}
    assert "1 of them without result: 1 out of memory" in words(made["lra-paper"])
    assert figures.draw("lra", []) == {}


def test_what_was_selected_on_the_test_set_is_marked():
    text = words(figures.draw("lra", [row(selection="test")])["lra-paper"])
    assert "60.0†" in text
    assert "† selected on the test set itself" in text
    assert "†" not in words(figures.draw("lra", [row()])["lra-paper"])


@pytest.mark.parametrize("curves", [False, True])
def test_everything_drawn_lies_inside_the_axis(curves):
    for group in groups(sweep(seeds=2) + sweep(tuple(MANY), SIX, seeds=2)):
        name = "lra-paper" if group.scores else "lra-quick-other-data"
        for axis, dataset in zip(drawn()[name + "-curves" * curves].axes, group.datasets):
            low, high = limits(group, dataset, curves)
            assert (axis.get_ylim() if curves else axis.get_xlim()) == (low, high)
            values = np.concatenate([ys(line) if curves else xs(line) for line in axis.lines])
            inside = values[values > 1] if curves else values  # axhline's ends are fractions
            assert low < inside.min() <= inside.max() < high


@pytest.mark.parametrize("width", [COLUMN, FULL])
@pytest.mark.parametrize("name", ["lra-paper", "lra-quick-other-data"])
@pytest.mark.parametrize("end", ["", "-curves"])
def test_labels_cover_neither_each_other_nor_the_title_and_stay_on_the_page(width, name, end):
    figure = drawn(width)[name + end]
    taken = [box for axis in figure.axes for box in boxes(axis)]
    assert len(taken) > 12
    for one, other in itertools.combinations(taken, 2):
        overlap = Bbox.intersection(one, other)  # of boxes that include white above and below
        assert overlap is None or min(overlap.width, overlap.height) < 3
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in taken)


def test_the_same_rows_in_any_order_make_the_same_bytes(tmp_path):
    rows = sweep(("hgrn", "metala"), ("image",), seeds=2)
    first = figures.write("lra", rows, tmp_path / "a")
    second = figures.write("lra", rows[::-1], tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_tables_and_figures_need_neither_torch_nor_the_models(tmp_path):
    code = """
import sys
from tests.lra_synthetic import sweep
rows = sweep(("hgrn",), ("text-short",))
from results import figures, tables
figures.write("lra", rows, sys.argv[1]), tables.write("7", rows, sys.argv[1])
print(*{name.partition(".")[0] for name in sys.modules} & {"torch", "zoo", "tasks", "runners"})
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (tmp_path / "table7.md").exists()
