"""run(config) -> row for a language model: the test split is looked at once, at the very end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from runners import columns, flops, kept, lm, lra_run
from runners.checkpoint import Checkpoints
from runners.execution import Execution
from runners.forms import form_of
from runners.keeper import Best, Keeper
from runners.lm_config import Lm, build
from runners.lm_outcome import keep, tested
from runners.loop import Progress, evaluating, train
from runners.memory import lack_of_memory
from runners.provenance import PeakMemory
from runners.team import ALONE, Team
from tasks.lm import METRIC
from tasks.lm.data import Data, open_data
from zoo.model import Model, state_bytes

ONE_BY_ONE = Execution()
# What decides whether a checkpoint is of this run.
IDENTITY = ("key", "plugin_sha256", "data_sha256")
OWN = (
    *("value_nats", "token_perplexity", "word_perplexity", "test_bytes", "test_scored_tokens"),
    *("by_position", "probes", "flops_per_token", "baselines", "data_source", "tokeniser_sha256"),
    *("epochs", "model_folder"),
)


def run(
    config: Lm,
    *,
    preset: str = "",
    progress: Progress | None = None,
    execution: Execution = ONE_BY_ONE,
    data: Path = Path("data"),
    checkpoints: Path | None = None,
    every: float = 10.0,
    models: Path | None = None,
    team: Team = ALONE,
) -> dict[str, Any]:
    """Trains and tests one model; divergence and lack of memory come back as rows, too.

    data: folder of the token caches. checkpoints: folder of those of all runs, from which this one
    continues; None keeps none. every: minutes between two. models: folder that gets the trained
    model as a folder of its own, named by the run's key; None keeps none. progress: called after
    each validation with the updates made and {"valid": bits per byte, "loss": nats}. team: the
    processes that train this model together, each of which calls this. Raises: MissingData.
    """
    found = open_data(config.corpus, config.tokeniser, data)
    check_sizes(config, found)
    device = team.device
    torch.set_flush_denormal(True)
    begin, memory = time.perf_counter(), PeakMemory(device)
    row = empty_row(config, preset, device) | {
        "step_form": form_of(execution, device),
        "processes": team.size,
        "strategy": team.strategy,
        "baselines": found.baselines,
        "data_source": found.source,
        "data_sha256": found.sha256,
        "tokeniser_sha256": found.tokeniser.sha256,
    }
    store = None
    if checkpoints is not None:
        identity = {name: row[name] for name in IDENTITY}
        store = Checkpoints(kept.folder_of(checkpoints, config.key), identity)
    with lack_of_memory() as lacking:
        model = train_and_test(config, found, row, progress, execution, store, every, team)
        if models is not None and row["status"] == "ok":
            row["model_folder"] = keep(model, config, found, row, models, team)
    if lacking:
        lacking.append(
            f"batches were split into {row['accumulated']} parts; type a smaller --batch or"
            " --seq-len"
        )
        row |= {"status": "oom", "stop": "oom", "error": "; ".join(lacking), "value": None}
        torch.cuda.empty_cache()
    row["seconds"] += time.perf_counter() - begin
    row["peak_memory_bytes"], row["peak_memory_kind"] = memory.bytes(), memory.kind
    return row


def check_sizes(config: Lm, data: Data) -> None:
    """Raises: ValueError where a split has no window, or the tokeniser is not the config's."""
    for split in ("train", "valid", "test"):
        count = len(getattr(data, split).ids)
        if count <= config.seq_len:
            raise ValueError(
                f"{split} of {config.corpus} has {count:,} tokens, and a window needs"
                f" {config.seq_len + 1:,}; type a smaller seq_len, or a larger corpus"
            )
    if data.tokeniser.vocabulary > config.vocabulary:
        raise ValueError(
            f"tokeniser {config.tokeniser} has {data.tokeniser.vocabulary:,} tokens in the data and"
            f" {config.vocabulary:,} in the run; type: lazoo data lm {config.corpus}"
            f" --tokeniser {config.tokeniser}"
        )


def train_and_test(
    config: Lm,
    data: Data,
    row: dict[str, Any],
    progress: Progress | None,
    execution: Execution,
    store: Checkpoints | None,
    minutes: float,
    team: Team,
) -> Model:
    """Fills `row` as it goes, so that what is known stays known if memory runs out."""
    torch.manual_seed(config.seed)
    model = build(config, "cpu").to(team.device)
    with evaluating(model):
        row |= columns.sizes(model) | {"state_bytes": state_bytes(model, config.seq_len)}
    row["flops_per_token"] = flops.per_token(model, config.seq_len)
    model, step = team.set_up(model, config, lm.loss, execution)
    row["step_form"], token_bytes = step.form, data.tokeniser.token_bytes

    def evaluate(number: int) -> float:
        what = (config, data.valid, token_bytes, config.valid_tokens, team.device)
        with evaluating(team.whole(model)) as whole:
            return lm.score(whole, *what, team=team).bits_per_byte

    keeper = Keeper(store, minutes, model, step, Best(False), row, team)
    training = keeper.resume()
    row["seconds"] = keeper.seconds
    batches = lm.batches(config, data, team.device, done=training.updates, team=team)
    try:
        with keeper.at_work():
            how = {"progress": progress, "training": training, "keep": keeper.offer}
            outcome = train(step, config, batches, evaluate, **how)[0]
    finally:
        row |= keeper.columns() | {"accumulated": step.parts.number}
    row |= columns.trained(outcome)
    if row["tokens_per_second"] is not None:
        row["tokens_per_second"] *= team.size
    row["epochs"] = outcome.steps * config.batch / lm.windows(config, data.train)
    if outcome.stop != "diverged":
        with evaluating(team.whole(model)) as whole:
            row |= tested(whole, config, data, team)
    row["backends"] = model.backends()
    return model


def empty_row(config: Lm, preset: str, device: torch.device) -> dict[str, Any]:
    """Every column, so that all rows have the same ones; None is what is not known."""
    own = {
        **dict.fromkeys(OWN),
        "inner": config.inner,
        "vocabulary": config.vocabulary,
        "processes": 1,
        "strategy": "",
        "accumulated": config.accumulate,
        "resumed": 0,
        "resumed_notes": "",
        "seconds": 0.0,
    }
    return columns.blank(config, preset, device, METRIC, **own)


def of_execution(execution: Execution) -> dict[str, Any]:
    """The arguments of `run` that a sweep decides."""
    models = Path(execution.models) if execution.models else None
    return lra_run.of_execution(execution) | {"models": models}
