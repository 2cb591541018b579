"""Long Range Arena as the training loop sees it: the order of rows, batches, loss and score."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runners.lra_config import Lra
from runners.parts import Batch
from tasks.lra.arrays import Rows
from tasks.lra.data import Data

# Batches that are sorted by length together: enough to save most padding, few enough that an epoch
# stays well mixed.
STRETCH = 50
# Tokens to a multiple of which a GPU's batches are padded: each width is a CUDA graph of its own.
MULTIPLE = 256
# Tokens of a validation batch that fit wherever a model trains.
TOKENS_AT_ONCE = 16_384


def order(config: Lra, epoch: int) -> np.ndarray:
    """Rows of the training set in the order of an epoch; data_seed and epoch alone decide it."""
    if not config.shuffle:
        return np.arange(config.train_rows)
    return np.random.default_rng([config.data_seed, epoch]).permutation(config.train_rows)


def plan(config: Lra, train: Rows, epoch: int) -> np.ndarray:
    """The batches of an epoch, epoch_updates x batch row numbers; rows that fill none are left out.

    With config.bucket and rows of many lengths: stretches of the epoch's order are sorted by
    length and cut into batches, and all batches of the epoch are then shuffled.
    """
    updates, size = config.epoch_updates, config.batch
    rows = order(config, epoch)[: updates * size]
    if not (config.bucket and config.shuffle) or train.starts is None:
        return rows.reshape(updates, size)
    widths = train.lengths.max(axis=1)  # rows
    stretches = [rows[i : i + STRETCH * size] for i in range(0, len(rows), STRETCH * size)]
    by_length = [part[np.argsort(widths[part], kind="stable")] for part in stretches]
    batches = np.concatenate(by_length).reshape(updates, size)
    return batches[np.random.default_rng([config.data_seed, epoch, 1]).permutation(updates)]


def batches(
    config: Lra, data: Data, device: torch.device | str = "cpu", *, done: int = 0
) -> Iterator[Batch]:
    """Batches without end, as `batch` makes them. done: updates made before, which are skipped."""
    if data.train.rows != config.train_rows:
        raise ValueError(
            f"{config.dataset} has {data.train.rows:,} training rows, not {config.train_rows:,};"
            f" type: lazoo data lra {config.dataset}"
        )
    epoch, first = divmod(done, config.epoch_updates)
    while True:
        for rows in plan(config, data.train, epoch)[first:]:
            yield batch(config, data.train, rows, device)
        epoch, first = epoch + 1, 0


def batch(
    config: Lra,
    rows: Rows,
    numbers: np.ndarray,
    device: torch.device | str = "cpu",
    multiple: int = 0,
) -> Batch:
    """Rows of these numbers as a model reads them.

    multiple: tokens, to which the width is rounded up; 0 for what suits the device.
    Returns: inputs b t (b 2 t for pairs of documents), tokens int64 or values float32; lengths b
    (b 2) int64, left out where all rows have one length; labels b int64.
    """
    device = torch.device(device)
    inputs, lengths, labels = rows.batch(
        numbers, multiple or (MULTIPLE if device.type == "cuda" else 1)
    )
    parts = (inputs, labels) if rows.starts is None else (inputs, lengths, labels)
    if device.type == "cuda":
        parts = tuple(x.pin_memory().to(device, non_blocking=True) for x in parts)
    inputs, *rest = parts
    return (values(config, inputs) if reads_values(config) else inputs, *rest)


def reads_values(config: Lra) -> bool:
    return config.data.pixels and config.inputs == "values"


def values(config: Lra, pixels: Tensor) -> Tensor:
    """Pixels 0..255 as normalised numbers, float32."""
    return (pixels.float() / 255 - config.data.mean) / config.data.std


def logits(model: nn.Module, batch: Batch) -> Tensor:
    """b classes."""
    inputs, *lengths, _ = batch
    return model(inputs, lengths[0] if lengths else None)


def loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross entropy of the rows, nats."""
    return F.cross_entropy(logits(model, batch).float(), batch[-1])


def score(
    model: nn.Module,
    config: Lra,
    rows: Rows,
    device: torch.device | str = "cpu",
    *,
    parts: int = 1,
) -> float:
    """Accuracy, a fraction; every row counts once. The model must be in eval mode.

    parts: in how many a training batch is split; a validation batch has no more tokens than one.
    """
    most = max(TOKENS_AT_ONCE, config.batch // parts * config.max_length * rows.documents)
    right = torch.zeros((), dtype=torch.int64, device=device)
    bf16 = config.precision == "bf16"
    for numbers in by_length(rows, most):
        of_rows = batch(config, rows, numbers, device)
        with torch.autocast(right.device.type, dtype=torch.bfloat16, enabled=bf16):
            found = logits(model, of_rows).argmax(dim=-1)  # b
        right += (found == of_rows[-1]).sum()
    return right.item() / rows.rows


def by_length(rows: Rows, most: int) -> Iterator[np.ndarray]:
    """Row numbers in batches of at most `most` tokens, padding included; the longest first."""
    widths = rows.lengths.max(axis=1)  # rows
    numbers = np.argsort(-widths, kind="stable")
    first = 0
    while first < len(numbers):
        count = max(1, most // max(1, int(widths[numbers[first]]) * rows.documents))
        yield numbers[first : first + count]
        first += count
