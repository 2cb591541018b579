"""Progress in plain lines on standard error: a line that only counts on replaces the one before."""

from __future__ import annotations

import re
import sys
import time
from typing import TextIO

NUMBER = re.compile(r"\d[\d,.]*")
EVERY = 30  # seconds between lines that only count on, where none can be replaced


class Teller:
    """Call it with lines. Those of the same words, whatever their numbers, are one progress."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._words, self._when, self._open = "", 0.0, False

    def __call__(self, line: str) -> None:
        words, now = NUMBER.sub("#", line), time.monotonic()
        same = words == self._words
        if self.stream.isatty():
            begin = "\r\x1b[K" if same else "\n" * self._open
            self.stream.write(begin + line)
            self._open = True
        elif not same or now - self._when >= EVERY:
            self.stream.write(line + "\n")
        else:
            return
        self.stream.flush()
        self._words, self._when = words, now

    def end(self) -> None:
        """Ends the line that could still be replaced; results can follow."""
        if self._open:
            self.stream.write("\n")
            self.stream.flush()
        self._words, self._open = "", False
