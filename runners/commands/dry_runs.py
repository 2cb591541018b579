"""What --dry-run says of a sweep: its runs, and how long they may take."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Container
from typing import TypeAlias, TypeVar

import torch

from runners import progress, stack
from runners.base import Run
from runners.estimate import Estimate
from runners.execution import Execution

R = TypeVar("R", bound=Run)
# Runs, what to call with (done, all) shapes, how they are executed.
Estimating: TypeAlias = Callable[[list[R], Callable[[int, int], None], Execution], Estimate]


def dry_run(
    runs: list[R],
    stored: Container[str],
    jobs: int,
    execution: Execution,
    estimate: Estimating[R],
    bound: str,
) -> int:
    """Lists the runs on standard output, and times one of each shape.

    stored: keys of runs that need not be done. jobs: at a time. bound: what makes the estimate an
    upper bound. Shapes that cannot be timed here are told by the estimate's notes, if it has any.
    """
    names = progress.titles(runs)
    for run in runs:
        print(f"{'stored' if run.key in stored else 'to do ':6}  {names[run.key]}")
    todo = [run for run in runs if run.key not in stored]
    print(f"{progress.counted(len(runs))}, {len(runs) - len(todo)} stored, {len(todo)} to do")
    groups = stack.groups(todo, execution.stack)
    if todo and execution.stack > 1:
        sizes = sorted(Counter(map(len, groups)).items())
        of = ", ".join(f"{number} of {progress.counted(size)}" for size, number in sizes)
        print(f"--stack {execution.stack} makes {progress.counted(len(groups), 'group')}: {of}")
    if todo:
        sys.stdout.flush()
        torch.set_num_threads(1)
        found = estimate(todo, _tell, execution)
        if found.shapes:
            longest = max(map(len, groups)) * max(shape.seconds for shape in found.shapes)
            seconds = max(found.seconds / jobs, longest)
            print(
                f"at most {progress.duration(seconds)} with {jobs} at a time on this machine's"
                f" {found.device}, from real steps of {len(found.shapes)} shapes; {bound}"
            )
        for note in getattr(found, "notes", ()):
            print(note)
    return 0


def _tell(done: int, total: int) -> None:
    """On a terminal one line that counts, elsewhere one line."""
    if sys.stderr.isatty():
        end = "\n" if done + 1 == total else ""
        print(f"\rtiming shape {done + 1} of {total}", end=end, file=sys.stderr, flush=True)
    elif not done:
        print(f"timing a few steps of {total} shapes", file=sys.stderr, flush=True)
