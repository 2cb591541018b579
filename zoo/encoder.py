"""The classifier of the Long Range Arena around any Spec: input, blocks, pooling and head."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.blocks import Place, channel_layer
from zoo.directions import cleared, valid
from zoo.encoder_options import check_options, check_shapes
from zoo.heads import HEADS
from zoo.initialisation import authors_initialisation, zoology_initialisation
from zoo.layers import Layer
from zoo.mixer import Mixer
from zoo.norms import NORMS, normalise
from zoo.positions import sinusoids
from zoo.spec import Spec


class Encoder(nn.Module):
    """Embedding, `depth` blocks of mixer and channel mixer, pooling, head.

    inputs: "tokens", ids below `vocabulary` of which 0 pads, or "values", one number each.
    max_length: tokens of the longest document. The other keyword arguments are the fields of a run
    with the same names (`lazoo lra --help`). Two documents go through the same encoder, as rows of
    one batch; the head sees both. What pads a row changes nothing.

    Where the sources agree (google-research/long-range-arena, state-spaces/s4, OpenNLPLab/lra of
    HGRN) it is as they have it: a last norm before the pooling with block="pre" and none with
    "post", N(0, 1) embeddings that positions are added to, `dropout` after that. From the first
    are the learned positions, N(0, 0.02), and the `cls` token, which starts at 0 and has position
    0. Not built is their dropout inside of mixers and channel mixers. state_bytes: None, since
    nothing is decoded token by token.
    """

    # There is no head over a vocabulary, which some authors' initialisations draw anew.
    unembedding: nn.Linear | None = None
    sinusoids: Tensor | None

    def __init__(
        self,
        spec: Spec,
        *,
        inputs: str,
        vocabulary: int,
        classes: int,
        documents: int,
        max_length: int,
        d_model: int,
        depth: int,
        conv: str = "own",
        channel_mixer: str = "none",
        d_channel: int = 0,
        norm: str = "layer",
        block: str = "pre",
        positions: str = "none",
        bidirectional: bool = True,
        pooling: str = "mean",
        head: str = "standard",
        initialisation: str = "own",
        dropout: float = 0.0,
        sublayer_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        channel_mixer = spec.channel if channel_mixer == "own" else channel_mixer
        norm = spec.block_norm if norm == "own" else norm
        names = {"inputs": inputs, "channel_mixer": channel_mixer, "norm": norm, "block": block}
        names |= {"positions": positions, "pooling": pooling, "head": head}
        names |= {"initialisation": initialisation}
        sizes = {"classes": classes, "max_length": max_length, "depth": depth}
        check_options(spec, names, sizes, documents=documents, bidirectional=bidirectional)
        self.spec, self.inputs, self.documents = spec, inputs, documents
        values = inputs == "values"
        self.embedding = nn.Linear(1, d_model) if values else nn.Embedding(vocabulary, d_model)
        self.cls = nn.Parameter(torch.zeros(d_model)) if pooling == "cls" else None
        self.longest = max_length + (pooling == "cls")
        self.position = nn.Embedding(self.longest, d_model) if positions == "learned" else None
        if self.position is not None:
            nn.init.normal_(self.position.weight, std=0.02)
        table = sinusoids(self.longest, d_model) if positions == "sinusoidal" else None
        self.register_buffer("sinusoids", table, persistent=False)
        shared = {} if spec.shared is None else dict(spec.shared(depth, d_model))
        self.shared = nn.ParameterDict(shared)
        mixing: dict[str, Any] = {"conv": conv, "backend": backend, "positions": positions}
        mixing |= {"attention_dropout": attention_dropout, "bidirectional": bidirectional}
        layers = list[Layer]()
        for i in range(depth):
            mixer = Mixer(spec, d_model, layer=i, depth=depth, **mixing)
            channel = channel_layer(channel_mixer, Place(d_model, i, depth, inner=d_channel))
            options = {"norm": norm, "block": block, "dropout": sublayer_dropout}
            layers.append(Layer(mixer, channel, d=d_model, **options))
        self.blocks = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)
        self.norm = NORMS[norm](d_model) if block == "pre" else nn.Identity()
        inner = cast(int, getattr(layers[0].channel, "inner", d_model))
        self.head = HEADS[head](d_model, inner, classes, documents)
        # What some authors do to embeddings: a factor, or a norm before the first block.
        self.embedding_scale, self.embedding_norm = 1.0, cast(nn.Module | None, None)
        if initialisation == "zoology":
            zoology_initialisation(self, spec)
        elif initialisation == "authors":
            authors_initialisation(self, spec)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """inputs: b t, or b 2 t of two documents; tokens int64 or values, right-padded. lengths: b
        or b 2 int64, valid tokens; None where all are. Returns: logits, b classes."""
        check_shapes(inputs, lengths, self.inputs, self.documents)
        flat = None if lengths is None else lengths.flatten()
        pooled = self.pooled(inputs.flatten(0, -2), flat)  # b*documents d
        return self.head(pooled.unflatten(0, (-1, self.documents)))

    def pooled(self, rows: Tensor, lengths: Tensor | None) -> Tensor:
        """rows: n t; lengths: n. Returns: n d, the mean of the valid tokens or the cls token."""
        x = self.embedded(rows)  # n t d, with cls n 1+t d
        lengths = lengths if lengths is None or self.cls is None else lengths + 1
        mask = None if lengths is None else valid(lengths, x.shape[1])  # n t
        shared = dict(self.shared)
        for layer in self.blocks:
            x = layer(x, lengths, mask, shared)
        x = normalise(self.norm, x, mask)
        return x[:, 0] if self.cls is not None else mean(x, lengths)

    def embedded(self, rows: Tensor) -> Tensor:
        """rows: n t -> n t d, n 1+t d where a cls token stands in front."""
        x = self.embedding(rows.unsqueeze(-1) if self.inputs == "values" else rows)
        x = x if self.embedding_scale == 1.0 else x * self.embedding_scale
        if self.cls is not None:
            x = torch.cat([self.cls.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        table = self.sinusoids if self.position is None else self.position.weight
        if table is not None:
            if x.shape[1] > self.longest:
                extra = "" if self.cls is None else " with the cls token"
                raise ValueError(f"{x.shape[1]} tokens{extra}, but positions reach {self.longest}")
            x = x + table[: x.shape[1]]
        return self.dropout(x if self.embedding_norm is None else self.embedding_norm(x))

    def mixers(self) -> list[Mixer]:
        return [layer.mixer for layer in self.blocks if isinstance(layer, Layer)]

    def backends(self) -> list[str]:
        """Which scan backends ran in the last forward pass."""
        return sorted({mixer.backend_ran for mixer in self.mixers()} - {""})


def mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """x: n t d; lengths: n. Returns: n d, of the valid tokens; 0 for a row that has none."""
    if lengths is None:
        return x.mean(1)
    return cleared(x, valid(lengths, x.shape[1])).sum(1) / lengths.clamp(min=1).unsqueeze(1)
