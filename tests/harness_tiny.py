"""A tiny model, its log-likelihoods token by token, and made-up items of tasks."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from runners.lm_config import Lm, build
from tasks.lm.tokenisers import BYTES

LENGTH = 40
# Eight bits of float32's 24 are left for sums over channels and tokens in another order.
CLOSE = 2**-16
installed = pytest.mark.skipif(not find_spec("lm_eval"), reason="needs the extra eval")


def tiny(model="metala", positions="none"):
    """An untrained model with weights large enough that answers differ."""
    torch.manual_seed(1)
    settings = {"model": model, "positions": positions, "d_model": 16, "depth": 2, "match": "none"}
    config = Lm(**settings, seq_len=LENGTH, updates=101, batch=1)
    made = build(config, "cpu")
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
    return made.eval(), config


@torch.no_grad()
def direct(model, context, continuation):
    """Token by token: nats of a continuation after the last LENGTH tokens, and if it is greedy."""
    tokens, nats, greedy = [*context, *continuation], 0.0, True
    # The last token is said after LENGTH others; the ones before it have the same beginning.
    begin = max(0, len(tokens) - 1 - LENGTH)
    for place in range(len(context), len(tokens)):
        logits = model(torch.tensor([tokens[begin:place]]))[0][0, -1].float()
        nats += float(logits.log_softmax(-1)[tokens[place]])
        greedy = greedy and int(logits.argmax()) == tokens[place]
    return nats, greedy


def best(model, context, choices, lengths=None):
    """Index of the likeliest choice, each divided by its length."""
    nats = [direct(model, BYTES.encode(context), BYTES.encode(" " + each))[0] for each in choices]
    return int(np.argmax(np.array(nats) / (lengths or [1] * len(choices))))


LOGIQA = """
b
All cats sleep.Tom is a cat.
What follows?
A.Tom barks.
B.Tom sleeps.
C.Tom eats.
D Tom reads

d
No cat reads.
Who reads?
A.Tom.
B.Ann.
C.Both.
D.None.
"""


class Rows(list):
    """As much of a data set as the tasks use."""

    def from_list(self, rows):
        return rows


def answered(question, answer, label):
    place = {"paragraph": 0, "question": question, "answer": 0}
    text = {"paragraph": "Tom is a cat.", "question": f"Question {question}?"}
    return text | {"answer": answer, "label": label, "idx": place}


MULTIRC = [answered(0, "a cat", 1), answered(0, "a dog", 0), answered(1, "a fox", 0)]
