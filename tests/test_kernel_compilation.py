"""Every listed kernel compiles for Hopper, and fits: registers, spills, shared memory."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from zoo.kernels.compilation import HOPPER, SHARED, every

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def resources() -> dict[str, dict[str, int]]:
    """By name. In a process of its own: kernels of this one may be for the interpreter."""
    environment = {n: x for n, x in os.environ.items() if n != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "zoo.kernels.compilation"]
    made = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in made.stdout.decode().splitlines()]
    return {line.pop("name"): line for line in lines}


def test_every_listed_kernel_compiles_for_hopper(resources):
    assert HOPPER == 90
    assert set(resources) == {each.name for each in every()}
    assert len(resources) == len(every()), "two specialisations share a name"


def test_no_kernel_spills_more_than_it_says(resources):
    wrong = {n: x for n, x in resources.items() if x["spilled"] > x["accepted"]}
    assert not wrong


def test_every_kernel_fits_into_shared_memory(resources):
    assert not {n: x for n, x in resources.items() if x["shared"] > SHARED}


def test_every_kernel_that_is_launched_is_listed():
    launched = set()
    for path in (ROOT / "zoo/kernels").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # name[grid](...)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
                assert isinstance(node.func.value, ast.Name), f"{path.name}:{node.lineno}"
                launched.add(node.func.value.id)
    assert len(launched) > 5
    assert launched == {each.kernel.fn.__name__ for each in every()}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("metala", {"matrix_keys.keys", "matrix_forward.outputs", "convolution.forward_kernel"}),
        ("mamba", {"ssm_forward.forward_kernel", "ssm_backward.backward_kernel"}),
        ("hgrn", {"vector_forward.forward_kernel", "vector_backward.backward_kernel"}),
    ],
)
def test_what_a_model_launches_in_bfloat16_compiles_and_fits(model, expected):
    environment = {n: x for n, x in os.environ.items() if n != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.jit_launches", model]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    found = [json.loads(line) for line in done.stdout.decode().splitlines()]
    launched = {each["kernel"].removeprefix("zoo.kernels.") for each in found}
    assert expected <= launched
    assert max(each["shared"] for each in found) <= SHARED
