"""Pathfinder as LRA released it: a PNG for each image, and lines of text that name and label them.

imgs/<k>/sample_<i>.png    8-bit grey
metadata/<k>.npy           text: folder, file, index, label, seven parameters of the drawing

imgs/0 sample_0.png 0 1 1.0 14 4 2 0.5 1 2
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.lra import Dataset, Split, arrays

FIELDS = 11
END = b"IEND\xaeB`\x82"  # of every PNG
BLOCK = 512  # images in memory


def build(data: Dataset, found: Path, part: Path, *, tell: Callable[[str], None]) -> None:
    """Writes the three splits, in stored order, to `part`."""
    listed = list(entries(found))
    if len(listed) != (expected := sum(data.rows.values())):
        raise ValueError(
            f"{found / 'metadata'} lists {len(listed):,} images, expected {expected:,}"
        )
    first = 0
    splits: tuple[Split, ...] = ("train", "valid", "test")
    for split in splits:
        chosen = listed[first : first + data.rows[split]]
        first += len(chosen)
        tell(f"reading {len(chosen):,} images of {found} for {split}")
        labels = [label for _, label, _ in chosen]
        arrays.write(part, split, _blocks(found, data, chosen, tell), labels, documents=1)


def entries(found: Path) -> Iterator[tuple[str, int, str]]:
    """File, label and place in the metadata of each image, in stored order."""
    files = [path for path in (found / "metadata").iterdir() if path.stem.isdigit()]
    for path in sorted(files, key=lambda path: int(path.stem)):
        lines = path.read_bytes().decode("ascii", "replace").split("\n")
        if lines.pop():
            raise ValueError(f"{path}, line {len(lines) + 1} has no line break: it is cut off")
        for number, line in enumerate(lines, start=1):
            fields, place = line.split(), f"{path}, line {number}"
            if len(fields) != FIELDS or fields[3] not in ("0", "1"):
                raise ValueError(
                    f"{place} is {line[:60]!r}, expected {FIELDS} fields with blanks between them,"
                    " the fourth 0 or 1"
                )
            yield f"{fields[0]}/{fields[1]}", int(fields[3]), place


def _blocks(
    found: Path, data: Dataset, chosen: list[tuple[str, int, str]], tell: Callable[[str], None]
) -> Iterator[np.ndarray]:
    """Pixels of the images, rows length, uint8."""
    side = round(data.length**0.5)
    began = told = time.monotonic()
    for first in range(0, len(chosen), BLOCK):
        part = chosen[first : first + BLOCK]
        yield np.stack([_pixels(found / file, side, place) for file, _, place in part])
        if (now := time.monotonic()) - told > 2:
            told, done = now, first + len(part)
            left = (len(chosen) - done) * (now - began) / done
            tell(f"{done:,} of {len(chosen):,} images, {left:.0f} s left")


def _pixels(path: Path, side: int, place: str) -> np.ndarray:
    expected = f"expected an 8-bit grey PNG of {side} x {side} ({place})"
    if not path.is_file():
        raise ValueError(f"{path} is missing, {expected}")
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            found = f"{image.format} of {image.width} x {image.height}, mode {image.mode}"
            if not content.endswith(END):
                found += ", cut off"
            elif found == f"PNG of {side} x {side}, mode L":
                return np.asarray(image).reshape(-1)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        found = f"file of {len(content)} bytes that is no picture: {error}"
    raise ValueError(f"{path} is a {found}; {expected}")
