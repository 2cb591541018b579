"""Run: the fields that every run has, whatever its task. Frozen, complete, and checked.

Every field is also a flag of the command line (`d_model` is `--d-model`), and its description is
the flag's help.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

import zoo
import zoo.scan

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]

ChannelMixer = Literal[
    "none",
    "own",
    "identity",
    "swiglu",
    "glu",
    "geglu",
    "mlp",
    "mlp_relu",
    "relu2",
    "relu2_receptance",
    "relu2_receptance_3.5",
]


class Run(BaseModel):
    """What every run has: a model, its shape, and how it is trained. Tasks add their own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: ClassVar[str] = ""
    task_version: ClassVar[int] = 0

    model: str = Field(description="name in the zoo, with variants: metala, metala:no_aug")
    d_model: Positive = Field(default=64, description="width of the residual stream, channels")
    depth: Positive = Field(default=2, description="number of layers")
    conv: str = Field(
        default="own",
        description="short convolution: own, none, or k and the kernel size in tokens with an"
        " optional activation (k2, k4-silu), which replaces the model's own",
    )
    channel_mixer: ChannelMixer = Field(
        default="none",
        description="after each mixer; own is what the model's authors put there, identity is"
        " zoology's r + LN(r)",
    )
    norm: Literal["layer", "own", "rms", "rms_plain", "batch"] = Field(
        default="layer",
        description="norm in front of each sub-layer; own is the authors', rms_plain has no weight,"
        " batch sees later tokens and other rows while it trains",
    )
    positions: Literal["none", "learned", "rope"] = Field(
        default="none", description="position encoding; rope is for attention only"
    )
    dropout: Rate = Field(default=0.0, description="dropout on the embedding output, fraction")
    attention_dropout: Rate = Field(
        default=0.0, description="dropout on attention probabilities, fraction; for attention only"
    )
    initialisation: Literal["own", "authors", "zoology"] = Field(
        default="own",
        description="own: each module as its paper says; authors: and then what their whole model"
        " does, embeddings included; zoology: N(0, 0.02) for all",
    )

    batch: Positive = Field(default=64, description="rows per update")
    updates: Positive = Field(default=10_000, description="training budget, optimiser updates")
    lr: float = Field(
        default=1e-3, gt=0.0, allow_inf_nan=False, description="peak learning rate of AdamW"
    )
    schedule: Literal["cosine", "cosine-epoch", "constant"] = Field(
        default="cosine",
        description="learning rate over time: cosine to 0 at every update, cosine stepped once an"
        " epoch (zoology), or constant",
    )
    warmup: Natural = Field(default=0, description="updates of linear warm-up")
    weight_decay: float = Field(
        default=0.1, ge=0.0, allow_inf_nan=False, description="decoupled weight decay of AdamW"
    )
    decay_all: bool = Field(
        default=False, description="decay biases, norms and decay rates too, as zoology does"
    )
    clip: float = Field(
        default=1.0,
        ge=0.0,
        allow_inf_nan=False,
        description="largest gradient norm; 0 for no clipping",
    )
    evaluate_every: Positive = Field(default=500, description="updates between validations")
    seed: Seed = Field(default=0, description="seed of initialisation and dropout")
    data_seed: Seed = Field(default=0, description="seed of the data and of its order")
    shuffle: bool = Field(default=True, description="new order of the rows in every epoch")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="bf16 is autocast")
    backend: str = Field(
        default="auto", description="scan backend; auto takes the first that can run"
    )

    @property
    def key(self) -> str:
        """16 hex digits of the sha256 of every field, the task and its version, as sorted JSON."""
        content = {**self.model_dump(mode="json"), "task": self.task, "version": self.task_version}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def cell(self) -> dict[str, object]:
        """The fields that runs of one table cell share: all but what is searched or repeated."""
        return self.model_dump(mode="json", exclude={"lr", "seed", "data_seed"})

    def solved(self, metric: float) -> bool:
        """Whether a model with this validation metric needs no further training."""
        return False

    @property
    def warmup_ends(self) -> bool:
        """Whether the schedule needs updates after the warm-up."""
        return True

    @field_validator("backend")
    @classmethod
    def _backend_exists(cls, backend: str) -> str:
        known = ["auto", *(module.NAME for module in zoo.scan.BACKENDS)]
        if backend not in known:
            hint = zoo.suggest(backend, known)
            raise ValueError(f"backend {backend!r} is not one of {', '.join(known)}{hint}")
        return backend

    @model_validator(mode="after")
    def _dropout_has_an_effect(self) -> Run:
        if self.attention_dropout and zoo.load(self.model).mix != "softmax":
            raise ValueError(
                f"attention_dropout {self.attention_dropout} has no effect on {self.model}, which"
                " has no attention probabilities; type attention_dropout 0"
            )
        return self

    @model_validator(mode="after")
    def _training_is_possible(self) -> Run:
        if self.warmup >= self.updates and self.warmup_ends:
            raise ValueError(
                f"warmup {self.warmup} leaves nothing of {self.updates} updates;"
                f" type warmup {self.updates // 10}, or more updates"
            )
        if self.schedule == "cosine-epoch" and self.warmup:
            raise ValueError(
                f"warmup {self.warmup} does not go with schedule cosine-epoch, which steps once an"
                " epoch; type schedule cosine, or warmup 0"
            )
        return self


class Classified(Run):
    """Runs that are scored by an accuracy, which can be high enough."""

    stop_at: float = Field(
        default=0.99,
        ge=0.0,
        le=1.01,
        description="stop above this accuracy, fraction; 1.01 for never",
    )
    selection: Literal["validation", "test"] = Field(
        default="validation",
        description="set on which training stops and the learning rate is chosen; test is the"
        " published zoology protocol and is marked in tables",
    )

    def solved(self, metric: float) -> bool:
        return metric > self.stop_at
