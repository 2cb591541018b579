"""Tasks by name: which definition of lm-evaluation-harness is meant, or which one of ours."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from results.harness_columns import SUITES
from runners import harness_data
from tasks.lm import harness

# Where the harness keeps the definition of a task, if not in a folder of the task's name. To look
# through all its folders takes many seconds.
FOLDERS = {
    "lambada_openai": "lambada",
    "arc_easy": "arc",
    "arc_challenge": "arc",
    **dict.fromkeys(("wsc", "wic", "sglue_rte", "cb", "boolq", "copa"), "super_glue"),
}


@dataclass(frozen=True)
class Definition:
    """One task. source: of its definition; the harness' own, ours, or a file of the user's.

    config: what the file says, functions unresolved. local: its data as JSON lines, if they are
    here; a user's own file says itself where its data are.
    """

    name: str
    path: Path
    source: str
    config: dict[str, Any]
    local: Path | None = None

    @property
    def sha256(self) -> str:
        """Of what decides the items and their prompts, as far as it is on this machine."""
        # A function is named by the path of its file, which is another one on each machine.
        named = [each for each in strings(self.config) if code(each).is_file()]
        config = json.dumps(self.config, sort_keys=True, default=str)
        for each in named:
            config = config.replace(each, Path(each).name)
        found = hashlib.sha256(config.encode())
        for path in [*sorted({code(each) for each in named}), *self.files]:
            found.update(path.read_bytes())
        return found.hexdigest()

    @property
    def files(self) -> list[Path]:
        """Data on this machine that are named beforehand."""
        if self.local:
            return [self.local]
        files = (self.config.get("dataset_kwargs") or {}).get("data_files") or {}
        values = files.values() if isinstance(files, dict) else [files]
        listed = [name for each in values for name in ([each] if isinstance(each, str) else each)]
        return [Path(name) for name in listed if Path(name).is_file()]

    @property
    def data(self) -> str:
        """Where the data come from, in words."""
        if self.local:
            return f"local {self.local.name}"
        name = self.config.get("dataset_name")
        return " ".join(filter(None, [str(self.config.get("dataset_path") or "own"), name]))


def strings(content: Any) -> list[str]:
    """All strings among the values of nested dictionaries and lists."""
    if isinstance(content, str):
        return [content]
    values = content.values() if isinstance(content, dict) else content
    return [s for v in values for s in strings(v)] if isinstance(content, dict | list) else []


def code(function: str) -> Path:
    """The file of a function that is named `/folder/module.function`, where it is one."""
    known = function.startswith("/") and "\n" not in function and len(function) < 1000
    return Path(function).with_suffix(".py") if known and Path(function).name else Path()


def names(words: Sequence[str]) -> list[str]:
    """Task names and files that the words stand for: suites are spelt out, none comes twice."""
    listed = [name for word in words for name in SUITES.get(word, (word,))]
    return list(dict.fromkeys(listed))


def definition(name: str, local: Path | None) -> Definition:
    """Raises: ValueError for a name that nothing has, and for a group of tasks."""
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise ValueError(
                f"there is no file {name}; --tasks takes names of tasks, or such files"
            )
        found = indexed(Path(name).parent, path=Path(name))
        return Definition(found.name, Path(name).resolve(), "file", found.cfg)
    own = harness.TASKS.get(name)
    found = indexed(own.parent, name) if own else of_the_harness(name)
    source = "linear-attention-zoo" if own else "lm_eval"
    return Definition(name, found.yaml_path, source, found.cfg, harness_data.file(name, local))


def of_the_harness(name: str) -> Any:
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / "tasks"
    near = folder / FOLDERS.get(name, name)
    return (indexed(near, name, must=False) if near.is_dir() else None) or indexed(folder, name)


def indexed(folder: Path, name: str = "", *, path: Path | None = None, must: bool = True) -> Any:
    """The harness' entry of a task: the one of that name, or the one of that file."""
    from lm_eval.tasks import TaskManager

    index = TaskManager(include_path=folder, include_defaults=False).task_index
    entries = {key: (entry, entry.yaml_path) for key, entry in index.items() if entry.yaml_path}
    if path is not None:
        found = next((entry for entry, at in entries.values() if at.samefile(path)), None)
    else:
        found = entries.get(name, (None,))[0]
    if found is None and must:
        known = [*SUITES, *entries] if path is None else []
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"type one of {', '.join(SUITES)}"
        what = f"{path} defines no task of its own" if path else f"{name} is no task"
        raise ValueError(f"{what}; {hint}")
    if found is not None and found.kind.name != "TASK":
        raise ValueError(f"{found.name} is a {found.kind.name.lower()}; name single tasks")
    return found
