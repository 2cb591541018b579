"""The config of one language-model run: refused with an explanation when it cannot work."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, field_validator, model_validator

import tasks.lm
from runners import building
from runners.base import ChannelMixer, Natural, Positive, Run
from tasks.lm import corpora, tokenisers
from zoo.blocks import WITH_INNER
from zoo.matching import matched_width
from zoo.model import Model

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class Lm(Run):
    """A small language model: next-token prediction on a corpus, in windows of seq_len tokens."""

    task: ClassVar[str] = "lm"
    task_version: ClassVar[int] = tasks.lm.VERSION

    corpus: str = Field(
        default="classics",
        description="classics, pysource, a text file or folder of yours, or hub:ID of a Hugging"
        " Face data set; see lazoo data lm",
    )
    tokeniser: str = Field(
        default="bytes",
        description="bytes, bpe-N (N tokens, trained on the corpus), or a tokenizer.json",
    )
    text_sha256: str = Field(
        default="",
        description="of files outside this package that decide the tokens; filled in by itself",
    )
    seq_len: Positive = Field(default=256, description="tokens of a window")
    channel_mixer: ChannelMixer = Field(
        default="swiglu", description="after each mixer; own is the authors'"
    )
    norm: Literal["layer", "own", "rms", "rms_plain"] = Field(
        default="rms", description="norm in front of each sub-layer; own is the authors'"
    )
    match: Literal["attention", "none"] = Field(
        default="attention",
        description="attention: the channel mixer is as wide as makes a model's parameters those"
        " of attention; none: d_channel",
    )
    d_channel: Natural = Field(
        default=0, description="inner width of the channel mixer with match none; 0 for its own"
    )
    tied: bool = Field(default=True, description="head and embedding share their weight")
    batch: Positive = Field(default=16, description="windows per update, of all processes together")
    updates: Positive = Field(default=1000, description="training budget, optimiser updates")
    accumulate: Positive = Field(
        default=1, description="parts of a batch whose gradients are added up, for want of memory"
    )
    schedule: Literal["cosine", "wsd", "constant"] = Field(
        default="cosine",
        description="learning rate after the warm-up: cosine, constant and then a straight line"
        " down (wsd), or constant",
    )
    lr_end: Share = Field(default=0.1, description="last learning rate, fraction of lr")
    decay_share: Share = Field(
        default=0.2, description="share of the updates in which wsd falls, fraction"
    )
    beta2: float = Field(
        default=0.95, gt=0.0, lt=1.0, description="AdamW's decay of squared gradients"
    )
    evaluate_every: Positive = Field(default=100, description="updates between validations")
    valid_tokens: Natural = Field(
        default=0, description="tokens of each validation, spread over the set; 0 for all"
    )
    test_tokens: Natural = Field(
        default=0, description="tokens of the test, spread over the set; 0 for all"
    )

    @property
    def vocabulary(self) -> int:
        return tokenisers.vocabulary(self.tokeniser)

    @property
    def max_length(self) -> int:
        """Tokens of the longest row the model will see in training."""
        return self.seq_len

    @property
    def tokens(self) -> int:
        """Of the whole training."""
        return self.updates * self.batch * self.seq_len

    @property
    def inner(self) -> int:
        """Width of the channel mixer as `Model` takes it: 0 for the mixer's own."""
        if self.match == "none":
            return self.d_channel
        names = ("model", "d_model", "depth", "conv", "channel_mixer", "norm", "positions")
        return matched_width(*(getattr(self, name) for name in names))

    @field_validator("corpus")
    @classmethod
    def _corpus_exists(cls, corpus: str) -> str:
        return corpora.corpus(corpus).name

    @model_validator(mode="after")
    def _width_is_possible(self) -> Lm:
        if self.match == "none":
            return self
        if self.channel_mixer not in WITH_INNER:
            raise ValueError(
                f"match attention chooses the width of a channel mixer, which {self.channel_mixer}"
                f" has not; type match none, or a channel_mixer of {', '.join(WITH_INNER)}"
            )
        if self.d_channel:
            raise ValueError(
                f"d_channel {self.d_channel} has no effect with match attention, which chooses it;"
                " leave it out, or type match none"
            )
        return self

    @model_validator(mode="after")
    def _batch_is_possible(self) -> Lm:
        if self.accumulate > self.batch:
            raise ValueError(
                f"accumulate {self.accumulate} is more than the {self.batch} windows of a batch;"
                f" type accumulate {self.batch} or less"
            )
        return self

    @model_validator(mode="after")
    def _model_is_possible(self) -> Lm:
        building.check(Model, self.shape)
        return self

    @property
    def shape(self) -> tuple[tuple[str, object], ...]:
        """The arguments of zoo.model.Model, sorted, without dropout (which changes no shape)."""
        names = "model d_model depth conv channel_mixer norm positions tied initialisation"
        chosen = {name: getattr(self, name) for name in names.split()}
        chosen |= {"vocabulary": self.vocabulary, "max_length": self.max_length}
        return tuple(sorted({**chosen, "d_channel": self.inner}.items()))


def build(config: Lm, device: torch.device | str = "cpu") -> Model:
    """The model of a config, initialised on the CPU from torch's global generator, then moved."""
    dropout = {"dropout": config.dropout, "attention_dropout": config.attention_dropout}
    return building.built(Model, config.shape, **dropout, backend=config.backend).to(device)
