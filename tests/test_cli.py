"""The command line: what it refuses and suggests, and its help."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from runners import axes
from runners.cli import COMMANDS, main
from runners.commands import (
    bench,
    check,
    compare,
    conditions,
    doctor,
    lra,
    models,
    mqar,
    parse,
    plot,
    sweeps,
    table,
)
from runners.config import Mqar

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "_plugins", {})  # those of one test are not those of the next
    return tmp_path


def refused(capsys, *argv):
    """What is said about a command line that is refused with exit code 2, on one line."""
    assert main(argv) == 2
    said = capsys.readouterr()
    assert not said.out
    assert not Path("runs").exists()
    return " ".join(re.sub("[│─╭╮╰╯]", " ", said.err).split())


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("modls", "did you mean lazoo models?"),
        ("mqar --model metla", "did you mean metala?"),
        ("mqar --model metala:no_agu", "did you mean no_aug?"),
        ("mqar --preset qick", "did you mean quick?"),
        ("mqar --modle metala", "Perhaps you meant: --model"),
        ("mqar --model gla --schedule cosin", "did you mean cosine?"),
        ("mqar --model gla --conv k3-sliu", "type own, none"),
        ("mqar --model gla --engine lcoal", "type --engine local"),
        ("mqar --model gla --lr", "lr is given without a value"),
        ("mqar --model gla --d-model x", "d_model 'x': input should be a valid integer"),
        ("mqar --model gla --timeout -1", "timeout -1 is negative; --timeout 0 is no limit"),
        ("mqar", "type --preset quick, or --model and a name"),
        ("mqar --plugin mine.py", "mine.py"),
        ("lra --preset qick", "did you mean quick?"),
        ("lra --model metala", "dataset is missing"),
        ("lra --model metala --dataset listop", "did you mean listops?"),
        ("lra --preset quick --dataset image", "says nothing of Image"),
        ("lra --preset quick --checkpoint-minutes -1", "or 0 for one after every update"),
        ("models metla", "did you mean metala?"),
        ("check metla", "did you mean metala?"),
        ("bench step metla", "did you mean metala?"),
        ("bench stpe", "step"),
        ("bench op matirx", "did you mean matrix?"),
        ("table mqra", "did you mean mqar?"),
        ("plot mqra", "did you mean mqar?"),
        ("table mqar", "no rows of mqar in runs; type lazoo mqar --preset quick"),
    ],
)
def test_a_mistake_is_refused_with_what_to_type_instead(capsys, line, hint):
    assert hint in refused(capsys, *line.split())


@pytest.mark.parametrize(
    ("flags", "numbers"),
    [
        ("--model metala --d-model 64 30", ("30", "16")),
        ("--model gla --length 64 --pairs 17", ("64", "17", "68")),
        ("--model gla --vocabulary 256 --length 256", ("256", "257")),
        ("--model gla --d-model 0", ("d_model", "0")),
        ("--model gla --batch 64 --train-rows 32", ("64", "32")),
        ("--preset quick --updates 40", ("70", "40")),
    ],
)
def test_an_impossible_run_is_refused_before_training_with_the_numbers(capsys, flags, numbers):
    said = refused(capsys, "mqar", *flags.split())
    assert all(re.search(rf"\b{number}\b", said) for number in numbers), said
    assert "pydantic" not in said
    assert "Value error" not in said


def test_a_flag_misspelt_by_one_letter_is_refused_and_nearly_always_suggested(capsys):
    dice, right = random.Random(0), 0
    for name in Mqar.model_fields:
        flag = name.replace("_", "-")
        at = dice.randrange(len(flag))
        wrong = flag[:at] + flag[at + 1 :] if len(flag) > 2 else flag[::-1]
        right += f"--{flag} " in refused(capsys, "mqar", "--model", "gla", f"--{wrong}", "1")
    assert right >= 0.95 * len(Mqar.model_fields)


def test_help_of_lazoo_loads_no_library(capsys):
    code = "import sys; from runners.cli import main; main(['--help']);"
    code += "assert not {'torch', 'tyro', 'pydantic', 'numpy'} & {*sys.modules}"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert all(re.search(rf"^  {name} +\w", said, re.MULTILINE) for name in COMMANDS)
    assert said.rstrip().splitlines()[-1].startswith("  lazoo ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_commands_to_paste(capsys, name):
    assert main([name, "--help"]) == 0
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.startswith(f"  lazoo {name}")


def test_help_of_mqar_has_every_field_with_its_default(capsys):
    main(["mqar", "--help"])
    said = " ".join(re.sub("[│─╭╮╰╯]", " ", capsys.readouterr().out).split())
    for name, info in Mqar.model_fields.items():
        assert f"--{name.replace('_', '-')} " in said
        assert info.description
        assert " ".join(info.description.split()) in said
    assert "(default: 10000)" in said


@pytest.mark.parametrize(
    "command", [bench, check, compare, conditions, doctor, lra, models, mqar, plot, table]
)
def test_examples_are_command_lines_that_parse(command):
    for example in command.EXAMPLES:
        lazoo, name, *argv = example.split()
        assert (lazoo, f"runners.commands.{name}") == ("lazoo", command.__name__)
        parsed = parse(command.Arguments, name, argv, ())
        if command in (lra, mqar):
            given = axes.given(parsed.fields, command.COMMAND.config)
            assert sweeps.wanted(command.COMMAND, parsed.sweep.preset, given, ())
