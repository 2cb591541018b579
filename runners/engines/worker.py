"""The process that makes rows: one group of runs after the other, until its driver leaves.

Orders come on standard input and replies go to standard output, as lines of JSON. Standard input
also tells that the driver is gone, whatever ended it: the pipe then comes to its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, Protocol

from results.store import Row, Store, plain
from runners.engines import SETTLED, packing
from runners.execution import Execution
from runners.kept import ENDING, forget

REPORT_EVERY = 0.25  # seconds
Progress = Callable[[int, dict[str, float]], None]
Plugins = list[tuple[str, str]]


Reply = Callable[..., None]


class Recipe(Protocol):
    """How the fields of one task's config become a row. blank: the row of a run not yet begun.

    run: the rows of a group, each as soon as it is there. presets: by key.
    """

    def config(self, fields: dict[str, Any]) -> Any: ...
    def blank(self, config: Any, preset: str) -> Row: ...
    def run(
        self,
        configs: Sequence[Any],
        presets: Mapping[str, str],
        progress: Progress,
        execution: Execution,
    ) -> Iterable[Row]: ...


Load = Callable[[Plugins], Mapping[str, Recipe]]
Measure = Callable[[], packing.Memory | None]


def main() -> None:
    serve(load)


def load(plugins: Plugins) -> Mapping[str, Recipe]:
    """The recipe of each task; imports torch, which takes seconds."""
    from runners.engines.recipes import RECIPES, load_plugins

    load_plugins(plugins)
    return RECIPES


def serve(load: Load, measure: Measure = packing.measured) -> NoReturn:
    """Answers orders until standard input ends, then ends the process.

    measure: the GPU memory of this process.
    """
    # Who ends all processes of a job at once ends the driver, too, which lets a run keep its work.
    signal.signal(signal.SIGTERM, lambda *_: None)
    code = 1
    try:
        _answer(load, measure)
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
    # Not sys.exit: it would wait for the lock on standard input, which the listener holds.
    sys.stderr.flush()
    os._exit(code)


def _answer(load: Load, measure: Measure) -> None:
    # What a model or a library prints must not come between the replies.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def reply(**message: Any) -> None:
        replies.write(json.dumps(plain(message)) + "\n")

    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(orders, reply), daemon=True).start()
    settings = orders.get()
    recipes = load(settings["plugins"])
    store, execution = Store(Path(settings["out"])), Execution(**settings["execution"])
    reply(kind="ready")
    failed = False
    while not failed:
        order, teller = orders.get(), Teller(reply, measure)
        for row in _rows(recipes[order["task"]], order, execution, teller):
            try:
                store.append(row)
            except OSError as error:
                reply(kind="unwritable", error=str(error))
                return
            if row["status"] in SETTLED and execution.checkpoints:
                forget(execution.checkpoints, row["key"])
            teller.memory()  # by then the row is stored, should this fail
            reply(kind="finished", row=row)
            failed |= row["status"] == "failed"
    # A GPU error stays with the process that met it, so the next group gets a new one.


class Teller:
    """Tells the driver of one group."""

    def __init__(self, reply: Reply, measure: Measure) -> None:
        self.reply, self._measure = reply, measure
        self._measured, self._last = False, time.perf_counter()

    def progress(self, step: int, metrics: dict[str, float]) -> None:
        if not self._measured:
            self.memory()
        if time.perf_counter() - self._last >= REPORT_EVERY:
            self._last = time.perf_counter()
            self.reply(kind="reached", step=step, metric=metrics.get("valid"))

    def memory(self) -> None:
        self._measured, memory = True, self._measure()
        if memory is not None:
            self.reply(kind="memory", **asdict(memory))


def _rows(
    recipe: Recipe, order: dict[str, Any], execution: Execution, teller: Teller
) -> Iterator[Row]:
    """A row for every run of the group; one that got none failed."""
    begin, presets = time.perf_counter(), order["presets"]
    configs = [recipe.config(fields) for fields in order["runs"]]
    left = {config.key: recipe.blank(config, presets[config.key]) for config in configs}
    for blank in left.values():
        teller.reply(kind="started", row=blank)
    error = "AssertionError: its group ended without a row for it"
    try:
        for row in recipe.run(configs, presets, teller.progress, execution):
            del left[row["key"]]
            yield row
    except Exception as caught:  # noqa: BLE001 - the one place where any error of a run becomes a row
        traceback.print_exc()
        error = describe(caught)
    seconds = (time.perf_counter() - begin) / len(configs)
    for blank in left.values():
        yield blank | {"status": "failed", "error": error, "seconds": seconds}


def describe(error: Exception) -> str:
    """One line: what went wrong, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words} ({Path(frame.filename).name}:{frame.lineno})"


def _listen(orders: queue.Queue[dict[str, Any]], reply: Reply) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    if ENDING.pending.is_set():
        with contextlib.suppress(OSError):  # the driver may be gone
            reply(kind="keeping")
    ENDING.ask()
    os._exit(0)


if __name__ == "__main__":
    main()
