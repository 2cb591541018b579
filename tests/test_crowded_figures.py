"""Figures of as many models as the zoo has and more: every word is readable and on the page."""

import functools
import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Annotation, Text

from results import figures, styles
from results.chart import COLUMN, RC

synthetic = runpy.run_path(str(Path(__file__).with_name("synthetic.py")))
row, noise = synthetic["row"], synthetic["noise"]
KNOWN = list(styles.STYLES)
LEARNT = 0.5  # share of the models that end near 100 %; a quarter stays near chance


def crowd(count, widths, seeds=1, rates=(0.003, 0.01, 0.03)):
    """Rows of many models that end close to one another, with states of a few sizes only."""
    names = [*KNOWN, *(f"another_model_{i}" for i in range(count))][:count]
    return [one(*point) for point in itertools.product(names, widths, rates, range(seeds))]


def one(name, width, rate, seed):
    luck = noise(name)
    top = 1 - 0.01 * noise(name, width) if luck < LEARNT else 0.25 + 0.05 * noise(name, width)
    top = 0.3 + 0.7 * noise(name, width) if luck > 0.75 else top
    top -= 0.02 * noise(name, rate, seed)
    fields = {"family": "softmax"} if name == "attention" else {}
    return row(
        name,
        width,
        rate,
        seed,
        value=top,
        valid=top,
        left_plateau=top > 0.3,
        state_bytes=64 * width * 2 ** int(4 * noise(name, "state")),
        curve_steps=[100, 300, 700],
        curve_valid=[0.25, (0.25 + top) / 2, top],
        **fields,
    )


CROWDS = {
    "one width": {"widths": (64,)},
    "one width, seeds": {"widths": (64,), "seeds": 3},
    "three widths": {"widths": (16, 32, 64)},
}
NAMES = ["mqar", "mqar-state", "mqar-curves", "mqar-rates"]


@functools.cache
def drawn(count, which, width):
    made = figures.draw("mqar", crowd(count, **CROWDS[which]), width)
    for figure in made.values():
        figure.set_dpi(RC["savefig.dpi"])  # letters have other widths at other resolutions
        figure.draw_without_rendering()
    return made


def texts(figure):
    """Everything that is written, with its box in pixels, but for leaders and signs on points."""
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text() not in ("", "‡")]
    hidden = {id(t) for axis in figure.axes for t in unseen(axis)}
    return [(t.get_text(), Text.get_window_extent(t)) for t in found if id(t) not in hidden]


def unseen(axis):
    """Labels of ticks that are outside the limits or switched off, which are not drawn."""
    for which, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        shown = which.get_tick_params().get("labelbottom", True)
        shown = shown and which.get_tick_params().get("labelleft", True)
        for tick in which.get_major_ticks():
            if not shown or not min(low, high) <= tick.get_loc() <= max(low, high):
                yield from (tick.label1, tick.label2)
            elif not tick.label2.get_visible():
                yield tick.label2


@pytest.mark.parametrize(("count", "width"), [(33, 0), (45, 0), (45, COLUMN)])
@pytest.mark.parametrize("which", CROWDS)
@pytest.mark.parametrize("name", NAMES)
def test_no_word_of_many_models_leaves_the_page_or_covers_another(name, count, which, width):
    figure = drawn(count, which, width)[name]
    written = texts(figure)
    assert len(written) >= count
    for text, box in written:
        assert (np.array(box.min) >= -1).all(), text
        assert (np.array(box.max) <= np.array(figure.bbox.max) + 1).all(), text
    low, high = (np.array([getattr(box, end) for _, box in written]) for end in ("min", "max"))
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # n n 2
    covering = np.argwhere(np.triu(shared.min(axis=2) >= 3, 1))  # boxes include white lines
    assert [(written[i][0], written[k][0]) for i, k in covering] == []


@pytest.mark.parametrize("which", CROWDS)
@pytest.mark.parametrize("count", [33, 45])
@pytest.mark.parametrize("name", NAMES)
def test_lines_from_labels_to_points_keep_within_the_height_of_the_axes(name, count, which):
    figure = drawn(count, which, 0)[name]
    for note in figure.findobj(Annotation):
        if note.arrow_patch is not None and note.get_text():
            assert note.axes is not None
            line, frame = note.arrow_patch.get_window_extent(), note.axes.get_window_extent()
            assert line.y0 >= frame.y0 - 2, note.get_text()
            assert line.y1 <= frame.y1 + 2, note.get_text()


@pytest.mark.parametrize("name", ["mqar", "mqar-state"])
def test_every_one_of_many_models_and_chance_are_named(name):
    figure = drawn(45, "one width", 0)[name]
    words = [text for text, _ in texts(figure)]
    models = {run["label"] for run in crowd(45, (64,))}
    assert len(models) == 45
    assert all(words.count(model) == 1 for model in [*models, "chance 1/4"])


def test_one_width_of_many_models_lists_them_by_accuracy_with_the_undetermined_last():
    axis = drawn(33, "one width", 0)["mqar"].axes[0]
    lines = [line for line in axis.lines if line.get_marker() not in ("None", "|")]
    dots = sorted((np.asarray(line.get_xydata())[0, ::-1].tolist(), line) for line in lines)
    hollow = [line.get_markerfacecolor() == "white" for _, line in dots]
    assert len(dots) == 33
    assert hollow == sorted(hollow)
    means = [round(x, 1) for ((_, x), _), open_ in zip(dots, hollow) if not open_]
    assert means == sorted(means, reverse=True)
    written = [text.get_text() for text in axis.texts]
    assert written[: len(means)] == [f"{mean:.1f}" for mean in means]
    assert axis.get_yticklabels()[-1].get_text() == "chance 1/4"
