"""What classifies the pooled documents of a row, b documents d -> b classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Compare(nn.Module):
    """e1, e2 -> [e1, e2, e1 - e2, e1 * e2]. b 2 d -> b 4d."""

    def forward(self, pooled: Tensor) -> Tensor:
        first, second = pooled.unbind(1)  # b d
        return torch.cat([first, second, first - second, first * second], dim=-1)


def standard(d: int, inner: int, classes: int, documents: int) -> nn.Sequential:
    """Linear; for two documents what S4, S5 and HGRN took over from Nystromformer (state-spaces/s4
    src/tasks/decoders.py, nli): [e1, e2, e1 - e2, e1 * e2], 4d to d, GELU, d to the classes."""
    if documents == 1:
        return nn.Sequential(nn.Flatten(), nn.Linear(d, classes))
    return nn.Sequential(Compare(), nn.Linear(4 * d, d), nn.GELU(), nn.Linear(d, classes))


def lra(d: int, inner: int, classes: int, documents: int) -> nn.Sequential:
    """The ReLU layers of google-research/long-range-arena common_layers.py: classifier_head, and
    for two documents, [e1, e2], classifier_head_dual. inner: mlp_dim there, which it shares with
    the feed-forward layers of the blocks."""
    layers = [nn.Flatten(), nn.Linear(documents * d, inner), nn.ReLU()]
    if documents == 2:
        layers += [nn.Linear(inner, inner // 2), nn.ReLU()]
        inner = inner // 2
    return nn.Sequential(*layers, nn.Linear(inner, classes))


HEADS: dict[str, Callable[[int, int, int, int], nn.Sequential]] = {"standard": standard, "lra": lra}
