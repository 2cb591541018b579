"""MQAR as the training loop sees it: data splits, batches, the loss, and the score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from runners.config import Mqar
from runners.head_loss import head_loss
from runners.train import Batch
from tasks.mqar import MIXTURES, Data, Setting, accuracy, generate
from zoo.model import Model

# Bounds the memory of a validation: 4096 labelled positions are 134 MB of logits at V = 8192.
LABELLED_AT_ONCE = 4096
TOKENS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Segment:
    """Rows of one setting, on the device that trains."""

    setting: Setting
    data: Data


@dataclass(frozen=True)
class Splits:
    """The three sets of a run, generated apart. With selection="test", valid is test."""

    train: list[Segment]
    valid: list[Segment]
    test: list[Segment]
    sha256: dict[str, str]


def splits(config: Mqar, device: torch.device | str = "cpu") -> Splits:
    """The data of a run; only the task's fields and data_seed decide it."""
    if config.mixture == "none":
        setting = Setting(
            vocabulary=config.vocabulary,
            length=config.length,
            pairs=config.pairs,
            filler=config.filler,
        )
        train = [(setting, config.train_rows)]
        valid, test = [(setting, config.valid_rows)], [(setting, config.test_rows)]
    else:
        mixture = MIXTURES[config.mixture]
        train, valid, test = mixture.train, mixture.test, mixture.test
    made = {
        "train": [generate(s, rows, config.data_seed, "train") for s, rows in train],
        "test": [generate(s, rows, config.data_seed, "test") for s, rows in test],
    }
    if config.selection == "validation":
        made["valid"] = [generate(s, rows, config.data_seed, "valid") for s, rows in valid]
    sha256 = {split: "+".join(data.sha256 for data in parts) for split, parts in made.items()}
    made.setdefault("valid", made["test"])

    def placed(split: str, settings: Sequence[tuple[Setting, int]]) -> list[Segment]:
        return [
            Segment(
                setting, Data(d.inputs.to(device), d.positions.to(device), d.targets.to(device))
            )
            for (setting, _), d in zip(settings, made[split], strict=True)
        ]

    return Splits(placed("train", train), placed("valid", valid), placed("test", test), sha256)


def epoch_updates(config: Mqar, train: list[Segment]) -> int:
    """Updates of one epoch; each segment's last batch may be smaller, as zoology's is."""
    return sum(math.ceil(segment.data.rows / config.batch) for segment in train)


def batches(config: Mqar, train: list[Segment]) -> Iterator[Batch]:
    """Batches without end: tokens b t, positions b p, targets b p.

    A batch holds rows of one segment. Without shuffle the segments come in the listed order and
    their rows as they are; with it, rows and batches get a new order in each epoch.
    """
    epoch = 0
    while True:
        random = np.random.default_rng([config.data_seed, epoch])
        plan: list[tuple[Data, Tensor]] = []
        for segment in train:
            rows = segment.data.rows
            order = random.permutation(rows) if config.shuffle else np.arange(rows)
            on_device = torch.from_numpy(order).to(segment.data.inputs.device)
            plan += [(segment.data, part) for part in on_device.split(config.batch)]
        if config.shuffle and len(train) > 1:
            plan = [plan[i] for i in random.permutation(len(plan))]
        for data, rows in plan:
            yield data.batch(rows)
        epoch += 1


def labelled(model: Model, tokens: Tensor, positions: Tensor) -> Tensor:
    """What the head reads, at labelled positions only; the others carry no loss and no score.

    tokens: b t. positions: b p. Returns: b p d.
    """
    hidden, _ = model.hidden(tokens)  # b t d
    return hidden.gather(1, positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))  # b p d


def loss(model: Model, batch: Batch) -> Tensor:
    """Mean cross entropy over the labelled positions, nats."""
    tokens, positions, targets = batch
    hidden = labelled(model, tokens, positions).flatten(0, 1)  # (b p) d
    return head_loss(hidden, model.head_weight, targets.flatten())


def scores(model: Model, segments: list[Segment], precision: str) -> list[float]:
    """Accuracy of each segment, a fraction. The model must be in eval mode."""
    found = []
    for segment in segments:
        setting, data = segment.setting, segment.data
        rows = max(1, min(LABELLED_AT_ONCE // setting.pairs, TOKENS_AT_ONCE // setting.length))
        total = 0.0
        for first in range(0, data.rows, rows):
            tokens, positions, targets = data.batch(slice(first, first + rows))
            enabled = precision == "bf16"
            with torch.autocast(tokens.device.type, dtype=torch.bfloat16, enabled=enabled):
                logits = model.head(labelled(model, tokens, positions))  # b p vocabulary
            total += accuracy(logits.argmax(dim=-1), targets).sum().item()
        found.append(total / data.rows)
    return found


def pooled(values: list[float], segments: list[Segment]) -> float:
    """Mean over the rows of all segments, the published score of a mixture."""
    rows = [segment.data.rows for segment in segments]
    return sum(v * n for v, n in zip(values, rows, strict=True)) / sum(rows)


def blind_guess(data: Data, pairs: int) -> float:
    """Accuracy of the best guess that reads no key: "the r-th query asks for the i-th pair".

    Earlier pairs are asked a little sooner, so this is above 1/pairs (0.31 at length 32, 4 pairs).
    """
    rows = max(1, 2**24 // pairs**2)  # bounds `which` to 64 MB
    shown = data.inputs[:rows, 1 : 2 * pairs : 2]  # rows pairs, values in the order shown
    asked = data.targets[:rows]  # rows pairs, in the order asked
    which = (shown.unsqueeze(1) == asked.unsqueeze(2)).float()  # rows pairs(asked) pairs(shown)
    return which.mean(0).max(dim=1).values.mean().item()


def plateau_ends_at(segments: list[Segment]) -> float:
    """Validation accuracy above which a model has left the plateau of guessing, a fraction.

    The blind guess, plus a tenth of what is missing from it to 1, or four standard errors where
    that is more (few rows). Rows, not queries, count as independent.
    """
    guess = pooled([blind_guess(s.data, s.setting.pairs) for s in segments], segments)
    rows = sum(segment.data.rows for segment in segments)
    return guess + max(0.1 * (1 - guess), 4 * math.sqrt(guess * (1 - guess) / rows))
