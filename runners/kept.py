"""What a run keeps until its row is stored, and the time it gets to keep it. Loads no torch."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

# Below the folder of rows; in it a folder for each run, named by its key.
CHECKPOINTS = "checkpoints"
# Beside it, trained models in folders named likewise.
MODELS = "models"
# Seconds for the update that is being made and a checkpoint after it.
PATIENCE = 60.0


def folder_of(root: str | Path, key: str) -> Path:
    return Path(root) / key


def forget(root: str | Path, key: str) -> None:
    """Removes the checkpoints of a run that is done, or begins anew."""
    shutil.rmtree(folder_of(root, key), ignore_errors=True)


class Ended(BaseException):
    """A run of several processes has kept its work and goes no further, as one of them must end."""


@dataclass
class Ending:
    """Between the thread that hears that the process must end and the run that has work to keep.

    wanted: an end is. pending: a run is at work that will keep what it has once it sees that.
    """

    wanted: threading.Event = field(default_factory=threading.Event)
    pending: threading.Event = field(default_factory=threading.Event)
    kept: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """Returns once the run has kept its work, has none, or has had its time."""
        self.wanted.set()
        if self.pending.is_set():
            self.kept.wait(PATIENCE)


# Of this process.
ENDING = Ending()
