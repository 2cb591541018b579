"""The columns that rows of every task share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import zoo
from runners.base import Run
from runners.loop import Outcome
from runners.provenance import provenance
from tasks.base import Metric
from zoo.model import parameters_by_role

# Not known before the run.
UNKNOWN = (
    *("value", "valid", "chance", "train_loss", "parameters", "parameters_embedding"),
    *("parameters_by_role", "state_bytes", "epoch_updates", "step_seconds", "tokens_per_second"),
    "data_sha256",
)


def blank(
    config: Run, preset: str, device: torch.device, metric: Metric, **own: Any
) -> dict[str, Any]:
    """Every column, so that all rows of a task have the same ones; None is what is not known.

    own: the task's own columns.
    """
    spec = zoo.load(config.model)
    return {
        "key": config.key,
        "task": config.task,
        "task_version": config.task_version,
        "preset": preset,
        "label": spec.label,
        "family": spec.family,
        **config.model_dump(mode="json"),
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        **dict.fromkeys(UNKNOWN),
        **own,
        "steps": 0,
        "stop": "",
        "curve_steps": [],
        "curve_valid": [],
        "curve_loss": [],
        "backends": [],
        "stacked": 1,
        "step_form": "",
        "status": "ok",
        "error": "",
        **provenance(device),
        "plugin_sha256": zoo.plugin_sha256(config.model),
    }


def sizes(model: nn.Module) -> dict[str, Any]:
    """Parameters, counted."""
    roles = parameters_by_role(model)
    return {
        "parameters": sum(roles.values()),
        "parameters_embedding": roles["embedding"] + roles["head"],
        "parameters_by_role": roles,
    }


def trained(outcome: Outcome) -> dict[str, Any]:
    """What training says."""
    return {
        "status": "diverged" if outcome.stop == "diverged" else "ok",
        "stop": outcome.stop,
        "error": outcome.error,
        "steps": outcome.steps,
        "valid": outcome.curve_valid[-1] if outcome.curve_valid else None,
        "curve_steps": outcome.curve_steps,
        "curve_valid": outcome.curve_valid,
        "curve_loss": outcome.curve_loss,
        "train_loss": outcome.curve_loss[-1] if outcome.curve_loss else None,
        "step_seconds": outcome.step_seconds,
        "tokens_per_second": outcome.tokens_per_second,
    }
