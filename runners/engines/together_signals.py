"""How a process of several hears that it must end, and when it leaves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from runners.kept import ENDING

# torchrun passes on a signal that a cluster may also send to each process: one asking, not two.
ONCE = 5.0  # seconds
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Signals:
    """number: of the first signal that asked, 0 before.

    follows: whether an end is left to the run at work, else to who handled signals before.
    """

    def __init__(self, *, follows: bool = False) -> None:
        self.number, self.follows = 0, follows
        self._asked, self._before = 0.0, dict[int, Any]()

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
        self._before = {number: signal.signal(number, self._hear) for number in numbers}
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number:
            if now - self._asked > ONCE:
                at_once(128 + number)
            return
        self.number, self._asked = number, now
        if not self.follows:
            handler: Any = self._before[number]
            handler(number, frame)
            return
        ENDING.wanted.set()
        if not ENDING.pending.is_set():
            at_once(128 + number)


def at_once(code: int) -> NoReturn:
    """Ends the process whatever its threads do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
