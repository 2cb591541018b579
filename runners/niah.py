"""Table A8 of the paper: needles in haystacks, answered by greedy generation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from runners import generation
from tasks.lm import niah as grids
from tasks.lm.tokenisers import Tokeniser
from zoo.model import Model


def niah(
    model: Model,
    tokeniser: Tokeniser,
    *,
    lengths: Sequence[int] = grids.LENGTHS,
    depths: Sequence[float] = grids.DEPTHS,
    haystack_texts: Sequence[str],
    mode: grids.Mode = "easy",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Moves the model to `device` and asks it one question per length and depth.

    lengths: tokens of the prompts. depths: per cent. haystack_texts: which the model has not been
    trained on. Returns: Table A8's columns as fractions, None where the lengths do not reach (a
    column "4k" takes the length nearest to 4000, within a tenth); `value`, its standard error over
    prompts and n; `weighted`, `score` (the NIAH score) and `recall` of all lengths that were asked;
    `grid`, lengths x depths of 0 and 1. Raises: ValueError for lengths that are impossible.
    """
    lengths, depths = sorted(set(lengths)), sorted(set(depths))
    if not lengths or not depths:
        raise ValueError("no length or no depth is given; type for example lengths 1000 2000")
    wrong = [depth for depth in depths if not 0 <= depth <= 100]
    if wrong:
        raise ValueError(f"depth {wrong[0]} is no per cent of the haystack; type 0 to 100")
    generation.check_length(model, lengths[-1], grids.ANSWER)
    model.to(device)
    matched, recalled = [], []
    for cell in grids.cells(tokeniser, haystack_texts, lengths, depths, mode, seed):
        ids = generation.generate(model, cell.ids, tokens=grids.ANSWER, stop=tokeniser.eos)
        text = tokeniser.decode(ids)
        matched.append(grids.matches(cell, text))
        recalled.append(grids.recall(cell, text))
    grid = np.array(matched, dtype=np.float64).reshape(len(lengths), len(depths))
    p, n = float(grid.mean()), grid.size
    found = {"value": p, "stderr": math.sqrt(p * (1 - p) / n), "chance": 0.0, "n": n}
    found |= {"weighted": grids.weighted(grid), "score": grids.score(grid)}
    found |= {"recall": float(np.mean(recalled)), "alpha": grids.ALPHA, "mode": mode, "seed": seed}
    found |= {"lengths": lengths, "depths": depths, "grid": grid.astype(int).tolist()}
    return grids.columns(grid, lengths) | found
