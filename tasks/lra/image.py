"""Image: CIFAR-10 (Krizhevsky 2009) in grey, and Fashion-MNIST (arXiv 1708.07747) in its place.

A row is an image of 32 x 32 pixels, 0..255, line by line. Grey is Pillow's, as in S4
(src/dataloaders/basic.py): luma of ITU-R 601-2. The training set is split by the permutation that
S4 uses, torch's with seed 42, the last tenth for validation. CIFAR-10 is read from its binary
version, since the other one is made of pickles. Images of Fashion-MNIST have 28 x 28 pixels and get
two black ones on each side.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import torch

from tasks.lra import Dataset, archives
from tasks.lra.data import write_split
from tasks.lra.sources import CIFAR10, FASHION, Source

Images = tuple[np.ndarray, np.ndarray]  # rows 1024, uint8; classes, uint8

SIDE = 32
CIFAR = "cifar-10-batches-bin"
CIFAR_RECORD = 1 + 3 * SIDE**2  # bytes: class, red, green, blue
MNIST = "usr/share/datasets/fashion-mnist"
MNIST_SIDE = 28
MNIST_MAGIC = {1: 0x801, 3: 0x803}  # of arrays of bytes with so many axes


def build(
    dataset: Dataset,
    folder: Path,
    *,
    tell: Callable[[str], None],
    fetch: Callable[[Source], Path],
) -> str:
    """Writes the three splits to `folder`. Returns: where they come from."""
    if dataset.name == "image":
        train, test = _cifar(fetch(CIFAR10))
        source = "download"
    else:
        train, test = _fashion(fetch(FASHION))
        source = "stand-in: Fashion-MNIST"
    rows = dataset.rows
    _check(f"{dataset.name}, training set", train, rows["train"] + rows["valid"], dataset.classes)
    _check(f"{dataset.name}, test set", test, rows["test"], dataset.classes)
    pixels, classes = train
    order = permutation(len(classes), int(dataset.parameters["seed"]))
    chosen, held_back = order[: rows["train"]], order[rows["train"] :]
    write_split(folder, "train", pixels[chosen], classes[chosen])
    write_split(folder, "valid", pixels[held_back], classes[held_back])
    write_split(folder, "test", *test)
    return source


def permutation(rows: int, seed: int) -> np.ndarray:
    """The order in which torch.utils.data.random_split shares out `rows` rows."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).numpy()


def grey(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Pillow's conversion to mode L, uint8 to uint8: luma of ITU-R 601-2 in 16 bits, rounded."""
    # 0.299, 0.587 and 0.114 of 2^16, as in libImaging/Convert.c.
    luma = red.astype(np.uint32) * 19595 + green.astype(np.uint32) * 38470
    luma += blue.astype(np.uint32) * 7471 + 2**15
    return (luma >> 16).astype(np.uint8)


def _cifar(archive: Path) -> tuple[Images, Images]:
    """The training set, its five files in order, and the test set."""
    names = [f"{CIFAR}/data_batch_{i}.bin" for i in range(1, 6)] + [f"{CIFAR}/test_batch.bin"]
    found = dict(archives.members(archive, lambda name: name in names))
    parts = [_records(name, found.get(name, b"")) for name in names]
    pixels, classes = (np.concatenate(part) for part in zip(*parts[:-1]))
    return (pixels, classes), parts[-1]


def _records(name: str, content: bytes) -> Images:
    if not content or len(content) % CIFAR_RECORD:
        expected = f"a multiple of {CIFAR_RECORD:,}: a class and three colours"
        raise ValueError(f"{name} has {len(content):,} bytes; expected {expected}")
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    return grey(*np.split(records[:, 1:], 3, axis=1)), records[:, 0]


def _fashion(package: Path) -> tuple[Images, Images]:
    """The training set and the test set."""
    names = {
        f"{MNIST}/{split}-{part}-ubyte.gz"
        for split in ("train", "t10k")
        for part in ("images-idx3", "labels-idx1")
    }
    found = dict(archives.members(package, lambda name: name in names))

    def images(split: str) -> Images:
        pixels = _array(f"{MNIST}/{split}-images-idx3-ubyte.gz", found, axes=3)
        return _padded(pixels), _array(f"{MNIST}/{split}-labels-idx1-ubyte.gz", found, axes=1)

    return images("train"), images("t10k")


def _array(name: str, found: dict[str, bytes], axes: int) -> np.ndarray:
    """An array of bytes in the idx format: magic number, sizes, content; big-endian, gzipped."""
    try:
        content = gzip.decompress(found.get(name, b""))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be unpacked: {error}") from error
    head = np.frombuffer(content[: 4 * (1 + axes)], ">u4")
    magic, *sizes = head.tolist() or [0]
    side = [MNIST_SIDE] * (axes - 1)
    if magic != MNIST_MAGIC[axes] or sizes[1:] != side or len(content) != head.nbytes + prod(sizes):
        given = f"{len(content):,} bytes that begin {head.tolist()}"
        expected = f"{MNIST_MAGIC[axes]}, the sizes {['rows', *side]} and as many bytes"
        raise ValueError(f"{name} has {given}; expected {expected}")
    return np.frombuffer(content, np.uint8, offset=head.nbytes).reshape(sizes)


def _padded(images: np.ndarray) -> np.ndarray:
    """Black pixels around images of 28 x 28: rows 1024."""
    edge = (SIDE - MNIST_SIDE) // 2
    return np.pad(images, ((0, 0), (edge, edge), (edge, edge))).reshape(len(images), SIDE**2)


def _check(what: str, images: Images, rows: int, classes: int) -> None:
    """Raises: ValueError where these are not as many images of each class as there should be."""
    counts = np.bincount(images[1], minlength=classes)
    if len(images[0]) != len(images[1]) or (counts != rows // classes).any():
        found = f"{len(images[0]):,} images with {len(images[1]):,} classes: {counts.tolist()}"
        raise ValueError(f"{what}: {found}; expected {rows // classes:,} of each of {classes}")
