"""What the probes read of a model is what the model says, however rows are batched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zoo
from runners.lm_read import Reader, Row
from zoo.decoding import rereads
from zoo.model import Model


def net(name):
    torch.manual_seed(0)
    return Model(zoo.load(name), vocabulary=32, d_model=32, depth=1).eval()


def reader(model):
    return Reader(model, torch.device("cpu"), False, seq_len=64)


@pytest.mark.parametrize("name", zoo.names())
def test_likelihoods_from_the_state_are_those_of_whole_rows(name):
    model = net(name).double()
    random = np.random.default_rng(0)
    prompts = random.integers(32, size=(3, 11)).tolist()
    endings = [[random.integers(32, size=n).tolist() for n in (1, 4, 2)] for _ in prompts]
    found = reader(model).likelihoods(prompts, endings)
    for i, j in np.ndindex(3, 3):
        ids = prompts[i] + endings[i][j]
        width = 64 if rereads(model) else len(ids)
        tokens = torch.tensor([ids + [0] * (width - len(ids))])
        logits = model(tokens)[0][0, 10 : len(ids) - 1].log_softmax(-1)
        expected = sum(logits[k, id].item() for k, id in enumerate(endings[i][j]))
        assert found[i, j].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", [n for n in zoo.names() if not rereads(net(n))])
def test_a_row_does_not_depend_on_the_rows_beside_it(name):
    model, random = net(name).double(), np.random.default_rng(0)
    rows = [Row(random.integers(32, size=n).tolist(), n // 2) for n in (5, 17, 9, 17)]
    together = [logits for _, logits in reader(model).logits(rows)]
    for row, logits in zip(rows, together, strict=True):
        alone = model(torch.tensor([row.ids]))[0][0, row.first - 1 :]
        torch.testing.assert_close(logits, alone, rtol=1e-9, atol=1e-9)
