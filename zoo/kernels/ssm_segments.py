"""A selective scan cut into programs: channels, and time where a GPU would idle otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from zoo.kernels.compilation import Compilation
from zoo.kernels.launch import ceil_div, multiprocessors
from zoo.kernels.ssm import SCALE, Form, constexpr, ends_kernel

SHORTEST = 64  # tokens in a segment of time, at least
IDLE, BUSY = 2, 8  # warps on a multiprocessor: with fewer, time is cut; for so many, it is
BLOCK = 256  # states of a program that combines segments


@dataclass(frozen=True)
class Plan:
    """tokens: of a segment of time."""

    b: int
    t: int
    form: Form
    tokens: int

    @staticmethod
    def of(v: Tensor, states: int, *, before: bool, reverse: bool, back: bool) -> Plan:
        """v: b t h. back: for the backward pass."""
        b, t, h = v.shape
        form = Form.of(h, states, before=before, reverse=reverse, back=back)
        whole = Plan(b, t, form, ceil_div(t, form.keep) * form.keep)
        warps, sms = whole.grid[0] * form.warps, multiprocessors(v)
        if warps >= IDLE * sms:
            return whole
        segments = max(1, min(ceil_div(BUSY * sms, warps), t // SHORTEST))
        return replace(whole, tokens=ceil_div(t, segments * form.keep) * form.keep)

    @property
    def segments(self) -> int:
        return ceil_div(self.t, self.tokens)

    @property
    def blocks(self) -> int:
        return ceil_div(self.form.channels, self.form.warps * self.form.channel_lanes)

    @property
    def grid(self) -> tuple[int]:
        return (self.b * self.segments * self.blocks,)

    @property
    def launch(self) -> dict[str, Any]:
        form = self.form
        return {"T": self.t, "tokens": self.tokens, "FORM": form, "num_warps": form.warps}

    def starts(
        self, given: dict[str, Any], x: str, y: str, start: Tensor | None, *, back: bool
    ) -> Tensor | None:
        """The state with which each segment begins, b segments h n; None where all are 0.

        x, y: names of what is added, k and v, or q and do in the backward pass, whose state is the
        gradient of the states and begins with the last token.
        """
        if start is not None:
            start = start.contiguous()
        if self.segments == 1:
            return start
        form = self.form
        shape = (self.b, self.segments, form.channels, form.states)
        ends = torch.empty(shape, device=given["step"].device)  # b segments h n
        sums = ends.new_empty(shape[:3])
        common = {name: given[name] for name in ("rate", "RATE")} | {"ends": ends, "sums": sums}
        names = {"x": given[x], "X": given[x.upper()], "y": given[y], "Y": given[y.upper()]}
        names |= {name: given[name] for name in ("step", "STEP")}
        # A gradient enters before the decay where o was read after it.
        order = {"BACK": back, "ADD_FIRST": back and not form.before}
        ends_kernel[self.grid](**common, **names, **order, **self.launch)
        order = {"start": start, "segments": self.segments, "BACK": back, "BLOCK": BLOCK}
        grid = (ceil_div(form.channels * form.states, BLOCK), self.b)
        starts_kernel[grid](**common, **order, FORM=form)
        return ends


def given(**tensors: Tensor | None) -> dict[str, Any]:
    """Arguments of a kernel: inputs by name and, in capitals, how they lie in memory."""
    found: dict[str, Any] = {}
    for name, x in tensors.items():
        lies: Any = (1, 1, 1)
        if x is not None and name == "rate":
            x, lies = x.contiguous(), int(x.shape[0] > 1)
        elif x is not None:
            x = dense(x)
            heads = x.dim() == 4 and x.shape[2] > 1
            lies = (int(x.shape[0] > 1), x.stride(1), x.stride(2) if heads else 0)
        found |= {name: x, name.upper(): lies}
    return found


def dense(x: Tensor) -> Tensor:
    """x: b t h or b t h n, copied unless one batch row follows another and channels are side by
    side."""
    b, t, *_ = x.shape
    rows = b == 1 or x.stride(0) == t * x.stride(1)
    heads = x.dim() == 3 or x.shape[2] == 1 or x.stride(2) > 0
    return x if rows and heads and (x.shape[-1] == 1 or x.stride(-1) == 1) else x.contiguous()


@triton.jit(do_not_specialize=["segments"])
def starts_kernel(
    rate, start, ends, sums, segments, RATE: tl.constexpr, FORM: constexpr, BACK: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Replaces what each segment makes of the state 0 by the state with which it begins."""
    size = FORM.channels * FORM.states
    b = tl.cast(tl.program_id(1), tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = at < size
    r = tl.load(rate + b * RATE * size + at, mask=there, other=0.0).to(tl.float32) * SCALE
    S = tl.zeros([BLOCK], tl.float32)
    if start is not None:
        S = tl.load(start + b * size + at, mask=there, other=0.0).to(tl.float32)
    for j in range(segments):
        segment = b * segments + (segments - 1 - j if BACK else j)
        end = tl.load(ends + segment * size + at, mask=there, other=0.0)
        steps = tl.load(sums + segment * FORM.channels + at // FORM.states, mask=there, other=0.0)
        tl.store(ends + segment * size + at, S, mask=there)
        S = tl.exp2(r * steps) * S + end


def example(*, back: bool) -> Iterator[tuple[str, Form, tuple[dict[str, str], dict[str, Any]]]]:
    """Name, form, signature and constants of the inputs for the specialisations that matter."""
    cases = [("bf16", 16, True), ("fp32", 16, True), ("bf16", 24, True), ("bf16", 16, False)]
    for dtype, n, keys in cases:
        form = Form.of(1024, n, before=not keys, reverse=not keys, back=back)
        types = dict.fromkeys("qv", f"*{dtype}") | dict.fromkeys(("step", "rate"), "*fp32")
        types |= {"T": "i32", "tokens": "i32"}
        shared, each = (1, n, 0), (1, 1024, 0)
        lies: dict[str, Any] = {"Q": shared, "K": shared, "V": each, "STEP": each, "RATE": 0}
        if keys:
            types["k"] = types["q"]
        else:
            lies["k"] = None
        yield f"{dtype} n{n}" + ("" if keys else " tied before reverse"), form, (types, lies)


def compilations() -> list[Compilation]:
    signature = dict.fromkeys(("rate", "start", "ends", "sums"), "*fp32") | {"segments": "i32"}
    form = Form.of(1024, 16, before=False, reverse=False, back=False)
    constants = {"RATE": 0, "FORM": form, "BACK": False, "BLOCK": BLOCK}
    return [Compilation("ssm starts", starts_kernel, signature, constants)]
