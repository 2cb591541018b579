"""The process that makes rows: one run after the other, until its driver leaves.

Orders come on standard input and replies go to standard output, as lines of JSON. Standard input
also tells that the driver is gone, whatever ended it: the pipe then comes to its end.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from results.store import Row, Store, plain

REPORT_EVERY = 0.25  # seconds
Progress = Callable[[int, dict[str, float]], None]
Plugins = list[tuple[str, str]]


class Recipe(Protocol):
    """How the fields of one task's config become a row. blank: the row of a run not yet begun."""

    def config(self, fields: dict[str, Any]) -> Any: ...
    def blank(self, config: Any, preset: str) -> Row: ...
    def run(self, config: Any, preset: str, progress: Progress) -> Row: ...


Load = Callable[[Plugins], Mapping[str, Recipe]]


def main() -> None:
    serve(load)


def load(plugins: Plugins) -> Mapping[str, Recipe]:
    """The recipe of each task; imports torch, which takes seconds."""
    from runners.engines.recipes import RECIPES, load_plugins

    load_plugins(plugins)
    return RECIPES


def serve(load: Load) -> NoReturn:
    """Answers orders until standard input ends, then ends the process."""
    code = 1
    try:
        _answer(load)
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        traceback.print_exc()
    # Not sys.exit: it would wait for the lock on standard input, which the listener holds.
    sys.stderr.flush()
    os._exit(code)


def _answer(load: Load) -> None:
    # What a model or a library prints must not come between the replies.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def reply(**message: Any) -> None:
        replies.write(json.dumps(plain(message)) + "\n")

    orders: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    settings = orders.get()
    recipes = load(settings["plugins"])
    store = Store(Path(settings["out"]))
    reply(kind="ready")
    while True:
        order = orders.get()
        row = _row(recipes[order["task"]], order["fields"], order["preset"], reply)
        try:
            store.append(row)
        except OSError as error:
            reply(kind="unwritable", error=str(error))
            return
        reply(kind="finished", row=row)
        if row["status"] == "failed":
            # A GPU error stays with the process that met it, so the next run gets a new one.
            return


def _row(recipe: Recipe, fields: dict[str, Any], preset: str, reply: Callable[..., None]) -> Row:
    begin = last = time.perf_counter()
    config = recipe.config(fields)
    blank = recipe.blank(config, preset)
    reply(kind="started", row=blank)

    def progress(step: int, metrics: dict[str, float]) -> None:
        nonlocal last
        if time.perf_counter() - last >= REPORT_EVERY:
            last = time.perf_counter()
            reply(kind="reached", step=step, metric=metrics.get("valid"))

    try:
        return recipe.run(config, preset, progress)
    except Exception as error:  # noqa: BLE001 - the one place where any error of a run becomes a row
        traceback.print_exc()
        seconds = time.perf_counter() - begin
        return blank | {"status": "failed", "error": describe(error), "seconds": seconds}


def describe(error: Exception) -> str:
    """One line: what went wrong, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words} ({Path(frame.filename).name}:{frame.lineno})"


def _listen(orders: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
