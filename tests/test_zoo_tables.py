"""Tables of models: every model in every format, the paper's entries, formulas as LaTeX."""

import csv
import functools
import io
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.transforms import Bbox

import zoo
from results import figures, published, tables
from results.tex_math import SIGNS, tex
from runners import theory_rows, zoo_rows
from runners.cli import main
from zoo.equations import FUNCTIONS, SLOTS, formulas
from zoo.mixer import Mixer
from zoo.spec import Stream

TABLES = ("1", "3", "A1", "A2", "A3")
WIDTH = 64
PLUGIN = """
from dataclasses import replace
from zoo.models.glru import SPEC as GLRU
SPEC = replace(GLRU, label="Mine")
"""
# Everything that a formula may become; a page needs amsmath and amssymb for no more than these.
COMMANDS = set(re.findall(r"\\[A-Za-z]+", " ".join(SIGNS.values()))) | {
    *(r"\mathrm", r"\sqrt", r"\top", r"\prime", r"\ast", r"\allowbreak", r"\penalty"),
    *(r"\bar", r"\hat", r"\tilde", r"\dot", r"\cdot", r"\mathbb", r"\frac", r"\Sigma", r"\Pi"),
    *(r"\exp", r"\log", r"\ln", r"\sin", r"\cos", r"\tanh", r"\max", r"\min", r"\arg"),
}


@functools.cache
def rows(table, every=True):
    every = every and table != "3"
    return zoo_rows.rows(table, every=every, plugins=(), d_model=WIDTH)


