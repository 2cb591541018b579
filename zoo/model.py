"""Blocks, backbone and head around any Spec: the part of a model that a comparison holds fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping
from typing import TypedDict, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import CHANNEL_MIXERS, BaseConv, ChannelMix, Place, channel_layer
from zoo.initialisation import authors_initialisation, zoology_initialisation
from zoo.mixer import Mixer
from zoo.norms import NORMS
from zoo.spec import Spec

ROLES = {
    "f_q": "q",
    "f_k": "k",
    "f_alpha": "alpha",
    "f_v": "v",
    "f_g": "g",
    "w_o": "out",
    "norm": "norm",
}


# Beside a mixer's own tensors, whose names are those of its modules.
CHANNEL_STATE = "channel.last"


class ModelState(TypedDict):
    """What decoding carries from one token to the next: the position and each layer's tensors."""

    position: int
    layers: list[dict[str, Tensor]]


class Model(nn.Module):
    """Embedding, `depth` blocks of (norm, mixer) and (norm, channel mixer), norm, head.

    tokens: b t int64 -> logits: b t vocabulary. Keyword arguments are the fields of a run with the
    same names (`lazoo mqar --help`). Blocks are pre-norm and end in a norm before the head whatever
    the authors have: post-norm (linear transformer) and S5's missing last norm are not built.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        vocabulary: int,
        d_model: int,
        depth: int,
        conv: str = "own",
        channel_mixer: str = "none",
        d_channel: int = 0,
        norm: str = "layer",
        positions: str = "none",
        max_length: int = 0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        first_mixer: str = "own",
        tied: bool = True,
        initialisation: str = "own",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        channel_mixer = spec.channel if channel_mixer == "own" else channel_mixer
        norm = spec.block_norm if norm == "own" else norm
        check_options(spec, positions, max_length, channel_mixer, norm, first_mixer, initialisation)
        self.spec = spec
        self.embedding = nn.Embedding(vocabulary, d_model)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = nn.Embedding(max_length, d_model) if positions == "learned" else None
        if self.position is not None:
            nn.init.normal_(self.position.weight, std=0.02)
        self.shared = nn.ParameterDict(
            {} if spec.shared is None else dict(spec.shared(depth, d_model))
        )
        options = {
            "conv": conv,
            "backend": backend,
            "positions": positions,
            "attention_dropout": attention_dropout,
        }
        self.blocks = nn.ModuleList()
        for layer in range(depth):
            if layer == 0 and first_mixer == "base_conv":
                mixer: nn.Module = BaseConv(d_model, kernel=3)
            else:
                mixer = Mixer(spec, d_model, layer=layer, depth=depth, **options)
            place = Place(d_model, layer, depth, d_channel)
            self.blocks.append(Block(mixer, place, channel_mixer, norm))
        self.dropout = nn.Dropout(dropout)
        self.norm = NORMS[norm](d_model)
        self.unembedding = None if tied else nn.Linear(d_model, vocabulary, bias=False)
        # What some authors do to embeddings: a factor, or a norm before the first block.
        self.embedding_scale, self.embedding_norm = 1.0, cast(nn.Module | None, None)
        if initialisation == "zoology":
            zoology_initialisation(self, spec)
        elif initialisation == "authors":
            authors_initialisation(self, spec)

    def hidden(self, tokens: Tensor, state: ModelState | None = None) -> tuple[Tensor, ModelState]:
        """tokens: b t -> what the head reads, b t d, and the state after the last token."""
        start = state["position"] if state else 0
        x = self.embedding(tokens)  # b t d
        x = x if self.embedding_scale == 1.0 else x * self.embedding_scale
        if self.position is not None:
            end, longest = start + tokens.shape[1], self.position.num_embeddings
            if end > longest:
                raise ValueError(f"{end} tokens, but positions were learned for {longest}")
            x = x + self.position.weight[start:end]
        x = x if self.embedding_norm is None else self.embedding_norm(x)
        x, layers, shared = self.dropout(x), [], dict(self.shared)
        for i, block in enumerate(self.blocks):
            x, kept = block(x, state["layers"][i] if state else None, start, shared)
            layers.append(kept)
        return self.norm(x), {"position": start + tokens.shape[1], "layers": layers}

    @property
    def head_weight(self) -> Tensor:
        """vocabulary x d: the embedding's own weight where the two are tied."""
        return (self.embedding if self.unembedding is None else self.unembedding).weight

    def head(self, hidden: Tensor) -> Tensor:
        """hidden: ... d -> logits: ... vocabulary. Where labels are few, give it those only."""
        return F.linear(hidden, self.head_weight)

    def forward(self, tokens: Tensor, state: ModelState | None = None) -> tuple[Tensor, ModelState]:
        hidden, state = self.hidden(tokens, state)
        return self.head(hidden), state

    def mixers(self) -> list[Mixer]:
        return [block.mixer for block in self.blocks if isinstance(block.mixer, Mixer)]

    def backends(self) -> list[str]:
        """Which scan backends ran in the last forward pass."""
        return sorted({mixer.backend_ran for mixer in self.mixers()} - {""})


