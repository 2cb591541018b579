"""Rows of task `eval`: one for each trained model, task and metric."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import zoo
from results.harness_columns import column
from runners.harness_values import Value
from runners.provenance import provenance
from runners.trained import Trained, read_config
from runners.trained_files import CONFIG, TOKENISER, WEIGHTS

TASK = "eval"
VERSION = 1  # of how items are scored here
FEWSHOT = 0
LIBRARIES = ("lm_eval", "transformers", "datasets")
# Columns of what a task is; None is what is not known when it fails.
OF_TASK = (
    *("harness_task", "harness_version", "harness_sha256", "harness_source", "data_source"),
    *("items_sha256", "truncated", "details", "seconds"),
)
ACCURACIES = ("acc", "acc_norm")


def of_model(trained: Trained, folder: Path, device: torch.device) -> dict[str, Any]:
    """Columns of a trained model, which all its rows have."""
    told, about = read_config(folder), trained.about
    spec = zoo.load(told["zoo_model"])
    return {
        "model": told["zoo_model"],
        "label": spec.label,
        "family": spec.family,
        "run": about.get("key") or "",
        "folder": folder.name,
        "weights_sha256": files_sha256(folder),
        "corpus": about.get("corpus") or "",
        "tokeniser": about.get("tokeniser") or "",
        "tokens": about.get("tokens"),
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "d_model": told["d_model"],
        "depth": told["depth"],
        "seq_len": trained.seq_len,
        **{f"{name}_version": installed(name) for name in LIBRARIES},
        **provenance(device),
        "plugin_sha256": zoo.plugin_sha256(told["zoo_model"]),
    }


def files_sha256(folder: Path) -> str:
    """Of everything that decides what the model says."""
    found = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, TOKENISER):
        with (folder / name).open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def evaluation(weights_sha256: str, task_sha256: str, name: str, limit: int) -> str:
    """What one model on one task is called, whatever its metrics: 16 hex digits."""
    content = [TASK, VERSION, weights_sha256, task_sha256, name, limit, FEWSHOT]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def rows(
    model: dict[str, Any],
    task: dict[str, Any],
    name: str,
    limit: int,
    values: Sequence[Value],
    chance: float | None,
) -> list[dict[str, Any]]:
    """One row for each metric. task: columns of OF_TASK. limit: items at most, 0 for all."""
    return [
        blank(model, task, name, limit, value.metric)
        | {
            "value": value.value,
            "stderr": value.stderr,
            "n": value.n,
            "higher_is_better": value.higher_is_better,
            "chance": chance if value.metric in ACCURACIES else None,
            "status": "ok" if value.value is not None else "failed",
            "error": "" if value.value is not None else "the metric is no number",
        }
        for value in values
    ]


def failed(
    model: dict[str, Any], task: dict[str, Any], name: str, limit: int, error: str
) -> dict[str, Any]:
    """The row of a task that came to nothing."""
    return blank(model, task, name, limit, "") | {"status": "failed", "error": error}


def blank(
    model: dict[str, Any], task: dict[str, Any], name: str, limit: int, metric: str
) -> dict[str, Any]:
    which = evaluation(model["weights_sha256"], str(task.get("harness_sha256")), name, limit)
    return {
        "key": hashlib.sha256(f"{which} {metric}".encode()).hexdigest()[:16],
        "task": TASK,
        "task_version": VERSION,
        "evaluation": which,
        **model,
        **dict.fromkeys(OF_TASK),
        **task,
        "harness_task": name,
        "metric": metric,
        "column": column(name, metric),
        "fewshot": FEWSHOT,
        "limit": limit,
        **dict.fromkeys(("value", "stderr", "n", "chance", "higher_is_better")),
        "status": "ok",
        "error": "",
    }
