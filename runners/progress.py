"""What a sweep tells on standard error: one line for each finished run, and bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from runners.engines import Again, Event, Finished, Group, Reached, Run, Said, Started
from runners.time_left import Left

ALWAYS = ("model", "d_model", "lr")
FIRST = (*ALWAYS, "dataset", "length", "pairs", "conv", "updates", "seed")


class View:
    """Says nothing."""

    def begin(
        self, groups: Sequence[Group], stored: int, jobs: int, cost: Callable[[Any], float]
    ) -> None:
        """groups: still to do, in order. stored: runs that are already done. cost: in any unit."""

    def note(self, line: str) -> None: ...
    def event(self, event: Event) -> None: ...
    def end(self) -> None: ...


class Lines(View):
    """Plain lines, for a log file."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.titles: dict[str, str] = {}
        self.finished = 0

    def begin(
        self, groups: Sequence[Group], stored: int, jobs: int, cost: Callable[[Any], float]
    ) -> None:
        runs = [run for group in groups for run in group]
        self.titles, self.left = titles(runs), Left(groups, jobs, cost)
        done = f"{stored} already done, " if stored else ""
        stacked = f" in {counted(len(groups), 'group')}" if len(groups) < len(runs) else ""
        at_once = f", {jobs} at a time" if runs else ""
        self.note(f"{counted(len(runs) + stored)}: {done}{len(runs)} to do{stacked}{at_once}")

    def note(self, line: str) -> None:
        print(line, file=self.stream, flush=True)

    def event(self, event: Event) -> None:
        if isinstance(event, Said):
            self.note(f"  worker {event.worker}: {event.line}")
            return
        self.left.event(event)
        if isinstance(event, Again):
            title = self.titles[event.run.key]
            self.note(f"  {title}: lacked memory beside others; it will run again, alone")
        elif isinstance(event, Finished):
            self.finished += 1
            place = f"{self.finished:>{len(str(len(self.titles)))}}/{len(self.titles)}"
            left = self.left.seconds()
            after = f"; {duration(left)} left" if left else ""
            self.note(f"{place} {self.titles[event.run.key]}: {outcome(event.row)}{after}")


class Bars(Lines):
    """The same lines, and below them one bar for the sweep and one for each run in progress."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.console = Console(file=self.stream, highlight=False)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[said]}", markup=False),
            console=self.console,
            transient=True,
        )
        self.running: dict[str, Any] = {}

    def begin(
        self, groups: Sequence[Group], stored: int, jobs: int, cost: Callable[[Any], float]
    ) -> None:
        super().begin(groups, stored, jobs, cost)
        self.whole = self.bars.add_task("all", total=len(self.titles), unit="runs", said="")
        if groups:
            self.bars.start()

    def note(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    def event(self, event: Event) -> None:
        super().event(event)
        if isinstance(event, Started):
            fields, title = event.run.model_dump(), self.titles[event.run.key]
            bar = self.bars.add_task(title, total=fields.get("updates"), unit="updates", said="")
            self.running[event.run.key] = bar
        elif isinstance(event, Reached):
            said = "" if event.metric is None else f"validation {event.metric:.3f}"
            self.bars.update(self.running[event.run.key], completed=event.step, said=said)
        elif isinstance(event, Again | Finished):
            if event.run.key in self.running:  # a run can be lost before it started
                self.bars.remove_task(self.running.pop(event.run.key))
            self.bars.advance(self.whole, isinstance(event, Finished))
        left = self.left.seconds()
        self.bars.update(self.whole, said=f"{duration(left)} left" if left else "")

    def end(self) -> None:
        self.bars.stop()


def view() -> View:
    """Bars where someone watches, lines elsewhere."""
    return Bars() if sys.stderr.isatty() else Lines()


def titles(runs: Sequence[Run]) -> dict[str, str]:
    """A name for each run by key: model, width, learning rate, and what else tells runs apart."""
    fields = {run.key: run.model_dump() for run in runs}
    known = dict.fromkeys(name for content in fields.values() for name in content)
    order = [*FIRST, *(name for name in known if name not in FIRST)]
    chosen: list[str] = []
    for name in order:
        before = {_text(content, chosen) for content in fields.values()}
        after = {_text(content, [*chosen, name]) for content in fields.values()}
        if name in ALWAYS or len(after) > len(before):
            chosen.append(name)
    return {key: _text(content, chosen) for key, content in fields.items()}


def _text(content: dict[str, Any], names: Sequence[str]) -> str:
    return " ".join(_word(name, content[name]) for name in names if name in content)


def _word(name: str, value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value).lower()
    return {"model": text, "d_model": f"d{text}", "dataset": text}.get(name, f"{name} {text}")


def counted(number: int, noun: str = "run") -> str:
    """1 run, 2 runs."""
    return f"{number} {noun}{'s' * (number != 1)}"


def outcome(row: dict[str, Any]) -> str:
    """What came out of a run, in a few words."""
    took = duration(row.get("seconds") or 0.0)
    if row["status"] != "ok":
        return f"{row['status']} after {took}: {row.get('error')}"
    value, steps = row.get("value"), row.get("steps")
    score = "no score" if value is None else f"{row.get('metric', 'score')} {value:.3f}"
    return f"{score}, {steps} updates, {took}"


def duration(seconds: float) -> str:
    """41 s, 5.2 min, 3.4 h or 12 days."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    if seconds < 100 * 3600:
        return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:,.0f} days"
