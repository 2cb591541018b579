"""One block of the classifier, in which padding and the norm's place matter."""

from __future__ import annotations

from collections.abc import MutableMapping

from torch import Tensor, nn

from zoo.blocks import ChannelMix
from zoo.mixer import Mixer
from zoo.norms import NORMS, normalise


class Layer(nn.Module):
    """Mixer and channel mixer (or none): block "pre" is x + f(norm(x)), "post" norm(x + f(x))."""

    def __init__(
        self,
        mixer: Mixer,
        channel: nn.Module | None,
        *,
        d: int,
        norm: str,
        block: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.pre = block == "pre"
        self.mixer_norm, self.mixer = NORMS[norm](d), mixer
        self.channel_norm = None if channel is None else NORMS[norm](d)
        self.channel, self.dropout = channel, nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None,
        valid: Tensor | None,
        shared: MutableMapping[str, Tensor],
    ) -> Tensor:
        """x: n t d; lengths: n; valid: n t; shared: see Stream."""
        y = normalise(self.mixer_norm, x, valid) if self.pre else x
        y, _ = self.mixer(y, shared=shared, lengths=lengths)
        x = x + self.dropout(y)
        x = x if self.pre else normalise(self.mixer_norm, x, valid)
        if self.channel is None or self.channel_norm is None:
            return x
        y = self.channel(normalise(self.channel_norm, x, valid) if self.pre else x)
        x = x + self.dropout(y[0] if isinstance(self.channel, ChannelMix) else y)
        return x if self.pre else normalise(self.channel_norm, x, valid)
