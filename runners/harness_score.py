"""Log-likelihoods and greedy text from a model of the zoo, as lm-evaluation-harness asks for them.

Log-likelihoods are those of the model itself in the precision of its weights: no wrapper of another
library computes between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from runners.generation import generate
from zoo.decoding import rereads
from zoo.model import Model

Tell = Callable[[str], None]
Pair = tuple[Sequence[int], Sequence[int]]  # ids of a context, ids of what follows it
Window = tuple[list[int], list[int]]  # what the model reads, and the last of what it should say


def windows(context: Sequence[int], continuation: Sequence[int], length: int) -> Iterator[Window]:
    """Every token of the continuation once, each piece of it after at most `length` tokens.

    A continuation of up to `length` tokens is one piece, whose context is cut on the left; longer
    ones are cut into pieces of `length` tokens and a rest, with as much before it as fits:

        length 4, context X, continuation a b c d e f
        reads     X a b c    c d e        and then    reads   b c d e
        says      a b c d                             says        e f
    """
    tokens = [*context, *continuation]
    for start in range(len(context), len(tokens), length):
        end = min(start + length, len(tokens))
        yield tokens[max(0, end - 1 - length) : end - 1], tokens[start:end]


class Scorer:
    """A model that is asked for log-likelihoods.

    length: tokens that it reads at a time. batch: rows at a time; always one of models that look at
    the length of a row or at what follows a token, which padding would change. asked, cut: requests
    so far, and those that were longer than `length` and lost the beginning of their context, or
    came in pieces.
    """

    def __init__(self, model: Model, length: int, eos: int, batch: int) -> None:
        self.model, self.length, self.eos = model.eval(), length, eos
        self.batch = 1 if rereads(model) else batch
        self.asked = self.cut = 0

    def score(self, pairs: Sequence[Pair], tell: Tell | None = None) -> list[tuple[float, bool]]:
        """Of each pair: log-likelihood in nats, and whether greedy decoding says the same.

        An empty context is the end of a text, as before every document in training.
        """
        found = [(0.0, True)] * len(pairs)
        jobs: list[tuple[int, Window]] = []
        for i, (context, continuation) in enumerate(pairs):
            context = context or [self.eos]
            self.cut += len(context) + len(continuation) - 1 > self.length
            jobs += [(i, each) for each in windows(context, continuation, self.length)]
        self.asked += len(pairs)
        jobs.sort(key=lambda job: -len(job[1][0]))
        for start in range(0, len(jobs), self.batch):
            part = jobs[start : start + self.batch]
            for (i, _), (nats, greedy) in zip(part, self._rows([window for _, window in part])):
                found[i] = found[i][0] + nats, found[i][1] and greedy
            if tell:
                tell(f"{start + len(part):,} of {len(jobs):,} requests")
        return found

    @torch.inference_mode()
    def _rows(self, rows: Sequence[Window]) -> list[tuple[float, bool]]:
        longest = max(len(reads) for reads, _ in rows)
        # Padding follows the tokens, so a causal model never looks at it.
        padded = [[*reads, *[self.eos] * (longest - len(reads))] for reads, _ in rows]
        device = self.model.embedding.weight.device
        hidden, _ = self.model.hidden(torch.tensor(padded, device=device))  # b t d
        found = []
        for row, (reads, says) in zip(hidden, rows):
            asked = row[len(reads) - len(says) : len(reads)]
            logits = self.model.head(asked).float()  # t vocabulary
            targets = torch.tensor(says, device=device)
            nats = F.log_softmax(logits, dim=-1).gather(1, targets[:, None])
            greedy = bool((logits.argmax(-1) == targets).all())
            found.append((float(nats.double().sum()), greedy))
        return found

    def generate(self, context: Sequence[int], tokens: int) -> list[int]:
        """The most likely next tokens, until the end of a text; the context is cut on the left."""
        kept = max(1, self.length - tokens)
        self.asked, self.cut = self.asked + 1, self.cut + (len(context) > kept)
        read = list(context)[-kept:] or [self.eos]
        return list(generate(self.model, read, tokens=tokens, stop=self.eos))
