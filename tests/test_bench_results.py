"""Tables and figures of timings: pure functions of rows, readable however many models there are."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from results import figures, tables
from results.chart import RC
from results.store import Store
from results.styles import STYLES
from runners.cli import main

ROOT = Path(__file__).parents[1]
crowded = runpy.run_path(str(Path(__file__).with_name("test_crowded_figures.py")))
LENGTHS = (512, 4096, 16_384, 65_536)
OCTAVES = tuple(2**i for i in range(9, 17))


def row(model="gla", length=512, **fields):
    """A row of an efficiency timing; every field can be set."""
    made = {
        "task": "bench",
        "kind": "efficiency",
        "status": "ok",
        "error": "",
        "model": model,
        "name": model,
        "label": model.upper(),
        "family": "linear transformer",
        "length": length,
        "batch": 65_536 // length,
        "d_model": 64,
        "depth": 2,
        "inner": 176,
        "vocabulary": 256,
        "parameters": 101_000,
        "target_parameters": 100_000,
        "deviation": 0.01,
        "backend": "auto",
        "form": "own",
        "backends": ["matrix"],
        "dtype": "fp32",
        "step_form": "eager",
        "device": "cpu x86_64",
        "threads": 1,
        "clock": "CPU time",
        "median_seconds": 0.5,
        "p20": 0.4,
        "p80": 0.6,
        "repeats": 10,
        "tokens_per_second": 131_072.0,
        "peak_memory_bytes": 3 * 2**20,
        "peak_memory_kind": "tensors, during one call",
        "torch": "2.13.0",
        "time": "2026-01-01T00:00:00+00:00",
        **fields,
    }
    made.setdefault("key", f"{made['model']}-{made['length']}-{made['device']}-{made['dtype']}")
    return made


def rows(models=("attention", "gla", "metala"), lengths=LENGTHS, **fields):
    """Attention's cost grows with the square of the length, that of the others not."""
    made = []
    for i, model in enumerate(models):
        for length in lengths:
            speed = 2e5 / (i + 1) * (512 / length if model == "attention" else 1)
            bytes_ = (i + 1) * 2**20 * (1 + (length / 8192) * (model == "attention"))
            made.append(
                row(model, length, tokens_per_second=speed, peak_memory_bytes=int(bytes_), **fields)
            )
    return made


def failed(made, status, error):
    nothing = dict.fromkeys(["median_seconds", "p20", "p80", "tokens_per_second", "repeats"])
    return made | nothing | {"status": status, "error": error, "peak_memory_bytes": None}


def test_the_table_has_speed_growth_memory_and_sizes():
    said = tables.render("efficiency", rows(), 140)
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line}
    assert "Training throughput, fp32 on cpu x86_64, 1 thread" in said
    assert lines["ATTENTION"]  # the last table's line
    first = [line for line in said.splitlines() if line.startswith(("ATTENTION", "METALA"))]
    assert first[0].split()[1:] == ["200*", "25.0", "6.25", "1.56", "2.00"]
    assert first[1].split()[-1] == "1.00"
    assert "off by" in said
    assert "lengths 4,096 to 65,536" in said


def test_what_has_no_number_says_why_and_the_reason_stands_below():
    made = rows()
    made[3] = failed(made[3], "oom", "tried to allocate 100 GiB")
    made[2] = failed(made[2], "timeout", "left out: 20.0 s an update expected, limit 10 s")
    said = tables.render("efficiency", made, 140)
    assert "out of memory" in said
    assert "left out" in said
    assert "tried to allocate 100 GiB" in said
    ((_, figure),) = figures.draw("efficiency", made).items()
    small = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "A line ends where memory was lacking" in small
    drawn = [np.asarray(line.get_xydata(), float) for line in figure.axes[0].lines]
    assert [512.0, 4096.0] in [points[:, 0].tolist() for points in drawn]


def test_other_devices_and_settings_are_comparisons_of_their_own():
    made = [*rows(), *rows(device="NVIDIA H200", dtype="bf16", step_form="cuda graph")]
    said = tables.render("efficiency", made, 140)
    assert "bf16 on NVIDIA H200, cuda graph" in said
    assert set(figures.draw("efficiency", made)) == {"efficiency", "efficiency-2"}


