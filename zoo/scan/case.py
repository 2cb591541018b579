"""What a scan is asked to run, as every backend sees it before it says whether it can."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.spec import Decay, Erase


@dataclass(frozen=True)
class Case:
    """The arguments of zoo.scan.scan, shapes as there. q and k are as given: 1 1 h k if static, and
    k None where it is 1 - alpha."""

    q: Tensor
    k: Tensor | None
    v: Tensor
    decay: Decay
    erase: Erase | None = None
    read: str = "after"
    reverse: bool = False
    state: Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        """In which sums and states are held: float64 where q, k or v is, else float32."""
        dtype = torch.float32
        for x in (self.q, self.k, self.v):
            dtype = dtype if x is None else torch.promote_types(dtype, x.dtype)
        return dtype
