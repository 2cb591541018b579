"""run(config) -> row for the Long Range Arena: the test set is looked at once, at the very end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from runners import columns, kept, lra
from runners.checkpoint import Checkpoints
from runners.execution import Execution
from runners.forms import form_of, make_step
from runners.keeper import Best, Keeper
from runners.loop import Outcome, Progress, evaluating, train
from runners.lra_config import Lra, build
from runners.memory import lack_of_memory
from runners.parts import has_batch_norm
from runners.provenance import PeakMemory
from tasks.lra import METRIC
from tasks.lra.arrays import Rows
from tasks.lra.data import Data, open_data

ONE_BY_ONE = Execution()
# What decides whether a checkpoint is of this run.
IDENTITY = ("key", "plugin_sha256", "data_sha256")


def run(
    config: Lra,
    *,
    preset: str = "",
    progress: Progress | None = None,
    execution: Execution = ONE_BY_ONE,
    data: Path = Path("data"),
    checkpoints: Path | None = None,
    every: float = 10.0,
) -> dict[str, Any]:
    """Trains and tests one model; divergence and lack of memory come back as rows, too.

    data: folder of the data sets. checkpoints: folder of those of all runs, from which this one
    continues; None keeps none. every: minutes between two. progress: called after each validation
    with the updates made and {"valid": accuracy, "loss": nats}. Raises: MissingData.
    """
    found = open_data(config.dataset, data, config.selection)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_flush_denormal(True)
    begin, memory = time.perf_counter(), PeakMemory(device)
    row: dict[str, Any] = empty_row(config, preset, device) | {
        "step_form": form_of(execution, device)
    }
    row |= {"baselines": found.baselines, "data_source": found.source, "data_sha256": found.sha256}
    store = None
    if checkpoints is not None:
        identity = {name: row[name] for name in IDENTITY}
        store = Checkpoints(kept.folder_of(checkpoints, config.key), identity)
    with lack_of_memory() as lacking:
        train_and_test(config, found, device, row, progress, execution, store, every)
    if lacking:
        lacking.append(remedy(config, row["accumulated"]))
        row |= {"status": "oom", "stop": "oom", "error": "; ".join(lacking), "value": None}
        torch.cuda.empty_cache()
    row["seconds"] += time.perf_counter() - begin
    row["peak_memory_bytes"], row["peak_memory_kind"] = memory.bytes(), memory.kind
    return row


def train_and_test(
    config: Lra,
    data: Data,
    device: torch.device,
    row: dict[str, Any],
    progress: Progress | None,
    execution: Execution,
    store: Checkpoints | None,
    minutes: float,
) -> None:
    """Fills `row` as it goes, so that what is known stays known if memory runs out."""
    torch.manual_seed(config.seed)
    model = build(config, device)
    row |= columns.sizes(model)
    epoch, best = config.epoch_updates, Best(config.test_weights == "best")
    step = make_step(model, config, lra.loss, device=device, execution=execution, epoch=epoch)

    def score(rows: Rows) -> float:
        with evaluating(model):
            return lra.score(model, config, rows, device, parts=step.parts.number)

    def evaluate(number: int) -> float:
        valid = score(data.valid)
        best.offer(valid, model)
        return valid

    keeper = Keeper(store, minutes, model, step, best, row)
    training = keeper.resume()
    row["seconds"] = keeper.seconds
    batches = lra.batches(config, data, device, done=training.updates)
    try:
        with keeper.at_work():
            how = {"progress": progress, "training": training, "keep": keeper.offer}
            outcome = train(step, config, batches, evaluate, **how)[0]
    finally:
        row |= keeper.columns() | {"accumulated": step.parts.number}
    row |= columns.trained(outcome) | tested(outcome, best.wanted)
    row["epochs"] = outcome.steps / epoch
    if outcome.stop != "diverged":
        best.put_into(model)
        row["value"] = score(data.test)
    row["backends"] = model.backends()


def tested(outcome: Outcome, best: bool) -> dict[str, Any]:
    """Of which weights the test tells, and their validation; None before the first one."""
    if not outcome.curve_valid:
        return {"valid": None, "best_update": None}
    valid = max(outcome.curve_valid) if best else outcome.curve_valid[-1]
    first = outcome.curve_valid.index(valid) if best else -1
    return {"valid": valid, "best_update": outcome.curve_steps[first]}


def remedy(config: Lra, parts: int) -> str:
    """What to type where memory lacked. parts: in how many a batch was split by then."""
    if has_batch_norm(config) and parts < config.batch:
        return (
            f"batch norm reads statistics of what is seen at once, so batches are split only when"
            f" asked: type --accumulate {min(2 * parts, config.batch)}"
        )
    return f"batches were split into {parts} parts; type a smaller --batch or --d-model"


def empty_row(config: Lra, preset: str, device: torch.device) -> dict[str, Any]:
    """Every column, so that all rows have the same ones; None is what is not known."""
    dataset = config.data
    own = {
        **dict.fromkeys(("baselines", "data_source", "best_update", "epochs")),
        "dataset_kind": dataset.kind,
        "dataset_of": dataset.of,
        "accumulated": config.accumulate,
        "resumed": 0,
        "resumed_notes": "",
        "seconds": 0.0,
    }
    known = {"chance": dataset.chance, "epoch_updates": config.epoch_updates}
    return columns.blank(config, preset, device, METRIC, **own) | known


def of_execution(execution: Execution) -> dict[str, Any]:
    """The arguments of `run` that a sweep decides."""
    return {
        "execution": execution,
        "data": Path(execution.data),
        "checkpoints": Path(execution.checkpoints) if execution.checkpoints else None,
        "every": execution.checkpoint_minutes,
    }
