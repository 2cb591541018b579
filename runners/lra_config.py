"""The config of one Long Range Arena run: refused with an explanation when it cannot work."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator, model_validator

import tasks.lra
from runners import building
from runners.base import Classified, Natural, Positive, Rate
from zoo.encoder import Encoder


class Lra(Classified):
    """Long Range Arena (Tay et al. 2020, arXiv 2011.04006): classify long sequences."""

    task: ClassVar[str] = "lra"
    task_version: ClassVar[int] = tasks.lra.VERSION

    dataset: str = Field(
        description="listops, text, retrieval, image, pathfinder, pathx, or another one that lazoo"
        " data lists"
    )
    inputs: Literal["values", "tokens"] = Field(
        default="values",
        description="how a model reads pixels: as one normalised number each, or as one of 256"
        " tokens",
    )
    bidirectional: bool = Field(
        default=True, description="mixers scan both ways and add; attention sees all tokens"
    )
    block: Literal["pre", "post"] = Field(
        default="pre", description="norm in front of each sub-layer, or after the residual sum"
    )
    positions: Literal["none", "sinusoidal", "learned", "rope"] = Field(
        default="none", description="position encoding; rope is for attention only"
    )
    d_channel: Natural = Field(
        default=0, description="inner width of the channel mixer; 0 for the mixer's own rule"
    )
    sublayer_dropout: Rate = Field(
        default=0.0, description="dropout on the output of each sub-layer, fraction"
    )
    pooling: Literal["mean", "cls"] = Field(
        default="mean",
        description="what of a sequence is classified: the mean of its tokens, or a learned token"
        " in front",
    )
    head: Literal["standard", "lra"] = Field(
        default="standard",
        description="standard: linear, for two documents [e1, e2, e1-e2, e1*e2] with a GELU layer;"
        " lra: the ReLU layers of the LRA code",
    )
    updates: Positive = Field(default=1000, description="training budget, optimiser updates")
    schedule: Literal["cosine", "cosine-epoch", "constant", "rsqrt"] = Field(
        default="cosine",
        description="learning rate over time: cosine to 0 at every update, cosine stepped once an"
        " epoch, constant, or lr / sqrt(update) as in the LRA code",
    )
    clip: float = Field(
        default=0.0,
        ge=0.0,
        allow_inf_nan=False,
        description="largest gradient norm; 0 for no clipping",
    )
    beta2: float = Field(
        default=0.999, gt=0.0, lt=1.0, description="AdamW's decay of squared gradients"
    )
    state_lr: float = Field(
        default=0.0,
        ge=0.0,
        allow_inf_nan=False,
        description="peak learning rate of what weight decay spares by a map's own list (decays,"
        " step sizes), as S4 has it; 0 for lr",
    )
    stop_at: float = Field(
        default=1.01,
        ge=0.0,
        le=1.01,
        description="stop above this accuracy, fraction; 1.01 for never",
    )
    test_weights: Literal["best", "last"] = Field(
        default="best",
        description="weights that are tested: those of the best validation, or the last ones",
    )
    bucket: bool = Field(
        default=True,
        description="rows of similar length share a batch, so that less is padded",
    )
    accumulate: Positive = Field(
        default=1, description="parts of a batch whose gradients are added up, for want of memory"
    )

    @property
    def warmup_ends(self) -> bool:
        """Not with rsqrt: the LRA code trains Retrieval for 5,000 of 8,000 warm-up updates."""
        return self.schedule != "rsqrt"

    @property
    def data(self) -> tasks.lra.Dataset:
        return tasks.lra.dataset(self.dataset)

    @property
    def max_length(self) -> int:
        """Tokens of the longest row the model will see."""
        return self.data.length

    @property
    def train_rows(self) -> int:
        """Rows that are trained on; of Text with selection test the whole training set."""
        return tasks.lra.rows_of(self.data, self.selection)["train"]

    @property
    def epoch_updates(self) -> int:
        """Updates of one epoch: the last, smaller batch of an epoch is left out."""
        return self.train_rows // self.batch

    @field_validator("dataset")
    @classmethod
    def _dataset_exists(cls, dataset: str) -> str:
        return tasks.lra.dataset(dataset).name

    @model_validator(mode="after")
    def _data_are_possible(self) -> Lra:
        if self.batch > self.train_rows:
            raise ValueError(
                f"batch {self.batch} is more than the {self.train_rows} training rows of"
                f" {self.dataset}; type batch {self.train_rows} or less"
            )
        if self.accumulate > self.batch:
            raise ValueError(
                f"accumulate {self.accumulate} is more than the {self.batch} rows of a batch;"
                f" type accumulate {self.batch} or less"
            )
        if not self.data.pixels and self.inputs == "tokens":
            raise ValueError(
                f"inputs tokens has no effect on {self.dataset}, which has no pixels; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _model_is_possible(self) -> Lra:
        building.check(Encoder, self.shape)
        return self

    @property
    def shape(self) -> tuple[tuple[str, object], ...]:
        """The arguments of zoo.encoder.Encoder, sorted, but for dropout, which changes no shape."""
        names = (
            "model d_model depth conv channel_mixer d_channel norm block positions bidirectional"
            " pooling head initialisation"
        )
        data = self.data
        chosen = {name: getattr(self, name) for name in names.split()}
        chosen |= {"inputs": self.inputs if data.pixels else "tokens"}
        chosen |= {"vocabulary": data.vocabulary}
        chosen |= {"classes": data.classes, "documents": data.documents}
        return tuple(sorted({**chosen, "max_length": self.max_length}.items()))


def of_epochs(epochs: int, **fields: Any) -> Lra:
    """A run of so many epochs, validated at the end of each."""
    data = tasks.lra.dataset(fields["dataset"])
    train = tasks.lra.rows_of(data, fields.get("selection", "validation"))["train"]
    epoch = train // fields["batch"]
    return Lra(**{"updates": epochs * epoch, "evaluate_every": epoch, **fields})


def build(config: Lra, device: torch.device | str = "cpu") -> Encoder:
    """The model of a config, initialised on the CPU from torch's global generator, then moved."""
    names = ("dropout", "sublayer_dropout", "attention_dropout", "backend")
    rest = {name: getattr(config, name) for name in names}
    return building.built(Encoder, config.shape, **rest).to(device)
