"""Rotations by position: complex decays in real arithmetic, and RoPE.

Angles are float64 modulo 2 pi: at position 4096 and |angle| < 6 a float32 product angle * position
is off by 3e-2 on a scale of 150; computed in float64 and reduced before the cast it is off by 7e-4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rotate(y: Tensor, angle: Tensor, start: int, *, backwards: bool = False) -> Tensor:
    """y times exp(j angle * position), the pair (re, im) being first on the last axis.

    y: b t h 2, or more channels, which stay as they are; angle: h, radians per token; position:
    start, start + 1, ... Returns: like y. With S~_t = exp(-j angle t) S_t the complex recurrence
    S_t = lambda e^{j angle} S_{t-1} + k v_t is the real one on v rotated backwards, read after
    rotating forwards. In reversed time v is rotated forwards and read backwards.
    """
    cos, sin = phases(angle, y.shape[1], start, y.dtype)  # t h
    sin = -sin if backwards else sin
    re, im, *rest = y.unbind(-1)  # b t h
    return torch.stack([re * cos - im * sin, re * sin + im * cos, *rest], dim=-1)


def rope(y: Tensor, start: int, base: float = 10_000.0) -> Tensor:
    """Rotary positions with half-split pairing (Llama, fla): y b t h k -> b t h k, k even."""
    half = y.shape[-1] // 2
    angle = base ** (-torch.arange(half, dtype=torch.float64, device=y.device) / half)
    cos, sin = (table[:, None] for table in phases(angle, y.shape[1], start, y.dtype))  # t 1 k/2
    first, second = y[..., :half], y[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def phases(angle: Tensor, t: int, start: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of angle * position: t x len(angle) each, differentiable in angle."""
    position = torch.arange(start, start + t, dtype=torch.float64, device=angle.device)
    turned = torch.remainder(position[:, None] * angle.double(), 2 * math.pi).to(dtype)
    return turned.cos(), turned.sin()
