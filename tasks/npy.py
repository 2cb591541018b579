"""Arrays on disk: written as a stream of blocks to a .npy file, read as memory maps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy


def stream(
    path: Path, blocks: Iterable[np.ndarray], dtype: np.dtype, tail: Sequence[int] = ()
) -> None:
    """Writes blocks along the first axis as one .npy file, which has its name once it is whole.

    tail: shape of a block without its first axis. Raises: ValueError where a block is another.
    """
    draft = path.with_name(f"{path.name}.tmp")
    with draft.open("wb") as file:
        _header(file, dtype, (0, *tail))
        begin, count = file.tell(), 0
        for block in blocks:
            if block.dtype != dtype or block.ndim != len(tail) + 1 or block.shape[1:] != (*tail,):
                raise ValueError(
                    f"{path.name}: a block is {block.dtype}{block.shape}; those before it are"
                    f" {dtype} with rows of shape {tuple(tail)}"
                )
            file.write(np.ascontiguousarray(block).data)
            count += len(block)
        file.seek(0)
        _header(file, dtype, (count, *tail))
        assert file.tell() == begin  # numpy leaves room for the first axis to grow
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def mapped(path: Path) -> np.ndarray:
    """The array in a file, memory-mapped. Raises: ValueError where the file is none."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no array: {error}") from error


def _header(file: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    descr = npy.dtype_to_descr(dtype)
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