def test_the_caption_of_the_figure_names_device_threads_and_command():
    ((_, figure),) = figures.draw("efficiency", rows(), command="lazoo plot it").items()
    small = " ".join(text.get_text() for text in figure.texts)
    assert "fp32 on cpu x86_64, 1 thread; CPU time" in small
    assert "figure by `lazoo plot it`" in small


@pytest.mark.parametrize("lengths", [LENGTHS, OCTAVES], ids=len)
@pytest.mark.parametrize("count", [7, 12, 33])
def test_every_model_is_named_beside_each_panel_and_no_word_covers_another(count, lengths):
    drawn = rows(tuple(STYLES)[:count], lengths)
    made = [{**each, "label": each["model"]} for each in drawn]
    ((_, figure),) = figures.draw("efficiency", made).items()
    figure.set_dpi(RC["savefig.dpi"])
    figure.draw_without_rendering()
    written = crowded["texts"](figure)
    words = [text for text, _ in written]
    assert all(words.count(name) == 2 for name in tuple(STYLES)[:count])
    low, high = (np.array([getattr(box, end) for _, box in written]) for end in ("min", "max"))
    assert (low >= -1).all()
    assert (high <= np.array(figure.bbox.max) + 1).all()
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # n n 2
    covering = np.argwhere(np.triu(shared.min(axis=2) >= 3, 1))
    assert [(words[i], words[k]) for i, k in covering] == []


def test_rows_in_any_order_make_the_same_table_and_figure(tmp_path):
    made = rows()
    assert tables.render("efficiency", made) == tables.render("efficiency", made[::-1])
    for name, given in (("a", made), ("b", made[::-1])):
        figures.write("efficiency", given, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_stored_rows_are_drawn_and_tabled_again_without_torch(tmp_path):
    store = Store(tmp_path)
    for each in rows():
        store.append(each)
    code = "import sys; from runners.cli import main; assert not main(sys.argv[1:])"
    code += "; assert 'torch' not in sys.modules"
    for command in ("table", "plot"):
        line = [sys.executable, "-c", code, command, "efficiency", "--out", str(tmp_path)]
        subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    written = {path.name for path in tmp_path.iterdir() if "jsonl" not in path.name}
    kinds = ("md", "tex", "csv", "png", "svg", "pdf")
    assert written == {f"efficiency.{kind}" for kind in kinds}


def test_a_table_without_rows_says_what_makes_some(tmp_path, capsys):
    Store(tmp_path).append(row())
    assert main(["table", "bench", "--out", str(tmp_path)]) == 2
    assert "no rows of bench" in (said := capsys.readouterr().err)
    assert "type lazoo bench op" in said
    assert main(["plot", "efficiency", "--out", str(tmp_path / "none")]) == 2
    assert "type lazoo bench efficiency --preset quick" in capsys.readouterr().err


def scan(form="matrix", length=256, seconds=0.02, **fields):
    """A row of the operator."""
    made = {"kind": "op", "name": "matrix", "form": form, "batch": 2048 // length, "heads": 2}
    made |= {"d_k": 64, "d_v": 64, "median_seconds": seconds, "p20": seconds, "p80": seconds}
    made |= {"ratio": seconds / 0.02, "floor_seconds": 0.001, "share": 0.001 / seconds}
    return row("matrix", length, **made, key=f"{form}-{length}", **fields)


def test_forms_of_a_scan_stand_fastest_first_with_the_fastest_in_bold():
    said = tables.render("bench", [scan("loop", seconds=0.1), scan()], 140)
    lines = [line for line in said.splitlines() if line.startswith("matrix  ")]
    assert "20 ms*" in lines[0]
    assert "5.00" in lines[1]
    assert "5 %" in lines[0]
    assert "matrix: b 8, t 256, h 2, k 64, v 64" in said


def test_several_lengths_of_a_scan_give_the_exponent_of_each_form():
    made = [scan(length=length) for length in (256, 512)]
    made += [scan("loop", length, 0.1 * length / 256) for length in (256, 512)]
    said = tables.render("bench", made, 140)
    grown = said[said.index("Growth with length") :]
    found = {line.split()[1]: line.split()[2] for line in grown.splitlines() if "matrix  " in line}
    assert found == {"loop": "2.00", "matrix": "1.00"}
    assert "2,048 tokens" in said
