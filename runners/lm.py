"""Language modelling as the training loop sees it: windows, their order, loss and score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from runners.head_loss import head_loss
from runners.lm_config import Lm
from runners.parts import Batch
from runners.team import ALONE, Team
from tasks.lm.data import Data
from tasks.lm.tokens import Tokens
from zoo.model import Model

# Logits of a validation that are held at once: 268 MB in float32.
LOGITS_AT_ONCE = 2**26
# Tokens of a validation batch that fit wherever a model trains.
TOKENS_AT_ONCE = 16_384


def windows(config: Lm, tokens: Tokens) -> int:
    """Windows of seq_len inputs and as many targets, which are the inputs of one token later.

    Neighbours share one token: the last target of a window is the first input of the next one. So
    every token but the first is a target once; what fills no window is left out.
    """
    return (len(tokens.ids) - 1) // config.seq_len


def order(config: Lm, count: int, epoch: int) -> np.ndarray:
    """Numbers of the windows in the order of an epoch; data_seed and epoch alone decide it."""
    if not config.shuffle:
        return np.arange(count)
    return np.random.default_rng([config.data_seed, epoch]).permutation(count)


def batches(
    config: Lm,
    data: Data,
    device: torch.device | str = "cpu",
    *,
    done: int = 0,
    team: Team = ALONE,
) -> Iterator[Batch]:
    """Batches without end: inputs and targets, both b t int64.

    done: updates made before, which are skipped. team: of each batch, its member's share.
    """
    device, count = torch.device(device), windows(config, data.train)
    orders = Orders(config, count)
    for update in itertools.count(done):
        yield batch(config, data.train, team.share(orders.windows(update)), device)


class Orders:
    """Which windows an update sees, whatever the model and the number of its processes.

    Epochs follow each other without a gap, so a batch may hold the end of one and the start of the
    next. count: windows of the training set.
    """

    def __init__(self, config: Lm, count: int) -> None:
        self.config, self.count = config, count
        self._epochs: dict[int, np.ndarray] = {}

    def windows(self, update: int) -> np.ndarray:
        """Their numbers. update: counted from 0."""
        numbers = np.arange(update * self.config.batch, (update + 1) * self.config.batch)
        epochs = numbers // self.count
        wanted = {int(epoch) for epoch in np.unique(epochs)}
        self._epochs = {
            epoch: self._epochs[epoch]
            if epoch in self._epochs
            else order(self.config, self.count, epoch)
            for epoch in wanted
        }
        chosen = [self._epochs[int(e)][n % self.count] for e, n in zip(epochs, numbers)]
        return np.array(chosen, dtype=np.int64)


def batch(config: Lm, tokens: Tokens, numbers: np.ndarray, device: torch.device) -> Batch:
    """Inputs and targets of the windows of these numbers, b t int64."""
    t = config.seq_len
    rows = np.stack([tokens.ids[n * t : n * t + t + 1] for n in numbers]).astype(np.int64)
    both = torch.from_numpy(rows)  # b t+1
    if device.type == "cuda":
        both = both.pin_memory().to(device, non_blocking=True)
    return both[:, :-1].contiguous(), both[:, 1:].contiguous()


def loss(model: Model, batch: Batch) -> Tensor:
    """Mean cross entropy of the next token, nats."""
    inputs, targets = batch
    hidden, _ = model.hidden(inputs)  # b t d
    return head_loss(hidden.flatten(0, 1), model.head_weight, targets.flatten())


@dataclass(frozen=True)
class Score:
    """What a model's predictions of tokens cost. nats, bytes: by position in the window, float64.

    Ends of documents stand for no byte; predicting them costs nothing here, as elsewhere (nanochat,
    evaluate_bpb). tokens: others, by position.
    """

    nats: Tensor  # t
    bytes: Tensor  # t
    tokens: Tensor  # t

    @property
    def bits_per_byte(self) -> float:
        return self.nats.sum().item() / math.log(2) / self.bytes.sum().item()

    @property
    def nats_per_token(self) -> float:
        return self.nats.sum().item() / self.tokens.sum().item()


@torch.no_grad()
def score(
    model: Model,
    config: Lm,
    tokens: Tokens,
    token_bytes: np.ndarray,
    at_most: int,
    device: torch.device | str = "cpu",
    *,
    team: Team = ALONE,
) -> Score:
    """Scores windows that are spread evenly over a split. The model must be in eval mode.

    at_most: tokens, rounded up to whole windows; 0 for all windows. token_bytes: of each id.
    """
    device, t = torch.device(device), config.seq_len
    each = torch.from_numpy(token_bytes).to(device)  # vocabulary
    sums = torch.zeros(3, t, dtype=torch.float64, device=device)
    rows = max(1, min(TOKENS_AT_ONCE // t, LOGITS_AT_ONCE // (t * len(token_bytes))))
    numbers = team.share_unequal(chosen(windows(config, tokens), -(-at_most // t)))
    bf16 = config.precision == "bf16"
    for first in range(0, len(numbers), rows):
        inputs, targets = batch(config, tokens, numbers[first : first + rows], device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = model.head(model.hidden(inputs)[0])  # b t vocabulary
        nats = F.cross_entropy(logits.float().mT, targets, reduction="none").double()  # b t
        size = each[targets]  # b t
        counted = size > 0
        sums += torch.stack([(nats * counted).sum(0), size.sum(0).double(), counted.sum(0)])
    nats, size, count = team.sum(sums).cpu()
    return Score(nats, size, count)


def chosen(count: int, wanted: int) -> np.ndarray:
    """Numbers of `wanted` windows of `count`, evenly spread; all of them for 0."""
    if not 0 < wanted < count:
        return np.arange(count)
    return (np.arange(wanted) * count) // wanted


def by_position(score: Score) -> dict[str, list[Any]]:
    """Bits per byte in spans of positions that double: edges 0, 1, 2, 4, ... up to the window."""
    t = len(score.nats)
    edges = [0, *(2**i for i in range(t.bit_length()) if 2**i < t), t]
    spans = [slice(a, b) for a, b in itertools.pairwise(edges)]
    sizes = [score.bytes[span].sum().item() for span in spans]
    costs = [score.nats[span].sum().item() / math.log(2) for span in spans]
    return {
        "edges": edges,
        "bits_per_byte": [c / n if n else None for c, n in zip(costs, sizes)],
    }
