"""Pathfinder and Path-X: are two markers on one snake, or on two? (Linsley et al. 2018, 1805.08315)

Two targets of `contour` paddles grow around short distractors; the label, drawn first, says where
the second marker goes. As published (drewlinsley/pathfinder at ab9c130, with the numbers of
google-research/long-range-arena, data/pathfinder.py), decision for decision, down to the pixels:
fed the same random numbers, both make the same images. The published code has a slip that keeps 330
of 360 directions from beginning a snake at 32 x 32 pixels; seed_mode "uniform" does without it.

Example: image 4 of pathfinder-easy, 16 x 16, without the empty rows. Its label is 1: the markers
are on the beginning, row 6 column 9, and on the end, row 3 column 13, of one contour of two
paddles; the other one lies below.

     2  . . . . . . . . . . . . + # . .
     3  . . . . . . . . . . . . # @ - .
     4  . . . . . . . . . . = . # + . .
     5  . . . . . . . . + # # . = . . .
     6  . . . . . . . . # @ - . . . . .
     7  . . . . . . . . . - . . . . . .
     8  . . . . . . * % # . . . . . . .
     9  . . . . . . . . . . . # % * . .
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image, ImageDraw

from tasks.lra import Dataset, Split, data, pathfinder_shards
from tasks.lra.pathfinder_process import Process, process
from tasks.lra.pathfinder_tables import check, paints, tables

COUNTS = (
    "margin",
    "attempts",
    "seeded",
    "dead_ends",
    "crossings",
    "distractor_dead_ends",
    "distractor_crossings",
    "paddles",
    "distractors",
)
# Image i of a split is FIRST[split] + i of the stream, so a shorter data set begins a longer one.
FIRST: dict[Split, int] = {"train": 0, "valid": 1 << 40, "test": 2 << 40}


@dataclass(frozen=True, eq=False)
class Images:
    """Images and how they were made.

    images: n size size, uint8; labels: n, uint8; markers: n 2 2, rows and columns
    counts: n 9, the columns COUNTS: margin index; attempts at two targets, those that found their
        first paddles, failed extensions of targets, of distractors; what was drawn in the end
    paddles: n p 4, row and column, stamp of pathfinder_tables, snake (0 and 1 are the targets)
    """

    images: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    markers: np.ndarray
    paddles: np.ndarray

    def count(self, name: str) -> np.ndarray:
        return self.counts[:, COUNTS.index(name)]


def generate(process: Process, seed: int, first: int, count: int) -> Images:
    """Images first, first + 1, ...; each depends on the process, the seed and its number alone.

    Raises: ValueError without numba, or where no snake has room to begin.
    """
    kernel, p = _kernel(), process
    check(p)
    margins = [tables(p, margin) for margin in p.margins]
    numbers = kernel.Numbers(
        margins=len(margins),
        reach=p.length + max(p.margins),
        **{name: getattr(p, name) for name in kernel.Numbers._fields[2:-1]},
        outside=int(p.seed_mode == "uniform"),
    )
    made = Images(
        np.zeros((count, p.size, p.size), np.uint8),
        np.zeros(count, np.uint8),
        np.zeros((count, len(COUNTS)), np.int64),
        np.zeros((count, 2, 2), np.int64),
        np.zeros((count, 2 * p.contour + p.distractors * p.distractor_length, 4), np.int64),
    )
    out = (made.images, made.labels, made.counts, made.markers, made.paddles)
    pair = (margins[0], margins[-1])  # one type for one margin and for two
    kernel.draw_images(np.uint64(_key(p, seed)), first, pair, paints(p), numbers, out)
    return made


def build(dataset: Dataset, folder: Path, *, tell: Callable[[str], None], workers: int = 0) -> str:
    """Draws train, valid and test into `folder`; what an earlier call left there is used.

    tell: gets a line every few seconds. workers: threads, 0 for one per core.
    Raises: ValueError without numba, or for parameters that mean nothing.
    """
    drawn, seed = process(dataset.parameters), int(dataset.parameters["seed"])
    tell(f"{dataset.name}: compiling the generator")
    generate(drawn, seed, first=0, count=1)  # one thread compiles, and errors come before files
    shards = pathfinder_shards.Shards(
        folder / "shards",
        dataset.rows,
        pixels=drawn.size**2,
        made_from=f"{_text(drawn)} {seed}",
        draw=lambda split, row, rows: generate(drawn, seed, FIRST[split] + row, rows),
    )
    shards.complete(workers, tell=lambda text: tell(f"{dataset.name}: {text}"))
    for split in dataset.rows:
        labels: list[int] = []
        data.write_split(folder, split, shards.blocks(split, labels), labels)
    shards.remove()
    return f"generated, seed_mode {drawn.seed_mode}, seed {seed}"


def contact_sheet(
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    path: Path,
    *,
    markers: np.ndarray | None = None,
    columns: int = 8,
) -> None:
    """Images side by side as a PNG: a green frame and 1 where the markers are joined, or red and 0.

    images: n size size, or n pixels; labels: n; markers: n 2 2, encircled where they are given
    """
    size = round(images[0].size ** 0.5)
    zoom, edge = max(1, 256 // size), 14
    side = size * zoom
    cell = side + 2 * edge
    sheet = Image.new("RGB", (columns * cell, -(-len(images) // columns) * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (image, label) in enumerate(zip(images, labels)):
        left, top = i % columns * cell + edge, i // columns * cell + edge
        colour = "green" if label else "red"
        grey = Image.fromarray(image.reshape(size, size))
        sheet.paste(grey.resize((side, side), Image.Resampling.NEAREST), (left, top))
        pen.rectangle((left - 2, top - 2, left + side + 1, top + side + 1), None, colour, 2)
        pen.text((left, top + side + 2), str(int(label)), colour)
        for y, x in () if markers is None else markers[i]:
            middle = (left + (x + 0.5) * zoom, top + (y + 0.5) * zoom)
            pen.circle(middle, 8 + 2 * zoom, None, colour, 2)
    sheet.save(path)


def _key(process: Process, seed: int) -> int:
    """Names the stream of random numbers; 64 bits."""
    text = f"{_text(process)} {seed}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _text(process: Process) -> str:
    return json.dumps(asdict(process), sort_keys=True)


def _kernel() -> ModuleType:
    try:
        from tasks.lra import pathfinder_kernel
    except ImportError as error:
        raise ValueError(
            f"drawing Pathfinder images needs numba ({error}); type: pip install"
            " 'linear-attention-zoo[lra]'; a folder of LRA's release needs none:"
            " lazoo data lra pathfinder --from FOLDER"
        ) from error
    return pathfinder_kernel
