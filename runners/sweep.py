"""Many runs, each done once: what is stored is skipped, what fails becomes a row, any kill is safe.

A row is written by the worker that made it, into a file of its own; the driver writes only for
workers that no longer can. So a sweep that was stopped continues when it is started again.
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from results.store import Row, Store
from runners.engines import SETTLED, Again, Engine, Event, Finished, Group, Lost, Order, Run
from runners.execution import Execution
from runners.kept import CHECKPOINTS, MODELS, forget
from runners.progress import View


@dataclass(frozen=True)
class Swept:
    """rows: one for each run, in the order asked for. executed: how many of them are new."""

    rows: list[Row]
    executed: int

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row["status"] not in SETTLED]


class Stopped(Exception):
    """A signal ended the sweep. done: runs that are settled, of total."""

    def __init__(self, number: int, done: int = 0, total: int = 0) -> None:
        self.number, self.done, self.total = number, done, total
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"stopped by {name}: {done} of {total} runs are done and stored")


def one_by_one(runs: Sequence[Run]) -> list[Group]:
    """Every run is a group of its own."""
    return [(run,) for run in runs]


def sweep(
    runs: Sequence[Run],
    out: str | Path,
    engine: Engine,
    *,
    force: bool = False,
    timeout: float = 0.0,
    plugins: Mapping[str, Path] | None = None,
    presets: Mapping[str, str] | None = None,
    cost: Callable[[Any], float] = lambda run: 1.0,
    execution: Execution | None = None,
    groups: Callable[[Sequence[Any]], Sequence[Group]] = one_by_one,
    view: View | None = None,
) -> Swept:
    """Does the runs that have no settled row in `out`, the most expensive first.

    force: do all of them again. timeout: seconds a run may take, 0 for no limit. plugins: name of
    a model -> its file. presets: key of a run -> its preset. cost: expected duration, any unit.
    execution: how a worker does them. groups: which of them it does at once.
    Raises: Stopped on SIGINT, SIGTERM and SIGHUP; OSError where a row cannot be written.
    """
    view, store, asked = view or View(), Store(out), {run.key: run for run in runs}
    hashes = {name: _sha256(path) for name, path in (plugins or {}).items()}
    before = _read(store, asked.values(), view)
    done = {} if force else {k: before[k] for k in asked if _is_settled(before.get(k), hashes)}
    todo = [run for key, run in asked.items() if key not in done]
    checkpoints = Path(out) / CHECKPOINTS
    for key in asked if force else done:
        forget(checkpoints, key)
    places = {"checkpoints": str(checkpoints), "models": str(Path(out) / MODELS)}
    execution = replace(execution or Execution(), **places)
    todo = list(groups(todo))
    todo.sort(key=lambda group: (-sum(map(cost, group)), group[0].key))
    files = tuple((str(path.resolve()), hashes[name]) for name, path in (plugins or {}).items())
    order = Order(Path(out), presets or {}, files, timeout, execution)
    try:
        with _signals():
            view.begin(todo, len(done), min(engine.jobs, len(todo)), cost)
            with contextlib.closing(engine.execute(todo, order)) as events:
                new = _follow(events, store, before, view)
    except Stopped as stop:
        stored = settled(store, runs, plugins or {})
        raise Stopped(stop.number, len(stored), len(asked)) from None
    finally:
        view.end()
    return Swept([new.get(key) or done[key] for key in asked], len(new))


def _follow(
    events: Iterable[Event], store: Store, before: Mapping[str, Row], view: View
) -> dict[str, Row]:
    """The new rows by key. before: the rows that are stored already when a run begins."""
    new, before = dict[str, Row](), dict(before)
    for event in events:
        if isinstance(event, Again):
            before[event.run.key] = event.row
        told = _settle(event, store, before) if isinstance(event, Lost) else event
        if isinstance(told, Finished):
            new[told.run.key] = told.row
        view.event(told)
    return new


def settled(store: Store, runs: Iterable[Run], plugins: Mapping[str, Path]) -> dict[str, Row]:
    """The stored rows, by key, of those runs that need not be run."""
    hashes = {name: _sha256(path) for name, path in plugins.items()}
    asked = {run.key: run for run in runs}
    rows = _read(store, asked.values(), View())
    return {key: rows[key] for key in asked if _is_settled(rows.get(key), hashes)}


def _read(store: Store, runs: Iterable[Run], view: View) -> dict[str, Row]:
    """Stored rows by key; what the store could not read is told."""
    rows: dict[str, Row] = {}
    for task in sorted({run.task for run in runs}):
        rows |= {row["key"]: row for row in store.read(task)}
        for warning in store.warnings:
            view.note(warning)
    return rows


def _is_settled(row: Row | None, hashes: Mapping[str, str]) -> bool:
    """Whether a row needs no further run. A plugin's rows count for the same file content only."""
    if row is None:
        return False
    content = hashes.get(str(row.get("model", "")).partition(":")[0], "")
    return row["status"] in SETTLED and (row.get("plugin_sha256") or "") == content


def _settle(lost: Lost, store: Store, before: Mapping[str, Row]) -> Finished:
    """Stores the row of a lost run, unless its worker stored one before it went."""
    now = {row["key"]: row for row in store.read(lost.run.task)}.get(lost.run.key)
    if now is None or now == before.get(lost.run.key):
        store.append(lost.row)
        now = lost.row
    return Finished(lost.run, lost.worker, now)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Signals that ask a program to end raise Stopped; a second one ends the cleaning up, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
