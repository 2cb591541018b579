"""What a language model says about the ends of given rows; every probe and score of text uses it.

The model must be in eval mode. Layers compute in the run's precision and the head in float32 at
least: in bf16 many tokens would tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.decoding import rereads
from zoo.model import Model, ModelState

# Tokens of a batch that fit wherever a model trains.
TOKENS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Row:
    """Token ids, of which those from `first` on are asked for; `first` is 1 to len(ids)."""

    ids: list[int]
    first: int

    @property
    def targets(self) -> list[int]:
        return self.ids[self.first :]


@dataclass(frozen=True)
class Reader:
    """seq_len: tokens of the windows that the model was trained on."""

    model: Model
    device: torch.device
    bf16: bool
    seq_len: int

    @property
    def hands_over(self) -> bool:
        """Whether reading on from a state is the same as reading all; cosFormer is an exception."""
        return not rereads(self.model)

    def logits(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Tensor]]:
        """Of each row: before each of its targets and after the last one, targets+1 x vocabulary.

        Rows are filled up on the right, which a causal model does not see. Those models whose
        output depends on the number of tokens at hand get as many as in training.
        """
        done = 0
        while done < len(rows):
            least = 0 if self.hands_over else self.seq_len
            width = max(len(rows[done].ids), least)
            batch = rows[done : done + max(1, TOKENS_AT_ONCE // width)]
            hidden, _ = self.hidden([row.ids for row in batch], least=least)  # b t d
            for row, h in zip(batch, hidden):
                yield row, self.head(h[row.first - 1 : len(row.ids)])
            done += len(batch)

    def hidden(
        self, ids: Sequence[Sequence[int]], state: ModelState | None = None, *, least: int = 0
    ) -> tuple[Tensor, ModelState]:
        """What the head reads, b t d, and the state, which is right for the longest rows alone."""
        width = max(least, *map(len, ids))
        padded = [[*row, *[0] * (width - len(row))] for row in ids]
        tokens = torch.tensor(padded, device=self.device)  # b t
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self.model.hidden(tokens, state)

    def head(self, hidden: Tensor) -> Tensor:
        """hidden: ... d. Returns: logits, ... vocabulary."""
        return self.model.head(hidden.to(torch.promote_types(hidden.dtype, torch.float32)))

    def nats(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Tensor, Tensor]]:
        """Of each row: -log p of each target, and the likeliest tokens there and after the last."""
        for row, logits in self.logits(rows):
            targets = torch.tensor(row.targets, device=self.device)
            cost = F.cross_entropy(logits[:-1], targets, reduction="none")
            yield row, cost.double().cpu(), logits.argmax(-1).cpu()

    def likelihoods(
        self, prompts: Sequence[list[int]], endings: Sequence[Sequence[list[int]]]
    ) -> Tensor:
        """log p of each ending after its prompt, prompts x endings.

        prompts: of equal lengths. endings: of each prompt as many.
        """
        if not self.hands_over:
            rows = [Row(a + b, len(a)) for a, of in zip(prompts, endings) for b in of]
            found = torch.stack([-nats.sum() for _, nats, _ in self.nats(rows)])
            return found.reshape(len(prompts), -1)
        size = max(1, TOKENS_AT_ONCE // len(prompts[0]))
        parts = [slice(i, i + size) for i in range(0, len(prompts), size)]
        return torch.cat([self._continued(prompts[part], endings[part]) for part in parts])

    def _continued(
        self, prompts: Sequence[list[int]], endings: Sequence[Sequence[list[int]]]
    ) -> Tensor:
        """`likelihoods` of one batch: the prompts are read once, each ending from their state."""
        hidden, state = self.hidden(prompts)
        last, found = hidden[:, -1:], []
        for column in zip(*endings):
            most = max(map(len, column))
            read = last
            if most > 1:
                on, _ = self.hidden([ids[:-1] or [0] for ids in column], state)
                read = torch.cat([last, on], dim=1)[:, :most]  # b most d
            targets = torch.tensor([[*ids, *[-100] * (most - len(ids))] for ids in column])
            logits = self.head(read).mT  # b vocabulary most
            nats = F.cross_entropy(logits, targets.to(self.device), reduction="none")
            found.append(-nats.double().sum(1).cpu())
        return torch.stack(found, dim=1)
