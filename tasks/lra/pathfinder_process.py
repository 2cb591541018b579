"""The numbers of the Pathfinder process, as published and changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

SeedMode = Literal["reference", "uniform"]


@dataclass(frozen=True)
class Process:
    """The numbers of the generator; lengths in pixels, angles as published.

    contour, distractor_length: paddles of a target and of a distractor. seed_frame: width of the
    frame where the first target cannot begin. continuity: a turn of pi / (2 * continuity) or more
    never happens. margins: one is drawn per image. scale: of the canvas on which stamps are drawn.
    retrials, distractor_retrials: draws after the first one of a paddle, of a distractor. apart: of
    our own, draws the targets again where they come so near that the eye may join them.
    """

    size: int
    seed_mode: SeedMode
    seed_distance: int
    seed_frame: int
    marker_radius: float
    contour: int
    distractors: int
    distractor_length: int
    continuity: float
    length: int
    thickness: float
    margins: tuple[int, ...]
    snake_contrast: float
    paddle_contrast: float
    padding: int = 1
    scale: int = 2
    retrials: int = 2
    distractor_retrials: int = 4
    apart: bool = False


# LRA's hard level; other sizes draw the paddles of 32 and say the rest themselves.
_32 = Process(
    size=32,
    seed_mode="reference",
    seed_distance=7,
    seed_frame=14,
    marker_radius=1.5,
    contour=14,
    distractors=5,
    distractor_length=4,
    continuity=1.0,
    length=2,
    thickness=0.5,
    margins=(1,),
    snake_contrast=2.0,
    paddle_contrast=0.75,
)
_128 = Process(
    size=128,
    seed_mode="reference",
    seed_distance=20,
    seed_frame=40,
    marker_radius=3.0,
    contour=14,
    distractors=8,
    distractor_length=4,
    continuity=1.8,
    length=5,
    thickness=1.5,
    margins=(2, 3),
    snake_contrast=0.9,
    paddle_contrast=1.0,
)
PROCESSES = {16: replace(_32, size=16), 32: _32, 128: _128}


def process(parameters: Mapping[str, int | float | str]) -> Process:
    """The published process of parameters["size"] with the other parameters in place of its own."""
    given = {name: value for name, value in parameters.items() if name != "seed"}
    known = {field.name for field in fields(Process)} - {"margins"}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"Pathfinder has no {', '.join(unknown)}; give {', '.join(sorted(known))}")
    size, mode = given.get("size"), given.get("seed_mode", "reference")
    if size not in PROCESSES:
        raise ValueError(
            f"size {size!r} is not known; give one of {', '.join(map(str, PROCESSES))}"
        )
    if mode not in get_args(SeedMode):
        raise ValueError(f"seed_mode {mode!r} is not known; give {' or '.join(get_args(SeedMode))}")
    return replace(PROCESSES[int(size)], **given)
