"""Who may import whom, read from the syntax tree, and what an import must not bring along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("zoo", "tasks", "runners", "results")
# Maps of one family of models each.
VOCABULARY = (
    *("zoo.discretisation", "zoo.state_space"),
    *("zoo.forget_gates", "zoo.rwkv", "zoo.delta_rule"),
)
# The first prefix that fits a module says what it may import of ours.
SEES = {
    "zoo.spec": (),
    "zoo.convolution": ("zoo.spec", "zoo.scan", "zoo.kernels"),
    "zoo.maps": ("zoo.spec", "zoo.convolution"),
    **dict.fromkeys(VOCABULARY, ("zoo.spec", "zoo.maps")),
    "zoo.state_space": ("zoo.spec", "zoo.maps", "zoo.discretisation"),
    "zoo.delta_rule": ("zoo.spec", "zoo.maps", "zoo.discretisation"),
    "zoo.models": ("zoo.spec", "zoo.maps", *VOCABULARY),
    "zoo.kernels": ("zoo.kernels",),
    "zoo.scan": ("zoo.spec", "zoo.scan", "zoo.rotation", "zoo.kernels"),
    **dict.fromkeys(("zoo.directions", "zoo.rows", "zoo.map_shapes"), ("zoo.spec",)),
    "zoo.recurrence": (
        *("zoo.spec", "zoo.rows", "zoo.scan"),
        *("zoo.rotation", "zoo.running_max"),
    ),
    "zoo.mixer": (
        *("zoo.spec", "zoo.maps", "zoo.directions", "zoo.recurrence"),
        *("zoo.running_max", "zoo.softmax", "zoo.map_shapes"),
    ),
    "zoo": ("zoo",),
    "tasks": ("tasks",),
    "results": ("results",),
    "runners": OURS,
}
FILES = sorted(path.relative_to(ROOT) for name in OURS for path in ROOT.glob(f"{name}/**/*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = path.parts[: len(path.parts) - node.level] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_follow_the_arrows(path):
    module = ".".join(path.with_suffix("").parts)
    allowed = next(seen for prefix, seen in SEES.items() if within(module, (prefix,)))
    wrong = {name for name in imports(path) if within(name, OURS) and not within(name, allowed)}
    assert not wrong, f"{module} may import {allowed or 'nothing of ours'}, but imports {wrong}"


def modules(package: str) -> str:
    parts = [path.with_suffix("").parts for path in FILES if path.parts[0] == package]
    return " ".join(".".join(part).removesuffix(".__init__") for part in parts)


@pytest.mark.parametrize(
    ("imported", "banned"),
    [
        ("zoo zoo.scan zoo.model", {"triton", "fla", "mamba_ssm", "causal_conv1d"}),
        (modules("tasks"), {"zoo", "runners", "results"}),
        (modules("results"), {"torch", "zoo", "tasks", "runners"}),
    ],
    ids=["zoo", "tasks", "results"],
)
def test_an_import_leaves_the_others_alone(imported, banned):
    code = "import sys, importlib; [importlib.import_module(name) for name in sys.argv[1:]]"
    code += "; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code, *imported.split()]
    loaded = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert not banned & set(loaded.stdout.split())
