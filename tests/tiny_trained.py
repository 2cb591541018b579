"""Small language models in folders, as a training leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from runners import trained
from runners.lm_config import Lm, build
from tasks.lm.tokenisers import BYTES
from zoo.model import Model

PLUGIN = "from zoo.models.gla import SPEC\n"


def tiny(name: str, **fields: Any) -> Lm:
    return Lm(**{"model": name, "d_model": 32, "seq_len": 24, "match": "none", **fields})


def model_of(config: Lm) -> Model:
    """With weights that no initialisation has, biases and decays included."""
    torch.manual_seed(1)
    model = build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def stored(folder: Path, name: str = "metala", **fields: Any) -> Model:
    config = tiny(name, **fields)
    model = model_of(config)
    trained.save(folder, model, config, BYTES, {"value": 2.5})
    return model