@functools.cache
def everything():
    return zoo_rows.everything(())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every table of models with all models, by file name."""
    folder = tmp_path_factory.mktemp("tables")
    paths = [path for table in TABLES for path in tables.write(table, rows(table), folder)]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def every_variant():
    return [":".join(filter(None, (n, v))) for n in zoo.names() for v in ("", *zoo.variants(n))]


@pytest.mark.parametrize("name", every_variant())
def test_every_formula_is_latex(name):
    spec = zoo.load(name)
    for slot, text in formulas(spec).items():
        assert "?" not in text, f"{slot} has no formula"
        for breaks in (True, False):
            made = tex(text, breaks=breaks)
            assert made.isascii()
            assert made.count("{") - made.count(r"\{") == made.count("}") - made.count(r"\}")
            assert set(re.findall(r"\\[A-Za-z]+", made)) <= COMMANDS


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("σ(u W1_α + b_α)^(1/16)", r"\sigma (u\,W_{\alpha}^{1} + b_{\alpha})^{1/16}"),
        ("q (w_aug ⊙ k)ᵀ v", r"q\,(w_{\mathrm{aug}} \odot  k)^{\top}\,v"),
        ("(γ + (1-γ)) e^{jθ}", r"(\gamma  + (1-\gamma ))\,e^{j\theta}"),
        ("SiLU(conv4(u))", r"\mathrm{SiLU}(\mathrm{conv}_{4}(u))"),
        ("Conv1d(x)*", r"\mathrm{Conv1d}(x)^{\ast}"),
        ("1 - 2^-(5+h)", "1 - 2^{-(5+h)}"),
        ("exp(-e^-0.5 x) a*b", r"\exp (-e^{-0.5}\,x)\,a\cdot b"),
        ("d_k^-1/2 √d_k √(1 - α^2)", r"d_{k}^{-1/2}\,\sqrt{d_{k}}\,\sqrt{1 - \alpha^{2}}"),
        ("q z + 1e-06", r"q\,z + 10^{-6}"),
        ("x B̄ ū", r"x\,\bar{B}\,\bar{u}"),
        ("S_{t-1} d'_k", r"S_{t-1}\,d_{k}^{\prime}"),
        ("k_i ≠ |x|²/2, jb", r"k_{i} \neq  |x|^{2}/2,\ j b"),
        (
            "softmax over blocks of 8",
            r"\mathrm{softmax}\ \mathrm{over}\ \mathrm{blocks}\ \mathrm{of}\ 8",
        ),
    ],
)
def test_the_notation_becomes_latex(formula, latex):
    assert tex(formula, breaks=False) == latex


@pytest.mark.parametrize(
    ("formula", "why"), [("x ☃ y", "snowman"), ("x^(1/2", "closing"), ("x_", "empty")]
)
def test_a_formula_that_is_none_is_refused_with_the_reason(formula, why):
    with pytest.raises(ValueError, match=why):
        tex(formula)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("width", [80, 120])
def test_every_model_is_in_the_terminals_table_and_lines_fit(table, width):
    text = tables.render(table, rows(table), width)
    assert max(map(len, text.splitlines())) <= width
    for row in rows(table):
        assert row.get("label", "") in text
        for slot in FUNCTIONS:
            words = row.get(slot, "-").split()
            assert all(word in text for word in words if word != "-")


@pytest.mark.parametrize("table", TABLES)
def test_every_model_is_in_markdown_and_csv(files, table):
    text = files[f"table{table}.md"]
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    lines = list(csv.DictReader(io.StringIO(files[f"table{table}.csv"])))
    by_name = {line["name"]: line for line in lines if line["kind"] == "model"}
    for row in rows(table):
        if row["kind"] == "model":
            assert f"| {row['label']} |" in text
            assert [by_name[row["name"]][slot] for slot in FUNCTIONS] == [
                row[slot].replace("-", "–") if row[slot] == "-" else row[slot] for slot in FUNCTIONS
            ]


@pytest.mark.parametrize("table", TABLES)
def test_latex_has_balanced_braces_and_plain_letters_alone(files, table):
    text = files[f"table{table}.tex"]
    assert text.isascii()
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"(?<!\\)#|\$\$", text)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(files, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    inputs = "".join(rf"\input{{table{table}}}\clearpage" for table in TABLES)
    packages = r"\usepackage{amsmath,amssymb,array,booktabs,longtable}"
    page = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_table_without_all_has_the_papers_models_in_the_papers_order():
    for table in TABLES:
        names = [row["name"] for row in rows(table, every=False) if row["kind"] == "model"]
        assert [name for name in names if name] == list(published.functions(table))


def test_all_models_are_in_the_tables_of_their_families():
    families = {name: zoo.load(name).family for name in zoo.names()}
    assert {row["name"] for row in rows("1")} == {"", *families}
    for table, (family, *_) in list(zoo_rows.TABLES.items())[2:]:
        members = {name for name in families if families[name] == family}
        assert members | set(published.functions(table)) == {row["name"] for row in rows(table)}


def test_the_papers_entries_stand_below_ours(files):
    text = files["tableA1.md"]
    assert r"| in the paper: GLA | x W\_Q | x W\_K | x W\_V | σ(x W1\_α W2\_α + b\_α) [" in text
    lines = list(csv.DictReader(io.StringIO(files["tableA3.csv"])))
    (griffin,) = [line for line in lines if line["name"] == "griffin"]
    assert (griffin["f_g"], griffin["paper_f_g"]) == ("GeLU(x W_g + b_g)", "σ(x W_g + b_g)")
    assert "GeLU in the paper's text" in griffin["paper_leaves_out"]


@pytest.mark.parametrize(
    "line", published.read("simplifications"), ids=lambda x: "-".join(x.values())[:40]
)
def test_every_recorded_simplification_is_of_a_model_and_slot_and_is_printed(line):
    table, slot = line["table"], line["slot"]
    assert line["model"] in zoo.names()
    assert slot in {*SLOTS, "also", "dimension", "model", "group", "state", "output"}
    if table != "2":  # the table of conditions is not made of formulas
        words = " ".join(tables.render(table, rows(table), 1000).split())
        assert line["note"][1:] in words


@pytest.mark.parametrize("table", TABLES)
def test_the_papers_formulas_are_latex(table):
    for line in published.functions(table).values():
        assert line["zoo"] in zoo.names()
        for slot in published.ENTRIES:
            assert tex(line[slot]).isascii()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "_plugins", {})
    monkeypatch.chdir(tmp_path)
    Path("my_own.py").write_text(PLUGIN)


def test_a_plugin_joins_the_table_of_its_family_and_no_other(plugin, capsys):
    assert main(["table", "A3", "--plugin", "my_own.py", "--out", "made"]) == 0
    said = capsys.readouterr().out
    assert "Mine" in said
    assert all(Path(word).stat().st_size for word in said.split() if word.startswith("made/"))
    assert main(["table", "A2", "--plugin", "my_own.py"]) == 2
    assert "type lazoo table A3" in capsys.readouterr().err
    assert main(["plot", "zoo", "--plugin", "my_own.py", "--out", "made"]) == 0
    assert all(Path(word).stat().st_size for word in capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (["table", "mqar", "--all"], "made from stored rows"),
        (["table", "A1", "--rows", "runs"], "made from the models"),
        (["table", "3", "--all"], "MetaLA alone"),
        (["table", "B1"], "type one of|did you mean"),
        (["plot", "mqar", "--plugin", "x.py"], "no --plugin"),
        (["plot", "conditions", "--plugin", "x.py"], "no --plugin"),
        (["plot", "zoo", "--rows", "runs"], "no --rows"),
    ],
)
def test_flags_of_the_other_kind_of_table_are_refused(line, why, capsys):
    assert main(line) == 2
    assert re.search(why, capsys.readouterr().err)


def test_table_2_and_its_figure_are_computed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(theory_rows, "models", lambda names, d_model: [])
    assert main(["table", "2", "--out", "made"]) == 0
    assert main(["plot", "conditions", "--out", "made"]) == 0
    files = [word for word in capsys.readouterr().out.split() if word.startswith("made/")]
    assert {"made/table2.tex", "made/table2.csv", "made/conditions-overwrite.pdf"} <= set(files)
    assert all(Path(file).stat().st_size for file in files)


def test_table_2_judges_the_papers_models_or_all_and_plugins(plugin):
    listed = {name for line in published.read("table2_conditions") for name in line["zoo"].split()}
    assert set(zoo_rows.judged(False, ())) == listed
    assert zoo_rows.judged(False, (Path("my_own.py"),))[-1] == "my_own"
    assert set(zoo_rows.judged(True, ())) == set(zoo.names())


def test_json_prints_the_rows_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["table", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["name"] == "gla"
    assert not list(tmp_path.iterdir())


def test_table_3_prints_the_form_that_the_mixer_computes():
    mixer: Any = Mixer(zoo.load("metala"), 32, layer=1, depth=2).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    s = Stream(torch.randn(2, 7, 32, dtype=torch.float64), names=mixer._names)
    s.u = mixer.local(s)
    s.decay = mixer.f_alpha(s)
    q, k, v = mixer.f_q(s), mixer.f_k(s), mixer.f_v(s)  # b t h k
    s.q, s.k, s.v = q, k, v
    A = s.decay.log().cumsum(1).exp()
    M = torch.ones(7, 7, dtype=torch.float64).tril()
    scores = torch.einsum("bthk,bshk->bhts", q * A, k / A) * M
    o = torch.einsum("bhts,bshv->bthv", scores, v) / mixer.dims.d_k**0.5
    o = mixer.norm(o + torch.sigmoid((q * mixer.now.weight * k).sum(-1, keepdim=True) * v))
    y = mixer.w_o((o * mixer.f_g(s)).flatten(2))
    assert torch.allclose(y, mixer(s.x)[0], rtol=0, atol=1e-12)


def test_the_figure_shows_every_model_inside_the_page_and_no_text_covers_another():
    figure = figures.draw("zoo", everything())["zoo"]
    texts = [text for text in figure.texts if text.get_text()]
    said = {text.get_text() for text in texts}
    assert {row["label"] for row in everything()} <= said
    boxes = [text.get_window_extent() for text in texts]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)
    scale = figure.dpi / 72
    for one, other in itertools.combinations(boxes, 2):
        overlap = Bbox.intersection(one, other)  # of boxes: descenders meet ascenders
        assert overlap is None or min(overlap.width, overlap.height) < 3 * scale


def test_a_figure_without_models_is_none():
    assert figures.draw("zoo", []) == {}
