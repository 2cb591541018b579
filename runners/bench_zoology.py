"""zoology's own training step, where zoology is installed: the peer of `lazoo bench step`.

HazyResearch/zoology at d88d6f5: LanguageModel (zoology/model.py) with the mixers of its Figure 2,
and the body of Trainer.train_epoch (zoology/train.py): logits at every position, cross entropy that
skips unlabelled ones, predictions, auxiliary losses, backward, AdamW, and two reads of the loss.
Nothing of it is copied here; its classes are called.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from runners.config import Mqar
from runners.train import Batch

UNLABELLED = -100  # what its labels hold where nothing is asked
CLOCK = time.perf_counter
MODELS = ("attention", "based")


def reason(config: Mqar) -> str:
    """Why there is no peer for a config; empty when there is one."""
    if config.model.partition(":")[0] not in MODELS:
        return f"zoology's step is built for {' and '.join(MODELS)}, not for {config.model}"
    if importlib.util.find_spec("zoology") is None:
        return "zoology is not installed; its step would stand beside ours"
    return ""


def mixer(config: Mqar) -> dict[str, Any]:
    """Its sequence mixer of the same shape, as a ModuleConfig's fields."""
    state = zoo.load(config.model).state(config.d_model)
    if config.model.startswith("attention"):
        kwargs = {"dropout": config.attention_dropout, "num_heads": state.heads}
        return {"name": "zoology.mixers.attention.MHA", "kwargs": kwargs}
    features = (math.isqrt(4 * state.d_k - 3) - 1) // 2  # d_k = 1 + f + f^2
    own = {"l_max": config.length, "feature_dim": features, "feature_name": "taylor_exp"}
    own |= {"num_key_value_heads": state.heads, "num_heads": state.heads}
    based = {"name": "zoology.mixers.based.Based", "kwargs": own | {"train_view": "quadratic"}}
    if config.first_mixer == "own":
        return based
    short = {"l_max": config.length, "kernel_size": 3, "implicit_long_conv": True}
    first = {"name": "zoology.mixers.base_conv.BaseConv", "kwargs": short}
    return {"name": "zoology.mixers.hybrid.Hybrid", "kwargs": {"configs": [first, based]}}


def language_model(config: Mqar, device: torch.device) -> nn.Module:
    """zoology's LanguageModel with the width, depth, vocabulary and mixer of a config."""
    settings = importlib.import_module("zoology.config").ModelConfig(
        d_model=config.d_model,
        n_layers=config.depth,
        vocab_size=config.vocabulary,
        max_position_embeddings=config.length if config.positions == "learned" else 0,
        embed_dropout=config.dropout,
        sequence_mixer=mixer(config),
        state_mixer={"name": "torch.nn.Identity", "kwargs": {}},
    )
    return importlib.import_module("zoology.model").LanguageModel(settings).to(device)


class Step:
    """One update a call."""

    def __init__(self, model: nn.Module, config: Mqar, batches: Iterator[Batch]) -> None:
        self.model, self.batches = model.train(), batches
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        # Later versions return embeddings unless told otherwise.
        known = inspect.signature(model.forward).parameters
        self.options = {"return_embeddings": False} if "return_embeddings" in known else {}

    def __call__(self) -> None:
        tokens, positions, targets = next(self.batches)
        labels = labels_of(tokens, positions, targets)
        self.optimiser.zero_grad()
        logits = self.model(tokens, **self.options)  # b t vocabulary
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        logits.argmax(dim=-1)
        for module in self.model.modules():
            extra: Any = getattr(module, "get_auxiliary_loss", None)
            loss = loss if extra is None else loss + extra()
        loss.backward()
        self.optimiser.step()
        for _ in range(2):  # for the progress bar, and for the log
            loss.item()


def labels_of(tokens: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
    """Targets where they are asked for, UNLABELLED elsewhere: b t."""
    return torch.full_like(tokens, UNLABELLED).scatter(1, positions, targets)
