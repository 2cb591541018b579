"""Long Range Arena data sets of a few rows, under their own names, whose labels can be learned.

As a program: `lra_tiny.py ROOT OUT` makes `resumed_run`, `lra_tiny.py worker ROOT` is a worker.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tasks.lra
from runners.lra_config import Lra
from tasks.lra import Dataset, manifest, rows
from tasks.lra.data import cache_folder, open_data, write_split

SIZES: dict[str, Any] = {"d_model": 8, "depth": 1, "batch": 4, "updates": 2, "evaluate_every": 1}


def dataset(name: str, train: int = 12, valid: int = 6, test: int = 8, **changes: Any) -> Dataset:
    """The data set of that name with few rows; also known by that name from now on."""
    changed = replace(tasks.lra.DATASETS[name], rows=rows(train, valid, test), **changes)
    tasks.lra.DATASETS[name] = changed
    return changed


def write(of: Dataset, root: Path, longest: int = 40) -> None:
    """Its arrays. longest: tokens of a row at most, where rows have many lengths."""
    folder = cache_folder(of, root)
    folder.mkdir(parents=True)
    for number, (split, count) in enumerate(of.rows.items()):
        random = np.random.default_rng([1, number])
        labels = random.integers(of.classes, size=count)
        if of.pixels:
            inputs = random.integers(100, size=(count, of.length), dtype=np.uint8)
            inputs += (labels * (150 // of.classes)).astype(np.uint8)[:, None]
        else:
            lengths = random.integers(1, min(longest, of.length) + 1, size=(count, of.documents))
            inputs = documents(of, random, labels, lengths)
        write_split(folder, split, inputs, labels, documents=of.documents)
    manifest.write(folder, of, "made up", {"majority": 0.5})


def documents(of: Dataset, random: np.random.Generator, labels, lengths) -> Iterator[Any]:
    """Tokens, the first of which tells the label."""
    for label, sizes in zip(labels, lengths, strict=True):
        row = [random.integers(1, of.vocabulary, size=n).astype(np.uint16) for n in sizes]
        row[0][0] = 1 + label
        yield row[0] if of.documents == 1 else tuple(row)


def made(name: str, root: Path, longest: int = 40, **changes: Any):
    """Known, written and opened."""
    of = dataset(name, **changes)
    write(of, root, longest)
    return open_data(name, root)


def config(name: str, model: str = "linformer", **fields: Any) -> Lra:
    return Lra(**{"dataset": name, "model": model, **SIZES, **fields})


# What a resumed run must not lose: dropout, batch norm, lengths, parts, an early best.
RESUMED: dict[str, Any] = {
    "dropout": 0.1,
    "sublayer_dropout": 0.1,
    "norm": "batch",
    "accumulate": 2,
    "updates": 30,
    "evaluate_every": 5,
    "warmup": 3,
    "lr": 0.02,
    "state_lr": 0.001,
}


def resumed_run(root: Path, **fields: Any) -> Lra:
    """Epochs of 12 updates."""
    of = dataset("text", train=50, valid=20, test=20)
    if not cache_folder(of, root).exists():
        write(of, root)
    return config("text", "mamba2", **{**RESUMED, **fields})


def main(root: Path, out: Path) -> None:
    """Makes the run and stores its row; a line on standard output at the start of each part."""
    import torch

    from runners import lra, lra_run

    torch.set_num_threads(1)
    run, real = resumed_run(root), lra.loss

    def told(model, batch):
        print("part", flush=True)
        return real(model, batch)

    lra.loss = told
    row = lra_run.run(run, data=root, checkpoints=out / "checkpoints", every=0.0)
    (out / "row.json").write_text(json.dumps(row, allow_nan=False))


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        from runners.engines import worker

        resumed_run(Path(sys.argv[2]))
        worker.main()
    main(Path(sys.argv[1]), Path(sys.argv[2]))
