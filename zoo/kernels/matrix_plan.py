"""How the work on a matrix state is cut: chunks of tokens, levels in them, segments, and blocks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import FLOAT32_DOT, ceil_div, multiprocessors, power_of_two

# What a kernel reads or writes in float32 whatever the dtype of q, k and v, and its integers.
FLOAT32 = {"fall", "whole", "start", "end", "total", "to", "dfall"}
INTEGERS = {"T", "N", "SEGMENTS", "LENGTH"}


@dataclass(frozen=True)
class Shape:
    """All that kernels are specialised on, but for blocks and dtypes.

    kind: "keep", "head" or "channel". moves: whether tokens differ in their decay; fall_batch:
    whether sequences do. q_heads, k_heads: 1 or h.
    """

    t: int
    h: int
    d_k: int
    d_v: int
    kind: str
    tied: bool = False
    reverse: bool = False
    before: bool = False
    q_heads: int = 1
    k_heads: int = 1
    moves: bool = True
    fall_batch: bool = True

    @staticmethod
    def of(
        q: Tensor, k: Tensor | None, v: Tensor, fall: Tensor | None, reverse: bool, before: bool
    ) -> Shape:
        (b, t, h, d_v), d_k = v.shape, q.shape[3]
        heads = q.shape[2], h if k is None else k.shape[2]
        if fall is None:
            return Shape(t, h, d_k, d_v, "keep", False, reverse, before, *heads)
        kind = "head" if fall.shape[3] == 1 else "channel"
        often = fall.shape[1] == t, fall.shape[0] == b
        return Shape(t, h, d_k, d_v, kind, k is None, reverse, before, *heads, *often)

    @property
    def c(self) -> int:
        """Tokens in a chunk."""
        return min(power_of_two(self.t, 16), 64)

    @property
    def n(self) -> int:
        return ceil_div(self.t, self.c)

    @property
    def decays(self) -> int:
        """How many a head has."""
        return {"keep": 0, "head": 1, "channel": self.d_k}[self.kind]

    def blocks(self, k: int, v: int = 0, warps: int = 4, stages: int = 2) -> dict[str, int]:
        """Of at most k key channels and v values, v = 0: a kernel without, and how it is run."""
        sizes = {"BK": power_of_two(min(self.d_k, k), 16)}
        if v:
            sizes["BV"] = power_of_two(min(self.d_v, v), 16)
        return {**sizes, "num_warps": warps, "num_stages": stages}

    def constants(self, kernel: Any, **more: Any) -> dict[str, Any]:
        """What the kernel wants to know of this at compile time, and `more`."""
        known = {
            "H": self.h,
            "QH": self.q_heads,
            "KH": self.k_heads,
            "DK": self.d_k,
            "DV": self.d_v,
            "C": self.c,
            "LEVELS": self.c.bit_length() - 1,
            "KIND": self.kind,
            "DECAYS": self.decays,
            "TIED": self.tied,
            "MOVES": self.moves,
            "FB": int(self.fall_batch),
            "REVERSE": self.reverse,
            "BEFORE": self.before,
            "PRECISION": FLOAT32_DOT,
        }
        return {name: known[name] for name in kernel.arg_names if name in known} | more


@functools.lru_cache(maxsize=64)
def levels(c: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Masks that c tokens share, levels 2 c c: for each level of pairs, from 2 on, the tokens
    (columns) between a token (row) and the middle, with a sign, and the pairs that part there; at
    last the tokens up to and with a token, and those after it."""
    with torch.inference_mode(False):
        p, t = torch.arange(c, device=device).unsqueeze(1), torch.arange(c, device=device)
        masks = []
        for level in range(2, c.bit_length() - 1):
            # Within 8 tokens the first half looks at the middle from the other side.
            path = torch.where((p >> level) % 2 == 1, t <= p, -1 * (t > p) if level == 2 else t > p)
            least = 0 if level == 2 else 1 << level
            parted = (t < p) & (p ^ t >= least) & (p ^ t < 2 << level)
            masks += [path * (p >> level == t >> level), parted]
        masks += [t <= p, t > p]
        return torch.stack([x.to(dtype) for x in masks]).unflatten(0, (-1, 2))


def segments_of(x: Tensor, programs: int, n: int) -> tuple[int, int]:
    """Into how many parts n chunks are cut, 1 unless that leaves multiprocessors idle, and their
    length. Parts make everything be read twice, so they are many or none."""
    chip = multiprocessors(x)
    length = ceil_div(n, min(n, 4 * chip // programs) if programs <= chip else 1)
    return ceil_div(n, length), length


def listed(
    name: str, kernel: Any, shape: Shape, dtype: str, spills: int = 0, **more: Any
) -> Compilation:
    """One specialisation, dtype being of q, k and v. more: other constants (None: no such tensor)
    and options."""
    constants = shape.constants(kernel, **more)
    options = {key: constants.pop(key) for key in ("num_warps", "num_stages")}
    types = {name: "*fp32" if name in FLOAT32 else f"*{dtype}" for name in kernel.arg_names}
    types |= dict.fromkeys(INTEGERS, "i32")
    signature = {name: types[name] for name in kernel.arg_names if name not in constants}
    return Compilation(
        f"matrix {name} {dtype}", kernel, signature, constants, **options, spills=spills
    )
