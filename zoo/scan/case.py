"""What a scan is asked to run, as every backend sees it before it says whether it can."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zoo.spec import Decay, Erase


@dataclass(frozen=True)
class Case:
    """The arguments of zoo.scan.scan, shapes as there. q and k are as given: 1 1 h k if static."""

    q: Tensor
    k: Tensor
    v: Tensor
    decay: Decay
    erase: Erase | None = None
    read: str = "after"
    reverse: bool = False
    state: Tensor | None = None
