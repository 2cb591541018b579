"""run(config) -> row: data, model, training, and one look at the test set at the very end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from runners import columns, mqar
from runners.config import Mqar, build
from runners.execution import Execution
from runners.forms import form_of, make_device_step, make_step
from runners.loop import Outcome, Progress, evaluating, train
from runners.memory import lack_of_memory
from runners.provenance import PeakMemory
from runners.stacked import Stacked
from runners.step import Step
from tasks.mqar import METRIC
from zoo.model import Model, state_bytes

ONE_BY_ONE = Execution()


def run(
    config: Mqar,
    *,
    preset: str = "",
    progress: Progress | None = None,
    execution: Execution = ONE_BY_ONE,
) -> dict[str, Any]:
    """Trains and tests one model; divergence and lack of memory come back as rows, too.

    The weights that are tested are those of the last update made. progress: called after each
    validation with the updates made and {"valid": accuracy, "loss": nats}.
    """
    return run_together([config], {config.key: preset}, progress, execution)[0]


def run_together(
    configs: Sequence[Mqar],
    presets: Mapping[str, str],
    progress: Progress | None,
    execution: Execution,
) -> list[dict[str, Any]]:
    """`run` for configs that are equal but for lr and seed, all of which make every update at once.

    Each row has its share of the seconds, which so add up to what the group took, and the peak
    memory of the whole group. progress: told means over the models that are still in training.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_flush_denormal(True)
    begin, memory = time.perf_counter(), PeakMemory(device)
    how = {"stacked": len(configs), "step_form": form_of(execution, device)}
    rows = [empty_row(config, presets.get(config.key, ""), device) | how for config in configs]
    with lack_of_memory() as lacking:
        train_and_test(configs, device, rows, progress, execution)
    if lacking:
        if (many := len(configs)) > 1:
            lacking.append(f"{many} models trained as one: type --stack {many // 2}")
        for row in rows:
            row |= {"status": "oom", "stop": "oom", "error": "; ".join(lacking)}
            row |= {"value": None, "value_by_setting": None}
        torch.cuda.empty_cache()
    for row in rows:
        row["seconds"] = (time.perf_counter() - begin) / len(rows)
        row["peak_memory_bytes"], row["peak_memory_kind"] = memory.bytes(), memory.kind
    return rows


def train_and_test(
    configs: Sequence[Mqar],
    device: torch.device,
    rows: Sequence[dict[str, Any]],
    progress: Progress | None,
    execution: Execution,
) -> None:
    """Fills `rows` as it goes, so that what is known stays known if memory runs out."""
    config, models = configs[0], list[Model]()
    for each, row in zip(configs, rows, strict=True):
        torch.manual_seed(each.seed)
        models.append(build(each, device))
        row |= model_columns(models[-1], each)
    sets = mqar.splits(config, device)
    epoch = mqar.epoch_updates(config, sets.train)
    leave = mqar.plateau_ends_at(sets.valid)
    chance = mqar.pooled([segment.setting.chance for segment in sets.test], sets.test)
    for row in rows:
        row |= {"data_sha256": sets.sha256, "epoch_updates": epoch, "chance": chance}
        row["left_plateau_above"] = leave

    def evaluate(number: int) -> float:
        with evaluating(models[number]) as model:
            return mqar.pooled(mqar.scores(model, sets.valid, config.precision), sets.valid)

    step = step_of(models, configs, device, execution, epoch)
    outcomes = train(step, config, mqar.batches(config, sets.train), evaluate, progress=progress)
    for model, outcome, row in zip(models, outcomes, rows, strict=True):
        row |= outcome_columns(outcome, leave)
        row["backends"] = model.backends()
        if outcome.stop != "diverged":
            row |= test_columns(model, sets, config)


def step_of(
    models: Sequence[Model],
    configs: Sequence[Mqar],
    device: torch.device,
    execution: Execution,
    epoch: int,
) -> Step:
    how = {"device": device, "execution": execution, "epoch": epoch}
    if len(models) == 1:
        return make_step(models[0], configs[0], mqar.loss, **how)
    return make_device_step(Stacked(models, mqar.loss), configs, **how)


def test_columns(model: Model, sets: mqar.Splits, config: Mqar) -> dict[str, Any]:
    """The one look at the test set."""
    with evaluating(model):
        scores = mqar.scores(model, sets.test, config.precision)
    names = [f"{s.setting.length}/{s.setting.pairs}" for s in sets.test]
    by_setting = dict(zip(names, scores, strict=True))
    return {"value": mqar.pooled(scores, sets.test), "value_by_setting": by_setting}


def empty_row(config: Mqar, preset: str, device: torch.device) -> dict[str, Any]:
    """Every column, so that all rows have the same ones; None is what is not known."""
    own = "value_by_setting left_plateau left_plateau_at left_plateau_above"
    return columns.blank(config, preset, device, METRIC, **dict.fromkeys(own.split()))


def model_columns(model: Model, config: Mqar) -> dict[str, Any]:
    """Sizes, counted and measured. state_bytes: one sequence of the longest test length."""
    model.eval()
    return columns.sizes(model) | {"state_bytes": state_bytes(model, config.max_length)}


def outcome_columns(outcome: Outcome, leave: float) -> dict[str, Any]:
    """What training says. leave: accuracy above which the plateau of guessing is left."""
    curve = list(zip(outcome.curve_steps, outcome.curve_valid, strict=True))
    left_at = next((update for update, metric in curve if metric > leave), None)
    left = {"left_plateau": left_at is not None, "left_plateau_at": left_at}
    return columns.trained(outcome) | left
