"""A corpus of a few thousand bytes and runs of a few seconds on it.

As a program: `lm_tiny.py ROOT OUT` makes `resumed_run` of the texts in ROOT.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from runners.lm_config import Lm
from tasks.lm.data import Data, prepare

WORDS = ["the", "sea", "a", "ship", "went", "over", "far", "and", "water", "king", "sang", "day"]
BYTES = {"train": 10_500, "valid": 1000, "test": 1000}
SIZES: dict[str, Any] = {
    "d_model": 16,
    "depth": 1,
    "batch": 4,
    "seq_len": 32,
    "updates": 2,
    "evaluate_every": 1,
}


def text(size: int, seed: int = 0) -> str:
    """Sentences of a few words. size: bytes, roughly."""
    random, lines = np.random.default_rng(seed), list[str]()
    while sum(map(len, lines)) < size:
        chosen = [WORDS[i] for i in random.integers(len(WORDS), size=random.integers(3, 9))]
        lines.append(" ".join(chosen).capitalize() + ".\n")
    return "".join(lines)


def corpus(root: Path, **sizes: int) -> str:
    """A folder of a text for each split, as a corpus. sizes: bytes of a split."""
    folder = root / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (split, size) in enumerate((BYTES | sizes).items()):
        path = folder / f"{split}.txt"
        if not path.exists():
            path.write_text(text(size, number), encoding="utf-8")
    return str(folder)


def config(root: Path, model: str = "linformer", **fields: Any) -> Lm:
    return Lm(**{"corpus": corpus(root), "model": model, **SIZES, **fields})


def made(run: Lm, root: Path) -> Data:
    """The tokens of a run, prepared in ROOT/data."""
    return prepare(run.corpus, run.tokeniser, root / "data", tell=lambda line: None)


# What a resumed run must not lose: dropout, parts, epochs, a schedule, a state of the optimiser.
RESUMED: dict[str, Any] = {
    "dropout": 0.1,
    "accumulate": 2,
    "batch": 10,
    "updates": 60,
    "evaluate_every": 5,
    "warmup": 3,
    "lr": 0.01,
    "schedule": "wsd",
    "decay_share": 0.5,
}


def resumed_run(root: Path, **fields: Any) -> Lm:
    """Epochs of about 33 updates."""
    run = config(root, "metala", **{**RESUMED, **fields})
    made(run, root)
    return run


def main(root: Path, out: Path) -> None:
    """Makes the run and stores its row; a line on standard output at the start of each part."""
    import torch

    from runners import lm, lm_run

    torch.set_num_threads(1)
    run, real = resumed_run(root), lm.loss

    def told(model, batch):
        print("part", flush=True)
        return real(model, batch)

    lm.loss = told
    places: dict[str, Any] = {
        "data": root / "data",
        "checkpoints": out / "checkpoints",
        "models": out / "models",
    }
    row = lm_run.run(run, **places, every=0.0)
    (out / "row.json").write_text(json.dumps(row, allow_nan=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
