"""What an Encoder refuses, before it is built and before it runs."""

from __future__ import annotations

from torch import Tensor

from zoo.blocks import CHANNEL_MIXERS
from zoo.heads import HEADS
from zoo.initialisation import ON_TOKENS
from zoo.model import check_names, check_rope
from zoo.norms import NORMS
from zoo.spec import Spec

KNOWN = {
    "inputs": ("tokens", "values"),
    "channel_mixer": ("none", *CHANNEL_MIXERS),
    "norm": tuple(NORMS),
    "block": ("pre", "post"),
    "positions": ("none", "sinusoidal", "learned", "rope"),
    "pooling": ("mean", "cls"),
    "head": tuple(HEADS),
    "initialisation": ("own", "authors", "zoology"),
}


def check_options(
    spec: Spec,
    names: dict[str, str],
    sizes: dict[str, int],
    *,
    documents: int,
    bidirectional: bool,
) -> None:
    """names: options and what was given, those of KNOWN; sizes: what must be positive."""
    check_names(*((name, names[name], known) for name, known in KNOWN.items()))
    check_rope(spec, names["positions"])
    if documents not in (1, 2):
        raise ValueError(f"documents {documents} of a row are not known; type 1 or 2")
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} {size} is not positive; type {name} 1 or more")
    if names["pooling"] == "cls" and not bidirectional:
        raise ValueError(
            "pooling cls reads a token in front, which sees no other token unless the mixers are"
            " bidirectional; type pooling mean, or bidirectional"
        )
    initialisation = names["initialisation"]
    embeds = initialisation == "zoology" or spec.model_init in ON_TOKENS
    if initialisation != "own" and names["inputs"] == "values" and embeds:
        raise ValueError(
            f"initialisation {initialisation} of {spec.label} is for embedded tokens, but inputs"
            " are values; type initialisation own, or inputs tokens"
        )


def check_shapes(inputs: Tensor, lengths: Tensor | None, kind: str, documents: int) -> None:
    """Before anything runs, with what was given and what is expected."""
    wanted, shape = ("b t", "b 2 t")[documents - 1], tuple(inputs.shape)
    if inputs.dim() != documents + 1 or (documents == 2 and shape[1] != 2):
        raise ValueError(f"inputs of {documents} document(s) are {wanted}, not {shape}")
    if lengths is not None and tuple(lengths.shape) != shape[:-1]:
        raise ValueError(f"lengths {tuple(lengths.shape)} do not go with inputs {shape}")
    if inputs.is_floating_point() != (kind == "values"):
        raise ValueError(f"inputs are {kind}, and a tensor of {inputs.dtype} is none of these")
