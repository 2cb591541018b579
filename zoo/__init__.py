"""The model zoo: what is compared. The registry is the file system: zoo/models/*.py is the list.

zoo.names() lists it, zoo.load("metala") gives a Spec, zoo.load("metala:mqar+no_aug") one with
variants. Importing this package loads no model and no optional library.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.spec import Spec

ENTRY_POINTS = "linear_attention_zoo.models"
_plugins: dict[str, ModuleType] = {}


def names() -> list[str]:
    """Every model that `load` knows: files of zoo/models, installed entry points, plugins."""
    files = Path(__file__).parent.joinpath("models").glob("*.py")
    own = {path.stem for path in files if not path.stem.startswith("_")}
    return sorted(own | set(_installed()) | set(_plugins))


def load(name: str) -> Spec:
    """The Spec of `model` or `model:variant+variant`.

    Raises: ValueError with close matches when model or variant is unknown.
    """
    model, _, wanted = name.partition(":")
    module = _module(model)
    spec = module.SPEC
    known = getattr(module, "VARIANTS", {})
    for variant in wanted.split("+") if wanted else []:
        if variant not in known:
            raise ValueError(
                f"{model} has no variant {variant!r}{suggest(variant, list(known)) or ';'} "
                f"its variants are {', '.join(known) or 'none'} (lazoo models {model})"
            )
        spec = known[variant](spec)
    return spec


def variants(name: str) -> list[str]:
    """Names of the variants that `model:variant` accepts."""
    return list(getattr(_module(name.partition(":")[0]), "VARIANTS", {}))


def documentation(name: str) -> str:
    """The docstring of a model's file: paper, source, and where the two differ."""
    return (_module(name.partition(":")[0]).__doc__ or "").strip()


def plugin(path: str | Path) -> str:
    """Makes a user's file a model of this process; its name is the file's. Returns the name.

    Raises: ValueError when the file is missing, has no SPEC, or takes the name of another model.
    """
    path = Path(path)
    name = path.stem
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(
            f"plugin {path} is not a Python file; give the path of a file with a SPEC in it"
        )
    held = _plugins.get(name)
    if held is not None and held.__file__ == str(path.resolve()):
        return name
    if name in names():
        raise ValueError(f"plugin {path}: the zoo has a model named {name}; rename the file")
    found = importlib.util.spec_from_file_location(f"zoo_plugin_{name}", path.resolve())
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    if not hasattr(module, "SPEC"):
        raise ValueError(
            f"plugin {path} defines no SPEC; see zoo/models/linformer.py for a short example"
        )
    _plugins[name] = module
    return name


def plugin_sha256(name: str) -> str:
    """Hash of the file behind a plugin model, "" for every other model."""
    module = _plugins.get(name.partition(":")[0])
    if module is None or module.__file__ is None:
        return ""
    return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()


def suggest(given: str, known: list[str]) -> str:
    """A clause such as "; did you mean metala?", or nothing."""
    close = difflib.get_close_matches(given, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


@functools.cache
def _installed() -> dict[str, EntryPoint]:
    """Models that installed packages offer, by name. Looking through all packages takes a while."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _module(name: str) -> ModuleType:
    if name in _plugins:
        return _plugins[name]
    if name not in names():
        raise ValueError(
            f"model {name!r} is not in the zoo{suggest(name, names()) or '.'} "
            f"It has: {', '.join(names())} (lazoo models shows them; --plugin FILE adds one)"
        )
    if name in _installed():
        return _installed()[name].load()
    return importlib.import_module(f"zoo.models.{name}")
