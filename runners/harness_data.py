"""Data of tasks: JSON lines on this machine in place of a hub, and what to do where both lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.harness_columns import NIAH

if TYPE_CHECKING:
    from runners.harness_tasks import Definition

LOGIQA = "logiqa"  # its authors' file will do
SPLIT = "local"  # the split that local data are evaluated as
YAML = (".yaml", ".yml")


def needs_network(name: str, local: Path | None) -> bool:
    """Whether a task's data may come from the network, as far as can be told without a library."""
    if name == NIAH or file(name, local):
        return False
    path = Path(name)
    if not name.endswith(YAML) or not path.is_file():
        return True
    text = path.read_text(encoding="utf-8")
    return "://" in text or not ("data_files" in text or "custom_dataset" in text)


def file(name: str, folder: Path | None) -> Path | None:
    """The local data of a task: NAME.jsonl, and for LogiQA also its authors' file."""
    if folder is None:
        return None
    ends = [".jsonl", ".json", *[".txt"] * (name == LOGIQA)]
    return next((p for end in ends if (p := folder / f"{name}{end}").is_file()), None)


def stub(task: Definition, folder: Path) -> Path:
    """A file in which the harness finds the task: its own definition, without examples in front.

    Local data take the place of the data set. The folder also gets the cache of what is read.
    """
    content: dict[str, Any] = {"include": str(task.path), "task": task.name, "num_fewshot": 0}
    if task.local:
        document = task.local.suffix == ".txt"
        content |= dict.fromkeys(("dataset_name", "training_split", "fewshot_split", "test_split"))
        content |= {
            "dataset_path": "text" if document else "json",
            "dataset_kwargs": {
                "data_files": {SPLIT: str(task.local.resolve())},
                "cache_dir": str(folder / "cache"),
                **({"sample_by": "document"} if document else {}),
            },
            "validation_split": SPLIT,
        }
    path = folder / f"{task.name}.yaml"
    # JSON is YAML, and needs no library to be written.
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def loaded(task: Definition, folder: Path) -> Any:
    """The harness' task with its data."""
    from lm_eval.tasks import TaskManager

    found = TaskManager(include_defaults=False).load([str(stub(task, folder))])["tasks"]
    return next(iter(found.values()))


def without_data(task: Definition, local: Path | None) -> str:
    """What to put where, for a task whose data are neither here nor to be had."""
    folder = local or Path("data/harness")
    here = "" if local else f"; then type --local {folder}"
    if task.name == LOGIQA:
        where = task.config["dataset_kwargs"]["data_files"]["test"]
        return f"no data: put {where} into {folder} as logiqa.txt{here}"
    if task.source == "file" or not task.config.get("dataset_path"):
        return f"no data: {task.path} says where they should be, and nothing is there"
    name = task.config.get("dataset_name")
    what = ", ".join(repr(each) for each in (task.config["dataset_path"], name) if each)
    split = task.config.get("test_split") or task.config.get("validation_split")
    path = folder / f"{task.name}.jsonl"
    return (
        f'no network, and no {path}; where there is one, type: python -c "from datasets import'
        f' load_dataset; load_dataset({what}, split={split!r}).to_json({path.as_posix()!r})"{here}'
    )
