"""The config of one run of a task: refused with an explanation when it cannot work."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, ValidationError, model_validator

import tasks.mqar
from runners import building, errors
from runners.base import Classified, Positive
from zoo.model import Model

# Decided by a mixture, so not to be chosen beside one.
OF_ONE_SETTING = (
    "vocabulary",
    "length",
    "pairs",
    "filler",
    "train_rows",
    "valid_rows",
    "test_rows",
)


class Mqar(Classified):
    """Multi-query associative recall (Arora et al. 2023, arXiv 2312.04927)."""

    task: ClassVar[str] = "mqar"
    task_version: ClassVar[int] = tasks.mqar.VERSION

    first_mixer: Literal["own", "base_conv"] = Field(
        default="own",
        description="mixer of layer 0; base_conv is zoology's gated convolution of kernel 3",
    )
    tied: bool = Field(default=True, description="head and embedding share their weight")
    vocabulary: Positive = Field(
        default=8192, description="tokens; keys below the middle, values above"
    )
    length: Positive = Field(default=256, description="tokens of a row")
    pairs: Positive = Field(default=16, description="key-value pairs of a row, each asked once")
    filler: Literal["zeros", "random"] = Field(
        default="zeros", description="tokens between the queries"
    )
    mixture: Literal["none", "zoology"] = Field(
        default="none", description="several lengths at once; zoology is Based's Figure 2"
    )
    train_rows: Positive = Field(default=100_000, description="rows of the training set")
    valid_rows: Positive = Field(default=3000, description="rows of the validation set")
    test_rows: Positive = Field(default=3000, description="rows of the test set")

    @property
    def max_length(self) -> int:
        """Tokens of the longest row the model will see."""
        if self.mixture == "none":
            return self.length
        mixture = tasks.mqar.MIXTURES[self.mixture]
        return max(setting.length for setting, _ in (*mixture.train, *mixture.test))

    @model_validator(mode="after")
    def _data_are_possible(self) -> Mqar:
        if self.mixture != "none":
            self._mixture_is_alone()
        try:
            tasks.mqar.Setting(
                vocabulary=self.vocabulary,
                length=self.length,
                pairs=self.pairs,
                filler=self.filler,
            )
        except ValidationError as error:
            raise ValueError(explain(error)) from None
        if self.mixture == "none" and self.batch > self.train_rows:
            raise ValueError(
                f"batch {self.batch} is more than train_rows {self.train_rows};"
                f" type batch {self.train_rows} or less, or more train_rows"
            )
        return self

    @model_validator(mode="after")
    def _model_is_possible(self) -> Mqar:
        building.check(Model, self.shape)
        return self

    @property
    def shape(self) -> tuple[tuple[str, object], ...]:
        """The arguments of zoo.model.Model, sorted, without dropout (which changes no shape)."""
        names = "model d_model depth conv channel_mixer norm positions first_mixer tied"
        chosen = {name: getattr(self, name) for name in (*names.split(), "initialisation")}
        chosen |= {"vocabulary": self.vocabulary, "max_length": self.max_length}
        return tuple(sorted(chosen.items()))

    def _mixture_is_alone(self) -> None:
        for name in OF_ONE_SETTING:
            value, default = getattr(self, name), type(self).model_fields[name].default
            if value != default:
                raise ValueError(
                    f"{name} {value} has no effect with mixture {self.mixture}, which fixes its"
                    f" own; leave {name} out, or type mixture none"
                )


def explain(error: ValidationError) -> str:
    """One plain line for each thing that is wrong with a config, without pydantic's wrapping."""
    known = {"Mqar": Mqar}.get(error.title)
    return errors.lines(error, list(known.model_fields) if known else [])


def build(config: Mqar, device: torch.device | str = "cpu") -> Model:
    """The model of a config, initialised on the CPU from torch's global generator, then moved."""
    dropout = {"dropout": config.dropout, "attention_dropout": config.attention_dropout}
    return building.built(Model, config.shape, **dropout, backend=config.backend).to(device)
