"""Reading on from a state, for every model: also for those whose state cannot be handed over."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.model import Model, ModelState


def rereads(model: Model) -> bool:
    """Whether all tokens have to be read again for each new one.

    So it is where an output depends on the length of the whole text or on tokens that follow.
    """
    return bool({"causal", "state hand-over"} & set(model.spec.by_design))


def read(model: Model, tokens: Tensor, state: ModelState | None) -> tuple[Tensor, ModelState]:
    """tokens: b t, after those that `state` has read -> hidden (b t d), the state after them.

    The state of a model that rereads is the tokens themselves.
    """
    if not rereads(model):
        return model.hidden(tokens, state)
    seen = tokens if state is None else torch.cat([state["layers"][0]["tokens"], tokens], dim=1)
    hidden, _ = model.hidden(seen)
    kept: ModelState = {"position": seen.shape[1], "layers": [{"tokens": seen}]}
    return hidden[:, -tokens.shape[1] :], kept


def kept_bytes(state: ModelState | None) -> int:
    """Bytes of all tensors of a state."""
    layers = state["layers"] if state else []
    return sum(y.numel() * y.element_size() for kept in layers for y in kept.values())
