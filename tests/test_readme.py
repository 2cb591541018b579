"""README and CONTRIBUTING: commands shown run, files named exist, tables agree with the code."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from runners import theory_rows
from zoo.describe import by_family, describe
from zoo.theory.named import named

ROOT = Path(__file__).parents[1]
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")
}
MARKS = {True: "y", False: "n", None: "-"}
# What a reader does around the commands: it needs a host, or is a shell's own.
AROUND = ("git clone <this repository> linear-attention-zoo && cd linear-attention-zoo",)
# Put behind every command that trains or times: the last of two equal flags counts.
TINY = {
    "mqar": "--d-model 16 --lr 0.01 --updates 80 --evaluate-every 40 --batch 8"
    " --train-rows 64 --valid-rows 16 --test-rows 16",
    # The one data set that needs neither a download nor numba.
    "lra": "--dataset listops-short --model metala --d-model 16 --updates 4 --warmup 1"
    " --evaluate-every 4 --batch 8",
    "lm": "--model linformer --seed 0 --data-seed 0 --lr 0.002 --d-model 16 --depth 1 --updates 2"
    " --warmup 1 --evaluate-every 2 --seq-len 32 --valid-tokens 64 --test-tokens 64",
    "bench op": "--repeats 1 --seconds 0",
    "bench step": "--batch 8 --steps 1",
    "bench efficiency": "--length 32 64 --tokens 64 --d-model 64 --repeats 1",
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    lines = "".join(blocks(page, "sh")).splitlines()
    return [line for line in lines if line.strip() and line not in AROUND]


def run(line: str, folder: Path) -> str:
    """Standard output of one shown command, made small. Its exit code must be 0."""
    name, *rest = shlex.split(line)
    if name == "make":
        command = ["make", "--dry-run", "--directory", str(ROOT), *rest]
    else:
        assert name == "lazoo", f"{line}: nobody tests {name}"
        small = TINY.get(rest[0]) or TINY.get(" ".join(rest[:2]), "")
        command = [sys.executable, "-m", "runners.cli", *rest, *shlex.split(small)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", params=PAGES)
def printed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """What the commands of a page print, run in order in an empty folder with my_model.py in it."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "my_model.py").write_text(blocks("CONTRIBUTING.md", "python")[0], encoding="utf-8")
    (folder / "results").symlink_to(ROOT / "results")
    return folder, {line: run(line, folder) for line in commands(request.param)}


def test_every_command_shown_runs_and_the_files_it_names_are_there(printed):
    folder, said = printed
    for path in said["lazoo plot mqar"].split():
        assert (folder / path).stat().st_size


def test_a_model_that_was_run_is_in_the_table(printed):
    label = "Retention, no_gate" if any("my_model" in line for line in printed[1]) else "MetaLA"
    assert label in printed[1]["lazoo table mqar"]


def test_the_python_of_the_readme_runs():
    for text in blocks("README.md", "python"):
        exec(compile(text, "README.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)\s]+)\)", PAGES[page])
    named = re.findall(r"`((?:zoo|tasks|runners|results|tests)/[\w./]*)`", PAGES[page])
    for link in [link for link in links if not link.startswith("https://arxiv.org/")] + named:
        assert (ROOT / link).exists(), link


def test_the_layout_names_every_folder():
    (layout,) = [text for text in blocks("README.md", "text") if "tests/" in text]
    shown = set(re.findall(r"^ *([a-z]+)/", layout, re.MULTILINE))
    top = {path.parent.name for path in ROOT.glob("*/*.py") if not path.parent.name.startswith(".")}
    assert top <= shown
    assert {"models", "scan", "published", "reference"} <= shown


def test_the_presets_are_those_that_exist():
    from runners.lm_presets import LM
    from runners.lra_presets import LRA
    from runners.presets import MQAR

    listed = re.findall(r"^\| `([\w.-]+)` \| [^|]+ \|$", PAGES["README.md"], re.MULTILINE)
    assert listed == [*MQAR, *LRA, *LM]


def test_the_models_table_is_what_the_code_says():
    shown = re.findall(r"^\| `\w+` \|(?: [^|]+ \|){6}$", PAGES["README.md"], re.MULTILINE)
    assert shown == model_lines()


def test_the_readme_counts_the_models():
    assert PAGES["README.md"].splitlines()[2].startswith(f"{len(zoo.names())} linear attention")


def test_the_conditions_are_those_that_are_computed():
    shown = re.findall(r"^\| [\w,]+ \|(?: [^|]+ \|){7}$", PAGES["README.md"], re.MULTILINE)
    assert shown[1:] == group_lines()  # the first is the header


def model_lines() -> list[str]:
    """The lines of README's table of models, by family."""
    lines = []
    for name in by_family(zoo.names()):
        m, met = describe(name), named(name).met
        state = f"{m['heads']} x {m['d_k']} x {m['d_v']}" + (", grows" if m["grows"] else "")
        conditions = "".join(MARKS[mark] for mark in met)
        key = re.split(r", \S+ = ", str(m["f_k"]))[0]  # without what its letters stand for
        cells = [f"`{name}`", m["label"], m["paper"], m["decay"], key, state, conditions]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def group_lines() -> list[str]:
    """The lines of README's table of groups, from what Table 2 is made from."""
    published = (ROOT / "results/published/table2_conditions.csv").read_text(encoding="utf-8")
    members = {row["group"]: row["members"] for row in csv.DictReader(published.splitlines())}
    lines = []
    for row in theory_rows.groups():
        lower, upper = row["lower"][-1], row["upper"]
        error = f"at least {lower:.2g}" if upper is None else f"{round(upper[-1], 9):.2g}"
        marks = [MARKS[row[f"C{i}"]] for i in range(4)]
        overwrite = f"{round(row['e2'], 9):.2g}"
        name = row["name"] if row["groups"] else "none"
        cells = [name, *marks, overwrite, error, members.get(name) or "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_to_fill_in(page):
    assert "<!-- FILL" not in PAGES[page]
