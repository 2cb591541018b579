"""Runs that all processes of torchrun make together, one after the other.

The process that leads sweeps as always, with this engine; the others follow it, and do nothing but
train. A signal that asks to end lets a run store a checkpoint first; a later one does not. torchrun
itself kills its processes 30 seconds after it passed SIGTERM on, unless it is given a longer
--shutdown-timeout.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from typing import Any

from results.store import Row, Store
from runners.engines import SETTLED, Event, Finished, Group, Order, Reached, Run, Started, processes
from runners.engines.together_runs import Maker
from runners.engines.together_signals import Signals, at_once
from runners.engines.worker import load
from runners.execution import Execution
from runners.kept import ENDING, Ended, forget
from runners.together import MISSING, Together, check_batch, joined


class Leader:
    """The engine of the process that leads. strategy: ddp or fsdp."""

    jobs = 1

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy

    def execute(self, groups: Sequence[Group], order: Order) -> Generator[Event]:
        """Raises: RuntimeError where a run failed in some processes only."""
        team, store, signals = joined(self.strategy), Store(order.out), Signals()
        execution, making = replace(order.execution, graph=False), None
        with signals.heard():
            try:
                team.tell({"plugins": order.plugins, "execution": asdict(execution)})
                load(list(order.plugins))
                for run in (run for group in groups for run in group):
                    making = Making(team, run, order.presets.get(run.key, ""), execution)
                    yield Started(run, making.worker)
                    row = yield from making.events()
                    store.append(row)
                    if row["status"] in SETTLED and execution.checkpoints:
                        forget(execution.checkpoints, row["key"])
                    yield Finished(run, making.worker, row)
                    if making.parted:
                        raise RuntimeError(making.parted)
                    making = None
            finally:
                if making is None:
                    team.tell(None)
                    team.leave()
                elif signals.number:
                    ENDING.ask()
                    making.end(128 + signals.number)


class Making:
    """A run in a thread of its own, so that this one hears signals and tells of the progress.

    parted: why the processes cannot go on together, once there is a row.
    """

    def __init__(self, team: Together, run: Run, preset: str, execution: Execution) -> None:
        team.tell({"fields": run.model_dump(mode="json"), "preset": preset})
        self.run, self.parted, self.worker = run, "", str(os.getpid())
        self._maker = Maker(team, execution)
        self._said: queue.Queue[Reached | Row | None] = queue.Queue()
        self._thread = threading.Thread(target=self._make, args=(preset,), daemon=True)
        self._thread.start()

    def events(self) -> Generator[Event, None, Row]:
        """Returns: the row. Raises: Stopped where another process was asked to end."""
        from runners.sweep import Stopped

        while isinstance(said := self._said.get(), Reached):
            yield said
        if said is None:
            raise Stopped(signal.SIGTERM)
        return said

    def end(self, code: int) -> None:
        """What still computes cannot be interrupted, and must not meet the end of Python."""
        self._thread.join(1.0)
        if self._thread.is_alive():
            atexit.register(at_once, code)

    def _make(self, preset: str) -> None:
        def progress(step: int, metrics: dict[str, float]) -> None:
            self._said.put(Reached(self.run, self.worker, step, metrics.get("valid")))

        try:
            row, self.parted = self._maker.row(self.run, preset, progress)
        except Ended:
            self._said.put(None)
        else:
            self._said.put(row)


def follow(strategy: str) -> int:
    """Trains what the process that leads says, until it says no more. Returns: the exit code."""
    warnings.simplefilter("ignore")  # the one that leads says the same
    signals = Signals(follows=True)
    team = joined(strategy)
    try:
        with signals.heard():
            settings = team.tell({})
            recipe = load(list(settings["plugins"]))["lm"]
            maker = Maker(team, Execution(**settings["execution"]))
            order: dict[str, Any] | None = {}
            while (order := team.tell(order)) is not None:
                _, parted = maker.row(recipe.config(order["fields"]), order["preset"])
                if parted:
                    raise RuntimeError(parted)
        team.leave()
    except Ended:
        return 128 + (signals.number or signal.SIGTERM)
    except RuntimeError as error:  # some process is gone
        if not signals.number:
            print(f"process {team.rank}: {error}", file=sys.stderr)
        at_once(128 + signals.number if signals.number else 1)
    return 0


def check(runs: Sequence[Any], options: Any) -> None:
    """Raises: ValueError for what processes cannot do together. options: flags of the sweep."""
    if importlib.util.find_spec("accelerate") is None:
        raise ValueError(MISSING)
    for name in ("timeout", "compile"):
        if getattr(options, name):
            raise ValueError(f"{name} is for one process; leave out --{name}, or torchrun")
    for run in runs:
        check_batch(run, processes())
