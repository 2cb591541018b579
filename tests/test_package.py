"""What is installed is what the repository says: command, packages, data, versions, set-up."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = {
    canonicalize_name(line.partition("==")[0]): line.partition("==")[2].strip()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
}


def needs(*extras: str) -> list[str]:
    extra = PROJECT["project"]["optional-dependencies"]
    return PROJECT["project"]["dependencies"] + [line for name in extras for line in extra[name]]


@pytest.mark.parametrize("line", needs("gpu", "lra", "lm", "eval", "mamba", "dev"))
def test_constraints_pin_every_dependency_within_its_range(line):
    need = Requirement(line)
    assert need.specifier.contains(PINS[canonicalize_name(need.name)])


@pytest.mark.parametrize("line", needs("dev"))
def test_installed_is_what_constraints_say(line):
    need = Requirement(line)
    if need.marker and not need.marker.evaluate():
        pytest.skip(f"not for this machine: {need.marker}")
    name = canonicalize_name(need.name)
    assert metadata.version(name).partition("+")[0] == PINS[name]


def test_version_is_the_same_everywhere():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited
    assert PROJECT["project"]["version"] == cited[1] == metadata.version("linear-attention-zoo")


def test_the_command_is_installed():
    (command,) = metadata.entry_points(group="console_scripts", name="lazoo")
    assert command.value == "runners.cli:main"
    assert callable(command.load())


def test_a_wheel_would_carry_the_published_numbers():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["results"]
    found = {path for pattern in patterns for path in (ROOT / "results").glob(pattern)}
    assert set((ROOT / "results").glob("published/*")) <= found


@pytest.mark.parametrize("target", ["mqar", "lra", "lm", "test", "gpu", "lint", "clean", "help"])
def test_make_knows_its_targets(target):
    command = ["make", "--dry-run", "--silent", "--directory", str(ROOT), target]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
