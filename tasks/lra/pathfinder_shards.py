"""Images drawn in shards by several threads, so that a killed build goes on where it was.

A shard has its name only once it is whole, carries what it was made from, and is read through the
checksums of its zip archive; one that does not match is drawn again.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.lra import Split

ROWS, BYTES = 1000, 4 << 20  # of a shard, at most
SECONDS = 3  # between two lines of progress

Shard = tuple[Split, int]  # split and its first row


@dataclass(frozen=True)
class Shards:
    """rows: of each split; draw: split, first row, rows -> an object with images and labels."""

    folder: Path
    rows: Mapping[Split, int]
    pixels: int
    made_from: str
    draw: Callable[[Split, int, int], Any]

    @property
    def step(self) -> int:
        return max(1, min(ROWS, BYTES // self.pixels))

    def complete(self, workers: int, tell: Callable[[str], None]) -> None:
        """Draws every shard that is not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [shard for shard in self._all() if self._read(shard) is None]
        total, todo = sum(self.rows.values()), sum(map(self._size, missing))
        if 0 < todo < total:
            tell(f"{total - todo:,} of {total:,} images are there already")
        pool = ThreadPoolExecutor(workers or os.cpu_count())
        try:
            begin = last = time.monotonic()
            done = 0
            drawn = {pool.submit(self._draw_only, shard): shard for shard in missing}
            for future in as_completed(drawn):
                future.result()
                done += self._size(drawn[future])
                if (now := time.monotonic()) - last >= SECONDS or done == todo:
                    rate, last = done / (now - begin), now
                    left = (todo - done) / rate
                    tell(f"{total - todo + done:,} of {total:,} images, {rate:,.0f} a second,"
                         f" {left:,.0f} seconds to go")  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)

    def blocks(self, split: Split, labels: list[int]) -> Iterator[np.ndarray]:
        """The images of a split, rows pixels; their labels are appended to the list."""
        for row in range(0, self.rows[split], self.step):
            shard = (split, row)
            found = self._read(shard)
            images, own = self._draw(shard) if found is None else found
            labels.extend(own.tolist())
            yield images

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _all(self) -> list[Shard]:
        return [
            (split, row) for split in self.rows for row in range(0, self.rows[split], self.step)
        ]

    def _size(self, shard: Shard) -> int:
        split, row = shard
        return min(self.step, self.rows[split] - row)

    def _path(self, shard: Shard) -> Path:
        split, row = shard
        return self.folder / f"{split}-{row:07}.npz"

    def _draw_only(self, shard: Shard) -> None:
        """What a thread returns is kept until all are done, so it returns nothing."""
        self._draw(shard)

    def _draw(self, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
        made = self.draw(*shard, self._size(shard))
        images, labels = made.images.reshape(-1, self.pixels), made.labels
        path = self._path(shard)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        with draft.open("wb") as file:
            made_from = np.array(self.made_from)
            np.savez_compressed(file, images=images, labels=labels, made_from=made_from)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return images, labels

    def _read(self, shard: Shard) -> tuple[np.ndarray, np.ndarray] | None:
        """A shard as it was drawn, or None."""
        try:
            # Opened here: numpy leaves a file open that is no whole archive.
            with self._path(shard).open("rb") as file, np.load(file, allow_pickle=False) as found:
                images, labels, made_from = found["images"], found["labels"], found["made_from"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        rows = self._size(shard)
        if images.shape != (rows, self.pixels) or labels.shape != (rows,):
            return None
        if images.dtype != np.uint8 or str(made_from) != self.made_from:
            return None
        return images, labels
