"""The state as a cache of transformers, and batches whose rows have pads.

Rows of equal length are read together; rows of other lengths apart, each without its pads. That is
right for every model, whatever its state, and costs one pass for each length that occurs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoo.decoding import kept_bytes, read, rereads
from zoo.model import Model, ModelState


@dataclass(frozen=True)
class Rows:
    """Rows of a batch with the same pads. index: of these rows; None for all of the batch.

    before, behind: pads in front of the tokens and after them.
    """

    index: Tensor | None
    before: int
    behind: int
    state: ModelState | None


class ZooCache:
    """What generate() hands from one token to the next: the state of each part of the batch.

    A forward pass changes it in place. columns: tokens and pads of a row so far.
    """

    is_compileable = False
    is_croppable = False

    def __init__(self, rows: list[Rows] | None = None, columns: int = 0) -> None:
        self.rows, self.columns = rows or [], columns

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.columns

    def state_bytes(self) -> int:
        return sum(kept_bytes(rows.state) for rows in self.rows)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """For beam search, whose beams stay within their row, and so within rows of one length."""
        self.rows = [reordered(rows, beam_idx) for rows in self.rows]


def reordered(rows: Rows, source: Tensor) -> Rows:
    assert rows.state is not None
    if rows.index is not None:
        # Where in these rows the row stands that each one goes on from.
        source = (source[rows.index, None] == rows.index).int().argmax(1)
    layers = [{k: x[source] for k, x in kept.items()} for kept in rows.state["layers"]]
    return replace(rows, state={"position": rows.state["position"], "layers": layers})


def rows_of(model: Model, tokens: Tensor, mask: Tensor | None) -> list[Rows]:
    """The rows of a batch by their pads. Raises: ValueError for a mask that leaves out others.

    Pads behind the tokens change nothing in a causal model, so that such rows stay together.
    """
    if mask is not None and mask.shape != tokens.shape:
        raise ValueError(
            f"attention_mask is {tuple(mask.shape)}, expected b t = {tuple(tokens.shape)}: 1 for"
            " tokens, 0 for pads"
        )
    if mask is None or bool(mask.all()):
        return [Rows(None, 0, 0, None)]
    seen, (_, t) = mask.bool(), tokens.shape
    before = seen.int().argmax(1)
    behind = t - before - seen.sum(1)
    columns = torch.arange(t, device=mask.device)
    whole = (columns >= before[:, None]) & (columns < t - behind[:, None])
    if not (whole == seen).all() or not seen.any(1).all():
        raise ValueError(
            "attention_mask has a row without tokens, or zeros between tokens; it can leave out"
            " pads at both ends of a row only"
        )
    if not before.any() and not rereads(model):
        return [Rows(None, 0, int(behind.max()), None)]
    pairs = torch.stack([before, behind], 1).unique(dim=0).tolist()
    return [Rows(((before == b) & (behind == e)).nonzero()[:, 0], b, e, None) for b, e in pairs]


def rows_read(model: Model, tokens: Tensor, parts: list[Rows]) -> tuple[Tensor, list[Rows]]:
    """tokens: b t -> hidden: b t d, 0 at pads, and the rows with their states after the tokens."""
    if len(parts) == 1 and parts[0].index is None:
        hidden, state = read(model, tokens, parts[0].state)
        return hidden, [replace(parts[0], state=state)]
    t, after = tokens.shape[1], []
    places, read_of = [], []
    for part in parts:
        assert part.index is not None
        # Pads are in front of the first tokens alone.
        first = part.before if part.state is None else 0
        own = tokens[part.index, first : t - part.behind]
        hidden, state = read(model, own, part.state)
        places.append((part.index, slice(first, t - part.behind)))
        read_of.append(hidden)
        after.append(replace(part, state=state))
    whole = read_of[0].new_zeros(*tokens.shape, read_of[0].shape[-1])  # b t d
    for (index, columns), hidden in zip(places, read_of, strict=True):
        whole[index, columns] = hidden
    return whole, after
