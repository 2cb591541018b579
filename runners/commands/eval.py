"""lazoo eval: trained models under lm-evaluation-harness, zero-shot, into rows and a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from results.harness_columns import ALL, NIAH, SUITES
from results.spelling import DASH
from results.store import Store
from runners.commands import Switch, flag, parse, print_table, refusals
from runners.commands.teller import Teller

EXAMPLES = (
    "lazoo eval runs/models/0123456789abcdef",
    "lazoo eval 0123 4567 --tasks paper --local data/harness",
    "lazoo eval 0123 --tasks piqa arc_easy --limit 100",
    "lazoo eval 0123 --tasks my_task.yaml",
)
MODELS = "folders of trained models, or keys of runs whose models are in the folder of --out"
TASKS = (
    f"names: {', '.join(SUITES)}; tasks of the harness; or YAML files of yours. paper is"
    " commonsense and superglue"
)
LIMIT = "items of each task, the first ones, or prompts of niah, to try it; 0 for all"
LOCAL = "folder of data: piqa.jsonl is the data set of piqa, one item a line; then no network"


@dataclass(frozen=True)
class Arguments:
    """Evaluate trained language models zero-shot with EleutherAI's lm-evaluation-harness."""

    models: Annotated[tyro.conf.Positional[tuple[str, ...]], flag(MODELS, metavar="MODEL ...")]
    tasks: Annotated[tuple[str, ...], flag(TASKS, "commonsense")] = ("commonsense",)
    limit: Annotated[int, flag(LIMIT, "0")] = 0
    batch: Annotated[int, flag("rows that a model reads at a time", "16")] = 16
    local: Annotated[Path | None, flag(LOCAL)] = None
    force: Annotated[Switch, flag("also do the evaluations that are stored already")] = False
    out: Annotated[Path, flag("folder of rows, and of trained models", "runs")] = Path("runs")
    plugin: Annotated[tuple[Path, ...], flag("files of models that are not in the zoo")] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "eval", argv, EXAMPLES)
    with refusals("eval"):
        check(arguments)
        return evaluated(arguments)


def check(arguments: Arguments) -> None:
    """Raises: ValueError for what no evaluation can have."""
    if not arguments.models:
        raise ValueError("no model; type a folder, or the key of a run (lazoo lm makes them)")
    if arguments.limit < 0 or arguments.batch < 1:
        raise ValueError(
            f"limit {arguments.limit} and batch {arguments.batch} should be at least 0 and 1; type"
            " --limit 100, or leave it out"
        )
    if arguments.local and not arguments.local.is_dir():
        raise ValueError(
            f"{arguments.local} is no folder; type --local and one with piqa.jsonl ..."
        )


def evaluated(arguments: Arguments) -> int:
    from runners import harness_data, harness_quiet, harness_tasks

    names = harness_tasks.names(arguments.tasks)
    # Libraries read their environment when they are imported, so it comes first.
    wanted = any(harness_data.needs_network(name, arguments.local) for name in names)
    if set(names) != {NIAH}:
        harness_quiet.need_harness()
    harness_quiet.settle(wanted)
    import zoo
    from runners import harness, trained

    for path in arguments.plugin:
        zoo.plugin(path)
    how = harness.How(arguments.local, arguments.limit, arguments.batch, arguments.force)
    folders = [trained.resolve(name, arguments.out) for name in arguments.models]
    tasks, store, teller = harness.definitions(names, how), Store(arguments.out), Teller()
    code = 0
    for folder in folders:
        try:
            rows = harness.evaluate(folder, tasks, how, store, teller)
        finally:
            teller.end()
        code |= report(rows, folder)
    return code


def report(rows: Sequence[dict[str, Any]], folder: Path) -> int:
    """The table of one model, and what failed on standard error. Returns: the exit code."""
    ok = [row for row in rows if row["status"] == "ok"]
    if ok:
        header = ("Task", "Metric", "Value", "±", "Items", "Chance")
        print(f"{ok[0]['label']}, {folder.name}: {ok[0]['parameters']:,} parameters, zero-shot")
        print_table(header, [line(row) for row in ok])
    for row in rows:
        if row["status"] != "ok":
            print(f"{row['harness_task']}: {row['error']}", file=sys.stderr)
    return int(len(ok) < len(rows))


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """Fractions as percentages, anything else as it is."""
    scale = 1 if row["metric"] in UNSCALED else 100
    numbers = [
        DASH if row[name] is None else f"{scale * row[name]:.2f}"
        for name in ("value", "stderr", "chance")
    ]
    items = f"{row['n']:,}" if row["n"] else DASH
    return row["harness_task"], row["metric"], *numbers[:2], items, numbers[2]


# Metrics of tasks that are no fractions.
UNSCALED = {
    *(column.metric for column in ALL if not column.percent),
    *("word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "likelihood"),
}
