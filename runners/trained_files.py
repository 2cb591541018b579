"""The files of a trained model's folder: what stands in them, in bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from torch import Tensor

from runners.lm_config import Lm
from tasks.lm.tokenisers import Tokeniser
from zoo.model import Model
from zoo.rebuild import MODEL_TYPE, described

CONFIG, WEIGHTS, TOKENISER = "config.json", "model.safetensors", "tokenizer.json"
FILES = (CONFIG, WEIGHTS, TOKENISER, "tokenizer_config.json", "generation_config.json")
PREFIX = "model."  # the Model within zoo.hf.ZooForCausalLM


def contents(
    told: dict[str, Any], weights: Mapping[str, Tensor], tokeniser: Tokeniser
) -> dict[str, bytes]:
    """The files of a folder, by name."""
    tensors = {PREFIX + name: x.detach().cpu().contiguous() for name, x in weights.items()}
    end = end_of_text(tokeniser)
    ids = {name: told[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": end,
        "model_max_length": told["max_position_embeddings"],
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    written = (
        as_json(told),
        safetensors.torch.save(tensors, metadata={"format": "pt"}),
        tokeniser.json.encode(),
        as_json(settings),
        as_json(ids),
    )
    return dict(zip(FILES, written, strict=True))


def config_json(
    model: Model, config: Lm, tokeniser: Tokeniser, about: dict[str, Any]
) -> dict[str, Any]:
    arguments = {name: value for name, value in config.shape if name != "model"}
    arguments |= {"dropout": config.dropout, "attention_dropout": config.attention_dropout}
    weight = model.embedding.weight
    assert arguments["vocabulary"] == len(weight), "the model is not of this config"
    return {
        "architectures": ["ZooForCausalLM"],
        "model_type": MODEL_TYPE,
        "dtype": str(weight.dtype).removeprefix("torch."),
        # A text starts as after the end of another one.
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokeniser.eos),
        **described(config.model, arguments),
        "about": about,
    }


def end_of_text(tokeniser: Tokeniser) -> str:
    """How a tokenizer.json spells the token that ends a text."""
    content = json.loads(tokeniser.json)
    names = {id: piece for piece, id in content["model"]["vocab"].items()}
    names |= {token["id"]: token["content"] for token in content.get("added_tokens") or ()}
    return names[tokeniser.eos]


def as_json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
