"""How a vector scan is cut into programs, and what can be compiled ahead of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import ceil_div, interpreted, multiprocessors, power_of_two
from zoo.kernels.vector import Form

TOKENS, WARPS = 8, 8  # tokens of a group; a warp has one group or more
CHANNELS = 64  # of a tile, at most
STAGES = 3
LEAST_TILES = 4  # in a segment of time
INTERPRETED = (4, 8)  # tokens and groups: small, since the interpreter walks over elements
# What to compile ahead: q (s: the same at every token, t: by token), k (-: tied), whether the decay
# has a step and a rate, whether time is cut, lag, d_v, and the dtype of q, k, v and o.
AHEAD = {
    "tied": ("s", "-", True, False, False, 0, 1, "bf16"),  # HGRN (real), GLRU (tied)
    "tied-pairs": ("s", "-", True, False, False, 0, 2, "bf16"),  # HGRN
    "keys-cut": ("s", "t", True, True, True, 1, 1, "bf16"),  # Griffin, GLRU; RWKV-4 has this lag
    "fixed-pairs": ("s", "s", False, True, False, 0, 2, "fp32"),  # LRU, S5
}


@dataclass(frozen=True)
class Plan:
    """h: heads. per: tiles in a segment of time."""

    b: int
    t: int
    h: int
    form: Form
    per: int

    @staticmethod
    def of(q: Tensor, k: Tensor | None, v: Tensor, lag: int, reverse: bool, *, back: bool) -> Plan:
        """Cuts time where too few programs would run, though it costs a first pass over inputs:
        with three segments or more it pays."""
        b, t, h, d_v = v.shape
        flags = [x is not None and x.shape[axis] == 1 for x in (q, k) for axis in (2, 1)]
        form = Form(*tile(h, d_v), STAGES, lag, reverse, back, *flags)
        whole = Plan(b, t, h, form, per=1)
        n = min(2 * multiprocessors(v) // whole.programs, whole.tiles // LEAST_TILES)
        return replace(whole, per=whole.tiles if n < 3 else ceil_div(whole.tiles, n))

    @property
    def tiles(self) -> int:
        return ceil_div(self.t + self.form.lag, self.form.tokens * self.form.groups)

    @property
    def segments(self) -> int:
        return ceil_div(self.tiles, self.per)

    @property
    def programs(self) -> int:
        """For one segment."""
        return self.b * ceil_div(self.h, self.form.heads)

    @property
    def kept(self) -> tuple[int, int, int]:
        """Shape of what forward keeps: the state that enters each group of tokens."""
        return self.b, self.tiles * self.form.groups, self.h * self.form.d_v

    def arguments(self, **tensors: Tensor | None) -> dict[str, Any]:
        """What every kernel takes, and pointers and strides for each of the tensors: b t h, b t h v
        or (rate) b 1 h, the first two axes being 1 where it is the same along them."""
        found: dict[str, Any] = {"T": self.t, "h": self.h, "tiles": self.tiles, "per": self.per}
        for name, x in tensors.items():
            flat = None if x is None else x.flatten(2)
            if flat is not None and flat.stride(2) != 1:
                flat = flat.contiguous()
            strides = (0, 0) if flat is None else flat.stride()
            single = (True, True) if flat is None else [n == 1 for n in flat.shape]
            found |= {name: flat, f"{name}_b": 0 if single[0] else strides[0]}
            if name != "rate":
                found[f"{name}_t"] = 0 if single[1] else strides[1]
        return found | {"FORM": self.form, "num_warps": WARPS}

    def empty(self, x: Tensor | None) -> Tensor | None:
        """Room for the gradient of a factor: b t h, or b segments h where no token changes it."""
        if x is None:
            return None
        if x.shape[1] == 1:
            return x.new_empty(self.b, self.segments, self.h, dtype=torch.float32)
        summed = x.shape[2] < self.h
        return x.new_empty(self.b, self.t, self.h, dtype=torch.float32 if summed else x.dtype)


def tile(h: int, d_v: int) -> tuple[int, int, int, int, int, int]:
    """The first fields of Form. Not for a batch: backward may see a larger one."""
    values = power_of_two(d_v)
    heads = min(max(CHANNELS // values, 1), power_of_two(h))
    lane = 2 if heads * values >= 64 else 1
    # Lanes that few channels leave over run along groups.
    groups = min(WARPS * max(1, 32 * lane // (heads * values)), 32)
    tokens, groups = INTERPRETED if interpreted() else (TOKENS, groups)
    return tokens, groups, heads, d_v, values, lane


def ahead(name: str, kernel: Any, of: str, *, back: bool, width: int = 1024) -> Compilation:
    """The specialisation of AHEAD[of] for `width` heads and 2048 tokens."""
    q, k, step, rate, cut, lag, d_v, dtype = AHEAD[of]
    kinds = {"q": q, "k": k, "x": q if back else k}
    flags = (False, q == "s", False, k == "s")
    absent = {"k": k == "-", "step": not step, "rate": not rate, "whole": not cut}
    absent |= {"x": kinds["x"] == "-", "added": not cut, "d_k": k == "-"}
    absent |= {"d_step": not step, "d_rate": not rate}
    constants: dict[str, Any] = {n: None for n, is_absent in absent.items() if is_absent}
    constants |= {"FORM": Form(*tile(width, d_v), STAGES, lag, False, back, *flags), "h": width}
    for x in ("q", "k", "x", "v", "y", "d_o", "step"):
        size = width * (d_v if x in ("v", "y", "d_o") else 1) * (kinds.get(x) != "s")
        constants |= {f"{x}_b": 2048 * size, f"{x}_t": size}
    given = {"q", "k", "v", "o", "x", "y", "d_o", "d_v"}
    given |= {f"d_{x}" for x, kind in kinds.items() if kind == "t"}
    signature = {x: f"*{dtype}" if x in given else "*fp32" for x in kernel.arg_names}
    signature |= dict.fromkeys(("T", "tiles", "per", "rate_b"), "i32")
    constants = {x: y for x, y in constants.items() if x in kernel.arg_names}
    return Compilation(name, kernel, signature, constants, num_warps=WARPS)
