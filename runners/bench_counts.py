"""What a scan must move and compute at least, counted from its shape: the floor of its time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runners.bench_shapes import Shape

DECAY_BYTES = 4  # steps, rates and angles are float32 in every run


@dataclass(frozen=True)
class Counts:
    """Of one forward and one backward pass. exponentials: with those that backward makes again."""

    least_bytes: int
    flops: int
    exponentials: int


def scan_counts(shape: Shape, itemsize: int) -> Counts:
    """Everything below for one shape. itemsize: bytes of an element of q, k, v and o."""
    return Counts(least_bytes(shape, itemsize), flops(shape), exponentials(shape))


def least_bytes(shape: Shape, itemsize: int) -> int:
    """3 inputs + 2 outputs, in bytes: each pass reads what it needs once and writes once.

    Forward reads the inputs and writes o. Backward reads the inputs again, since the loss lies in
    between, and do, and writes a gradient for every input.
    """
    inputs = sum(input_bytes(shape, itemsize).values())
    return 3 * inputs + 2 * shape.b * shape.t * shape.h * shape.d_v * itemsize


def input_bytes(shape: Shape, itemsize: int) -> dict[str, int]:
    """Bytes of each input: q, k, v, write, read in the run's dtype, the decay in float32."""
    b, t, h, d_k = shape.b, shape.t, shape.h, shape.d_k
    of_keys = {"ssm": b * t, "static": h}.get(shape.kind, b * t * h) * d_k
    found = {"q": of_keys * itemsize, "v": b * t * h * shape.d_v * itemsize}
    if not shape.tied:
        found["k"] = of_keys * itemsize
    if shape.erases:
        found |= {"write": of_keys * itemsize, "read": of_keys * itemsize}
    if shape.kind in ("head", "channel", "ssm"):
        width = d_k if shape.kind == "channel" else 1
        found["step"] = b * t * h * width * DECAY_BYTES
    if shape.kind in ("ssm", "static"):
        found["rate"] = h * d_k * DECAY_BYTES
    if shape.kind == "static":
        found["angle"] = h * d_k // 2 * DECAY_BYTES
    return found


def flops(shape: Shape) -> int:
    """12 b t h d_k d_v: the products of the recurrence, 2 operations for a multiply and add.

    Forward: k_t^T v_t and q_t S_t. Backward: dq, dk, dv and do's part of dS, a product each. An
    erase adds read_t S_{t-1} and write_t^T times it, and twice that in backward: 24 in all. What
    a form spends beyond it (a chunk's own map, states made again) is not the task's.
    static: one map for all tokens can go by FFT: 2 transforms of 2t points per value channel
    forward and 2 backward, 2.5 n log2 n operations each.
    """
    tokens = shape.b * shape.t * shape.h
    if shape.kind == "static":
        n = 2 * shape.t
        return 4 * shape.b * shape.h * shape.d_v * math.ceil(2.5 * n * math.log2(n))
    return (24 if shape.erases else 12) * tokens * shape.d_k * shape.d_v


def exponentials(shape: Shape) -> int:
    """alpha = exp(-step rate) for every token and channel that has its own, in both passes."""
    each = {"keep": 0, "head": 1, "channel": shape.d_k, "ssm": shape.d_k, "static": 0}[shape.kind]
    return 2 * shape.b * shape.t * shape.h * each
