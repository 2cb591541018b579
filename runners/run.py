"""run(config) -> row: data, model, training, and one look at the test set at the very end."""

from __future__ import annotations

import time
from typing import Any

import torch

import zoo
from runners import mqar
from runners.config import Mqar, build
from runners.provenance import PeakMemory, provenance
from runners.train import Outcome, Progress, train
from tasks.mqar import METRIC
from zoo.model import Model, parameters_by_role, state_bytes


def run(config: Mqar, *, preset: str = "", progress: Progress | None = None) -> dict[str, Any]:
    """Trains and tests one model; divergence and lack of memory come back as rows, too.

    The weights that are tested are those of the last update made. progress: called after each
    validation with the updates made and {"valid": accuracy, "loss": nats}.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_flush_denormal(True)
    torch.manual_seed(config.seed)
    row, begin, memory = empty_row(config, preset, device), time.perf_counter(), PeakMemory(device)
    lacking = ""
    try:
        train_and_test(config, device, row, progress)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        lacking = str(error).splitlines()[0] if str(error) else "out of memory"
    # Outside of the except block, whose traceback would keep the tensors alive.
    if lacking:
        row |= {"status": "oom", "stop": "oom", "error": lacking, "value": None}
        torch.cuda.empty_cache()
    row["seconds"] = time.perf_counter() - begin
    row["peak_memory_bytes"], row["peak_memory_kind"] = memory.bytes(), memory.kind
    return row


def train_and_test(
    config: Mqar, device: torch.device, row: dict[str, Any], progress: Progress | None
) -> None:
    """Fills `row` as it goes, so that what is known stays known if memory runs out."""
    model = build(config, device)
    row |= model_columns(model, config)
    sets = mqar.splits(config, device)
    epoch = mqar.epoch_updates(config, sets.train)
    leave = mqar.plateau_ends_at(sets.valid)
    row |= {"data_sha256": sets.sha256, "epoch_updates": epoch, "left_plateau_above": leave}
    chances = [segment.setting.chance for segment in sets.test]
    row["chance"] = mqar.pooled(chances, sets.test)

    def evaluate() -> float:
        return mqar.pooled(mqar.scores(model, sets.valid, config.precision), sets.valid)

    batches = mqar.batches(config, sets.train)
    outcome = train(
        model, config, batches, mqar.loss, evaluate, epoch_updates=epoch, progress=progress
    )
    row |= outcome_columns(outcome, leave)
    row["backends"] = model.backends()
    if outcome.stop == "diverged":
        return
    model.eval()
    with torch.no_grad():
        scores = mqar.scores(model, sets.test, config.precision)
    names = [f"{s.setting.length}/{s.setting.pairs}" for s in sets.test]
    row["value"] = mqar.pooled(scores, sets.test)
    row["value_by_setting"] = dict(zip(names, scores, strict=True))


def empty_row(config: Mqar, preset: str, device: torch.device) -> dict[str, Any]:
    """Every column, so that all rows have the same ones; None is what is not known."""
    spec = zoo.load(config.model)
    unknown = (
        "value value_by_setting valid chance left_plateau left_plateau_at left_plateau_above"
        " train_loss parameters parameters_embedding parameters_by_role state_bytes epoch_updates"
        " step_seconds tokens_per_second data_sha256"
    )
    return {
        "key": config.key,
        "task": config.task,
        "task_version": config.task_version,
        "preset": preset,
        "label": spec.label,
        "family": spec.family,
        **config.model_dump(mode="json"),
        "metric": METRIC.name,
        "higher_is_better": METRIC.higher_is_better,
        **dict.fromkeys(unknown.split()),
        "steps": 0,
        "stop": "",
        "curve_steps": [],
        "curve_valid": [],
        "curve_loss": [],
        "backends": [],
        "status": "ok",
        "error": "",
        **provenance(device),
        "plugin_sha256": zoo.plugin_sha256(config.model),
    }


def model_columns(model: Model, config: Mqar) -> dict[str, Any]:
    """Sizes, counted and measured. state_bytes: one sequence of the longest test length."""
    roles = parameters_by_role(model)
    model.eval()
    return {
        "parameters": sum(roles.values()),
        "parameters_embedding": roles["embedding"] + roles["head"],
        "parameters_by_role": roles,
        "state_bytes": state_bytes(model, config.max_length),
    }


def outcome_columns(outcome: Outcome, leave: float) -> dict[str, Any]:
    """What training says. leave: accuracy above which the plateau of guessing is left."""
    curve = list(zip(outcome.curve_steps, outcome.curve_valid, strict=True))
    left_at = next((update for update, metric in curve if metric > leave), None)
    return {
        "status": "diverged" if outcome.stop == "diverged" else "ok",
        "stop": outcome.stop,
        "error": outcome.error,
        "steps": outcome.steps,
        "valid": outcome.curve_valid[-1] if outcome.curve_valid else None,
        "left_plateau": left_at is not None,
        "left_plateau_at": left_at,
        "curve_steps": outcome.curve_steps,
        "curve_valid": outcome.curve_valid,
        "curve_loss": outcome.curve_loss,
        "train_loss": outcome.curve_loss[-1] if outcome.curve_loss else None,
        "step_seconds": outcome.step_seconds,
        "tokens_per_second": outcome.tokens_per_second,
    }


def is_out_of_memory(error: BaseException) -> bool:
    """torch has an exception type for a GPU only; a CPU's allocator says so in words."""
    words = ("DefaultCPUAllocator", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        word in str(error) for word in words
    )
