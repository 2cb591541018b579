"""Named lists of runs: found by name, and described."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TypeVar

R = TypeVar("R")


def find(name: str, presets: Mapping[str, Callable[[], R]], task: str) -> Callable[[], R]:
    """The preset of that name; an unknown name is refused with the nearest one."""
    if name in presets:
        return presets[name]
    close = get_close_matches(name, presets, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ";"
    raise ValueError(f"{name} is not a preset of {task}{hint} type one of {', '.join(presets)}")


def described(name: str, presets: Mapping[str, Callable[[], R]], task: str) -> str:
    """What a preset is, from where, and what is ours: its docstring."""
    return inspect.getdoc(find(name, presets, task)) or ""
