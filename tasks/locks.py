"""One process at a time makes a file or a folder; the others wait and then find it made."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Holds `<path>.lock`, which the system gives free when its process ends, however it ends."""
    with path.with_name(f"{path.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"another process makes {path}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
