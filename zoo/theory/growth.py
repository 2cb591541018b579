"""C0, measured on a running model: what it keeps after n and 2n tokens, what a step then costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.model import Model
from zoo.spec import Spec

TOKENS = 256  # EVA's block twice over, so that both lengths end a block


class Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write, which is the same on every machine.

    Views move nothing and are not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        returned = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returned)
        if not view:
            self.bytes += size([args, kwargs, result])
        return result


def size(tree: Any) -> int:
    """Bytes of all tensors in nested lists and dicts."""
    if isinstance(tree, Tensor):
        return tree.numel() * tree.element_size()
    if isinstance(tree, dict):
        return size(list(tree.values()))
    return sum(map(size, tree)) if isinstance(tree, (list, tuple)) else 0


@torch.no_grad()
def growth(spec: Spec, d_model: int, depth: int = 2, n: int = TOKENS) -> dict[str, list[int]]:
    """`state`: bytes kept after n and 2n tokens of one sequence, float32; `step`: bytes that
    decoding the next token moves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Model(spec, vocabulary=8, d_model=d_model, depth=depth).eval()
    found: dict[str, list[int]] = {"state": [], "step": []}
    for length in (n, 2 * n):
        tokens = torch.arange(length).remainder(8).unsqueeze(0)  # 1 t
        _, state = model.hidden(tokens)
        found["state"].append(size(state["layers"]))
        with Traffic() as traffic:
            model.hidden(tokens[:, :1], state)
        found["step"].append(traffic.bytes)
    return found
