"""What each process of several does for one run."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any

import torch

from results.store import Row
from runners import lm_run
from runners.engines.recipes import give_back_memory
from runners.engines.worker import Progress, describe
from runners.execution import Execution
from runners.together import Together


class Maker:
    """Makes rows; that of the process that leads counts."""

    def __init__(self, team: Together, execution: Execution) -> None:
        self.team, self.execution = team, execution

    def row(self, config: Any, preset: str, progress: Progress | None = None) -> tuple[Row, str]:
        """All processes call this. Returns: the row, and why they cannot go on together, or ""."""
        device, begin, trace = self.team.device, time.perf_counter(), ""
        if device.type == "cuda":
            torch.cuda.set_device(device)  # of this thread
        row = lm_run.empty_row(config, preset, device)
        how = {"preset": preset, "progress": progress, "team": self.team}
        try:
            row = lm_run.run(config, **how, **lm_run.of_execution(self.execution))
        except Exception as caught:  # noqa: BLE001 - any error of a run becomes a row
            trace, seconds = traceback.format_exc(), time.perf_counter() - begin
            row |= {"status": "failed", "error": describe(caught), "seconds": seconds}
        give_back_memory()
        parted = self._meet(row)
        if trace and (parted or self.team.leads):
            sys.stderr.write(trace)
        return row, parted

    def _meet(self, row: Row) -> str:
        try:
            self.team.meet(failed=row["status"] in ("failed", "oom"))
        except RuntimeError:
            said = row["error"] or "here it did"
            return f"the run {row['key']} did not end in all processes: {said}"
        return ""
