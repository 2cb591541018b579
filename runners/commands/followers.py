"""A process that trains with another one: it does its part of each run and says nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from runners.commands import parse


def followed(arguments: type, name: str, argv: Sequence[str]) -> int:
    """The part of a process in a command that trains. arguments: its flags; name: of the command.

    Returns: the exit code.
    """
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        options = parse(arguments, name, argv, ()).sweep
    strategy = getattr(options, "strategy", None)
    if options.dry_run or strategy is None:
        return 0
    from runners.engines.together import follow

    return follow(strategy)