class Block(nn.Module):
    """Pre-norm residual block; without a channel mixer it is the token mixer alone."""

    def __init__(self, mixer: nn.Module, place: Place, channel_mixer: str, norm: str) -> None:
        super().__init__()
        self.mixer_norm, self.mixer = NORMS[norm](place.d), mixer
        self.channel_norm: nn.Module | None = None
        self.channel = channel_layer(channel_mixer, place)
        if self.channel is not None:
            self.channel_norm = NORMS[norm](place.d)

    def forward(
        self,
        x: Tensor,
        state: Mapping[str, Tensor] | None,
        start: int,
        shared: MutableMapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        y, kept = self.mixer(self.mixer_norm(x), state, start=start, shared=shared)  # b t d
        x = x + y
        if self.channel is None or self.channel_norm is None:
            return x, kept
        z = self.channel_norm(x)
        if isinstance(self.channel, ChannelMix):
            y, last = self.channel(z, (state or {}).get(CHANNEL_STATE))
            return x + y, kept | {CHANNEL_STATE: last}
        return x + self.channel(z), kept


def check_options(
    spec: Spec,
    positions: str,
    max_length: int,
    channel_mixer: str,
    norm: str,
    first_mixer: str,
    initialisation: str,
) -> None:
    check_names(
        ("positions", positions, ("none", "learned", "rope")),
        ("channel_mixer", channel_mixer, ("none", *CHANNEL_MIXERS)),
        ("norm", norm, tuple(NORMS)),
        ("first_mixer", first_mixer, ("own", "base_conv")),
        ("initialisation", initialisation, ("own", "zoology", "authors")),
    )
    if positions == "learned" and max_length < 1:
        raise ValueError(
            f"learned positions need the longest length as max_length, not {max_length}"
        )
    check_rope(spec, positions)


def check_names(*choices: tuple[str, str, tuple[str, ...]]) -> None:
    """Each: an option, what was given, what is known."""
    for name, given, known in choices:
        if given not in known:
            raise ValueError(f"{name} {given!r} is not known; type one of {', '.join(known)}")


def check_rope(spec: Spec, positions: str) -> None:
    if positions == "rope" and spec.mix != "softmax":
        raise ValueError(
            f"rope positions are for softmax attention; {spec.label} takes none or learned"
        )


@torch.no_grad()
def state_bytes(model: Model, length: int) -> int:
    """Bytes of all tensors kept between steps for one sequence after `length` tokens, measured.

    Every layer's S, running maximum, convolution tails and shifted token of the channel mixer; for
    attention the cache, which grows.
    """
    device = model.embedding.weight.device
    tokens = torch.zeros(1, length, dtype=torch.int64, device=device)
    _, state = model.hidden(tokens)
    return sum(y.numel() * y.element_size() for kept in state["layers"] for y in kept.values())


def parameters_by_role(model: nn.Module) -> dict[str, int]:
    """Number of parameters per role: q, k, alpha, v, g, out, extra, norm, channel, ..."""
    counts = Counter(
        dict.fromkeys(
            ["q", "k", "alpha", "v", "g", "out", "extra", "norm", "channel", "embedding", "head"], 0
        )
    )
    for name, parameter in model.named_parameters():
        counts[role(name)] += parameter.numel()
    return dict(counts)


def role(name: str) -> str:
    """The role of a Model's or Encoder's parameter, from its dotted name."""
    top, *rest = name.split(".")
    if top == "blocks":
        part, *inner = rest[1:]
        if part == "mixer":
            return ROLES.get(inner[0], "extra")
        return "channel" if part == "channel" else "norm"
    heads = {
        "embedding": "embedding",
        "position": "embedding",
        "cls": "embedding",
        "unembedding": "head",
        "head": "head",
        "norm": "norm",
        "embedding_norm": "norm",
    }
    return heads.get(top, "alpha" if top == "shared" else "extra")


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(decayed, undecayed): biases, norms and what a module lists in `no_decay` are spared."""
    undecayed: set[str] = set()
    for name, module in model.named_modules():
        own = dict(module.named_parameters(prefix=name, recurse=False))
        listed = getattr(module, "no_decay", ())
        for full in own:
            last = full.rpartition(".")[2]
            if last in listed or last == "bias" or "norm" in name.rpartition(".")[2]:
                undecayed.add(full)
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        spare = name in undecayed or name.startswith("shared.")
        (spared if spare else decayed).append(parameter)
    return decayed, spared
