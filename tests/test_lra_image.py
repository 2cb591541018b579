"""Image: grey as Pillow makes it, S4's split, and archives that are what they should be."""

import gzip
import io
import struct
import tarfile
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset, random_split

from tasks import lra
from tasks.lra import arrays, image
from tasks.lra.image import grey, permutation
from tasks.lra.sources import CIFAR10, FASHION

STREAM = np.random.default_rng(0)
CIFAR = STREAM.integers(256, size=(120, 3, 32, 32), dtype=np.uint8)  # 5 files of 20, then 20
CIFAR_CLASSES = np.arange(120, dtype=np.uint8) % 10
FASHION_TRAIN = STREAM.integers(1, 256, size=(100, 28, 28), dtype=np.uint8)
FASHION_TEST = STREAM.integers(1, 256, size=(20, 28, 28), dtype=np.uint8)
SMALL = lra.rows(90, 10, 20)


def tar(files, mode: Literal["w:gz", "w:xz"] = "w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar_files():
    """The files of the binary version, training rows in the order of their numbers."""
    records = np.concatenate([CIFAR_CLASSES[:, None], CIFAR.reshape(120, -1)], axis=1)
    names = [*(f"data_batch_{i}" for i in (1, 2, 3, 4, 5)), "test_batch"]
    parts = {name: part.tobytes() for name, part in zip(names, np.split(records, 6))}
    return {f"cifar-10-batches-bin/{name}.bin": parts[name] for name in sorted(parts, reverse=True)}


def idx(array):
    """An array in the format of MNIST's files."""
    head = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def fashion_files(train=FASHION_TRAIN):
    where = "./usr/share/datasets/fashion-mnist"
    labels = np.arange(100) % 10
    return {
        f"{where}/train-images-idx3-ubyte.gz": idx(train),
        f"{where}/train-labels-idx1-ubyte.gz": idx(labels),
        f"{where}/t10k-images-idx3-ubyte.gz": idx(FASHION_TEST),
        f"{where}/t10k-labels-idx1-ubyte.gz": idx(labels[:20]),
    }


def deb(files):
    """A Debian package."""
    parts = {"debian-binary": b"2.0\n", "data.tar.xz": tar(files, "w:xz")}
    head = "".join(f"{{{i}:<{n}}}" for i, n in enumerate((16, 12, 6, 6, 8, 10)))
    content = b"!<arch>\n"
    for name, part in parts.items():
        content += head.format(name, 0, 0, 0, 100644, len(part)).encode() + b"`\n"
        content += part + b"\n" * (len(part) % 2)
    return content


def built(tmp_path, name, content):
    """The splits of a data set built from a file, and what was asked for."""
    path = tmp_path / "file"
    path.write_bytes(content)
    data, asked = replace(lra.dataset(name), rows=SMALL), []
    image.build(data, tmp_path, tell=asked.append, fetch=lambda s: asked.append(s) or path)
    return {split: arrays.read(tmp_path, split, 1, 1024) for split in SMALL}, asked


def test_grey_is_that_of_pillow_bit_for_bit():
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    colours = np.concatenate([cube.reshape(-1, 3), CIFAR.transpose(0, 2, 3, 1).reshape(-1, 3)])
    expected = np.asarray(Image.fromarray(colours[None], "RGB").convert("L"))[0]
    assert np.array_equal(grey(*colours.T), expected)


def test_the_split_is_that_of_torch():
    parts = random_split(
        TensorDataset(torch.arange(100)), [90, 10], torch.Generator().manual_seed(42)
    )
    assert permutation(100, 42).tolist() == [*parts[0].indices, *parts[1].indices]
    assert permutation(100, 43).tolist() != permutation(100, 42).tolist()


def test_cifar_is_read_in_the_order_of_its_files(tmp_path):
    splits, asked = built(tmp_path, "image", tar(cifar_files()))
    pixels = grey(*(CIFAR.reshape(120, 3, 1024)[:, colour] for colour in range(3)))
    order = permutation(100, 42)
    for split, rows in {"train": order[:90], "valid": order[90:], "test": range(100, 120)}.items():
        assert np.array_equal(splits[split].inputs, pixels[rows])
        assert np.array_equal(splits[split].labels, CIFAR_CLASSES[rows])
    assert asked == [CIFAR10]


def test_fashion_gets_two_black_pixels_on_each_side(tmp_path):
    splits, asked = built(tmp_path, "image-fashion", deb(fashion_files()))
    order = permutation(100, 42)
    for split, rows in {"train": FASHION_TRAIN[order[:90]], "test": FASHION_TEST}.items():
        images = np.array(splits[split].inputs).reshape(-1, 32, 32)
        assert np.array_equal(images[:, 2:30, 2:30], rows)
        images[:, 2:30, 2:30] = 0
        assert not images.any()
    assert splits["valid"].labels.tolist() == (order[90:] % 10).tolist()
    assert asked == [FASHION]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: {**files, "cifar-10-batches-bin/data_batch_3.bin": b"1234"}, "4 bytes"),
        (lambda files: dict(list(files.items())[1:]), "0 bytes; expected a multiple of 3,073"),
        (lambda files: {name: content[3073:] for name, content in files.items()}, "10 of each"),
    ],
    ids=["cut off", "missing", "rows missing"],
)
def test_another_cifar_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        built(tmp_path, "image", tar(change(cifar_files())))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(FASHION_TRAIN)[:-20], "cannot be unpacked"),
        (gzip.compress(gzip.decompress(idx(FASHION_TRAIN))[:-1]), "bytes that begin"),
        (idx(FASHION_TRAIN[:, :27]), "expected 2051, the sizes"),
        (idx(FASHION_TRAIN[0]), "expected 2051, the sizes"),
        (gzip.compress(b"\0\0\x0d\3" + gzip.decompress(idx(FASHION_TRAIN))[4:]), "expected 2051"),
        (idx(FASHION_TRAIN[:99]), "99 images with 100 classes"),
    ],
    ids=[
        "gzip cut off",
        "array cut off",
        "other side",
        "other axes",
        "other numbers",
        "image missing",
    ],
)
def test_another_fashion_is_refused(tmp_path, content, message):
    files = fashion_files()
    files["./usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"] = content
    with pytest.raises(ValueError, match=message):
        built(tmp_path, "image-fashion", deb(files))
