"""Trained models under lm-evaluation-harness: zero-shot, one task after the other, into rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from results.harness_columns import NIAH
from results.store import Store
from runners import harness_data, harness_niah, harness_rows, harness_tasks, harness_values
from runners.engines.worker import describe
from runners.harness_lm import language_model
from runners.harness_quiet import quiet
from runners.harness_score import Scorer
from runners.harness_tasks import Definition
from runners.trained import Trained, load

Row = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """local: folder of data, None for none. limit: items of each task, 0 for all. batch: rows that
    a model reads at a time. force: also do what is stored."""

    local: Path | None = None
    limit: int = 0
    batch: int = 16
    force: bool = False


def definitions(names: Sequence[str], how: How) -> list[Definition | str]:
    """What each task is, in the order of its names. Raises: ValueError for unknown ones."""
    with quiet():
        return [
            name if name == NIAH else harness_tasks.definition(name, how.local) for name in names
        ]


def evaluate(
    folder: Path, tasks: Sequence[Definition | str], how: How, store: Store, tell: Tell
) -> list[Row]:
    """Rows of one trained model on all tasks; each is stored as soon as its task is done.

    What is stored already comes from there. A task that fails is a row, too.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load(folder, device)
    model = harness_rows.of_model(trained, folder, device)
    stored = {} if how.force else known(store)
    made = []
    for task in tasks:
        told = of_task(task)
        name = task if isinstance(task, str) else task.name
        which = harness_rows.evaluation(
            model["weights_sha256"], told["harness_sha256"], name, how.limit
        )
        if which in stored:
            tell(f"{name}: stored already")
        else:
            stored[which] = one(trained, model, task, told, how, tell)
            for row in stored[which]:
                store.append(row)
        made += sorted(stored[which], key=lambda row: row["metric"])
    return made


def known(store: Store) -> dict[str, list[Row]]:
    """The evaluations that are stored, failures left out."""
    found: dict[str, list[Row]] = {}
    for row in store.read(harness_rows.TASK):
        if row["status"] == "ok":
            found.setdefault(row["evaluation"], []).append(row)
    return found


def of_task(task: Definition | str) -> dict[str, Any]:
    """Columns of a task that are known beforehand."""
    if isinstance(task, str):
        return harness_niah.about()
    return {
        "harness_version": str((task.config.get("metadata") or {}).get("version", "")),
        "harness_sha256": task.sha256,
        "harness_source": task.source,
        "data_source": task.data,
    }


def one(
    trained: Trained,
    model: dict[str, Any],
    task: Definition | str,
    told: dict[str, Any],
    how: How,
    tell: Tell,
) -> list[Row]:
    """The rows of one model on one task."""
    begin = time.perf_counter()
    name = task if isinstance(task, str) else task.name
    try:
        if isinstance(task, str):
            (found, more), chance = harness_niah.measured(trained, how.limit, tell), None
        else:
            found, chance, more = measured(trained, task, how, tell)
    except Exception as error:  # noqa: BLE001  one task's failure keeps none of the others back
        # What the user can mend has words of its own; anything else is told with its place.
        said = str(error) if isinstance(error, ValueError) and str(error) else describe(error)
        return [harness_rows.failed(model, told, name, how.limit, said)]
    told = told | more | {"seconds": time.perf_counter() - begin}
    return harness_rows.rows(model, told, name, how.limit, found, chance)


def measured(
    trained: Trained, task: Definition, how: How, tell: Tell
) -> tuple[list[harness_values.Value], float | None, dict[str, Any]]:
    """Values, chance, and columns of the task that an evaluation adds."""
    scorer = Scorer(trained.model, trained.seq_len, trained.tokeniser.eos, how.batch)
    with quiet(), tempfile.TemporaryDirectory() as temporary:
        from lm_eval.evaluator import evaluate as run

        try:
            loaded = harness_data.loaded(task, Path(temporary))
        except OSError as error:  # of the network, too
            raise ValueError(f"{harness_data.without_data(task, how.local)} ({error})") from error
        lm = language_model(scorer, trained.tokeniser, lambda said: tell(f"{task.name}: {said}"))
        results = run(
            lm, {"tasks": {task.name: loaded}}, limit=how.limit or None, bootstrap_iters=0
        )
        found: dict[str, Any] = dict(results or {})
        samples = found["samples"][task.name]
        values = harness_values.values(found, loaded)
        chance = harness_values.chance(samples, loaded.OUTPUT_TYPE)
    return (
        values,
        chance,
        {
            "items_sha256": harness_values.items_sha256(samples),
            "truncated": scorer.cut / scorer.asked if scorer.asked else None,
        },
    )
