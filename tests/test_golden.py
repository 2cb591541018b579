"""Every model against numbers from its official implementation: output and every gradient, by name.

golden/<model>.json holds what the official mixer returned for random weights (float64, one fixed
seed; repository, commit, class and what was stubbed in its "source"). Weights and inputs are exact
decimals; results have 12 significant digits, so each is off by at most 5e-12 of itself, and so is a
relative error over a whole tensor. The tolerance leaves as much again for the order of summation.
"""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

import zoo
from zoo.mixer import Mixer
from zoo.spec import State

FOLDER = Path(__file__).parent / "golden"
OWN = [name for name in zoo.names() if (FOLDER.parents[1] / "zoo/models" / f"{name}.py").exists()]
TOLERANCE = 1e-11
MAPS = {}
for path in sorted(FOLDER.parent.glob("golden_maps*.py")):
    MAPS |= importlib.import_module(f"tests.{path.stem}").MAPS
# Models without official code that runs on a CPU, and why; their paper loops stand alone.
UNCOMPARED: dict[str, str] = {}


def read(name):
    return json.loads((FOLDER / f"{name.replace(':', '.')}.json").read_text())


def tensor(packed, dtype=torch.float64):
    return torch.tensor(packed["values"], dtype=dtype).reshape(packed["shape"])


def mixer_for(name, golden, backend="auto"):
    """The model at the file's size: its spec, with the official run's heads, d_k and d_v."""
    spec, sizes = zoo.load(name), golden["dims"]
    if "heads" in sizes:
        state = State(sizes["heads"], sizes["d_k"], sizes["d_v"])
        spec = replace(spec, state=lambda d: state)
    return Mixer(spec, sizes["d_model"], backend=backend, **golden["options"]).eval()


def run(name, golden, backend, dtype=torch.float64):
    """Output, and gradients of sum(w y) by x and by every official parameter."""
    mixer = mixer_for(name, golden, backend).to(dtype)
    leaves = {n: tensor(p, dtype).requires_grad_() for n, p in golden["parameters"].items()}
    x = tensor(golden["x"], dtype).requires_grad_()
    constants = {n: tensor(p, dtype) for n, p in golden.get("buffers", {}).items()}
    ours = MAPS[name](leaves | constants, golden["dims"])
    shared = {n.removeprefix("shared."): p for n, p in ours.items() if n.startswith("shared.")}
    own = {n: p for n, p in ours.items() if not n.startswith("shared.")}
    buffers = {n: b for n, b in own.items() if n in dict(mixer.named_buffers())}
    own = {n: p for n, p in own.items() if n not in buffers}
    shapes = {n: tuple(p.shape) for n, p in mixer.named_parameters()}
    assert {n: tuple(p.shape) for n, p in own.items()} == shapes, "the map misses a parameter"
    y, _ = functional_call(mixer, own | buffers, (x,), {"shared": shared})
    gradients = torch.autograd.grad((y * tensor(golden["w"], dtype)).sum(), [x, *leaves.values()])
    return y, dict(zip(["x", *leaves], gradients))


def relative(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize("name", [name for name in OWN if name not in UNCOMPARED])
def test_every_model_has_golden_numbers(name):
    missing = [
        what
        for what, there in (
            (f"tests/golden/{name}.json", (FOLDER / f"{name}.json").exists()),
            (f"an entry {name!r} in MAPS of tests/golden_maps.py", name in MAPS),
        )
        if not there
    ]
    assert not missing, (
        f"{name} is not compared with its official code: add {' and '.join(missing)}"
    )


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_every_golden_file_is_small_and_used(file):
    golden = json.loads(file.read_text())
    assert file.stat().st_size <= 150_000
    assert golden["model"] in MAPS
    assert file.stem == golden["model"].replace(":", ".")
    assert set(golden["gradients"]) == set(golden["parameters"])
    assert all(golden["source"][field] for field in ("repository", "commit", "file", "class"))


@pytest.mark.parametrize("backend", ["loop", "auto"])
@pytest.mark.parametrize("name", MAPS)
def test_output_is_the_official_one(name, backend):
    golden = read(name)
    y, _ = run(name, golden, backend if zoo.load(name).mix == "scan" else "auto")
    assert relative(y, tensor(golden["y"])) <= TOLERANCE


@pytest.mark.parametrize("backend", ["loop", "auto"])
@pytest.mark.parametrize("name", MAPS)
def test_every_gradient_is_the_official_one(name, backend):
    golden = read(name)
    _, ours = run(name, golden, backend if zoo.load(name).mix == "scan" else "auto")
    theirs = {"x": golden["gradient_x"], **golden["gradients"]}
    errors = {n: relative(ours[n], tensor(g)) for n, g in theirs.items()}
    assert max(errors.values()) <= TOLERANCE, {n: e for n, e in errors.items() if e > TOLERANCE}


@pytest.mark.parametrize("name", [name for name in MAPS if zoo.load(name).mix == "scan"])
def test_float32_is_as_close_to_the_official_numbers_as_the_plain_loop(name):
    golden = read(name)
    theirs = {"x": golden["gradient_x"], **golden["gradients"]}
    errors = {}
    for backend in ("loop", "auto"):
        y, ours = run(name, golden, backend, torch.float32)
        of = {n: relative(ours[n].double(), tensor(g)) for n, g in theirs.items()}
        errors[backend] = {"y": relative(y.double(), tensor(golden["y"])), **of}
    eps = torch.finfo(torch.float32).eps
    far = {n: e for n, e in errors["auto"].items() if e > 2 * errors["loop"][n] + 2 * eps}
    assert not far, far
