"""A trained model on disk: a Hugging Face folder, written and read without their library.

config.json rebuilds the model (zoo/rebuild.py) and says in `about` where it comes from; the other
files are the weights, the tokeniser, and what generation starts and ends with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

import zoo
from runners.lm_config import Lm
from runners.trained_files import CONFIG, FILES, PREFIX, TOKENISER, WEIGHTS, config_json, contents
from runners.trained_folder import place
from runners.trained_names import kept, listing
from tasks.lm import tokenisers
from tasks.lm.tokenisers import Tokeniser
from zoo.model import Model
from zoo.rebuild import MODEL_TYPE, float64, rebuilt

MODELS = "models"


@dataclass(frozen=True)
class Trained:
    """seq_len: tokens of a window in training. about: what config.json says of the training."""

    model: Model
    tokeniser: Tokeniser
    seq_len: int
    about: dict[str, Any]


def save(
    folder: Path, model: Model, config: Lm, tokeniser: Tokeniser, about: Mapping[str, Any]
) -> None:
    """Writes the folder; see runners/trained_folder.py for what happens to one that is there.

    about: as JSON; what the config knows is added. Raises: OSError.
    """
    known = {
        "key": config.key,
        "corpus": config.corpus,
        "tokeniser": tokeniser.name,
        "tokeniser_sha256": tokeniser.sha256,
        "tokens": config.tokens,
        "seq_len": config.seq_len,
        "plugin_sha256": zoo.plugin_sha256(config.model),
    }
    told = config_json(model, config, tokeniser, {**known, **about})
    place(folder, contents(told, model.state_dict(), tokeniser))


def load(folder: Path, device: torch.device | str = "cpu") -> Trained:
    """The model of a folder, in eval mode. The state of torch's generator stays as it is.

    Raises: ValueError for a file that is missing or damaged, and for a model that is not here.
    """
    told = read_config(folder)
    with torch.random.fork_rng(devices=[]):
        model = float64(rebuilt(told), told)
    model.load_state_dict(read_weights(folder / WEIGHTS, model))
    tokeniser = read_tokeniser(folder / TOKENISER, told)
    about = dict(told.get("about") or {})
    seq_len = about.get("seq_len") or told["max_position_embeddings"]
    return Trained(model.to(device).eval(), tokeniser, seq_len, about)


def resolve(name: str, out: Path) -> Path:
    """A folder, or the key (or the beginning of one) of a run whose model is in out/models.

    Raises: ValueError with what is there.
    """
    here = Path(name).expanduser()
    if name and (here / CONFIG).is_file():
        return here
    models = out / MODELS
    found = kept(models)
    if name in found:
        return found[name]
    begin = [key for key in found if name and key.startswith(name)]
    if len(begin) == 1:
        return found[begin[0]]
    if begin:
        raise ValueError(
            f"{name} is the beginning of {len(begin)} models in {models}; type more of its"
            f" key:\n{listing(found, begin)}"
        )
    if name and here.is_dir():
        raise ValueError(f"{here} holds no trained model: {here / CONFIG} is missing")
    if not found:
        raise ValueError(
            f"{name!r} is no folder, and {models} has no trained model; lazoo lm puts one"
            " there for every run"
        )
    raise ValueError(
        f"no trained model is called {name!r}; type a folder, or a key of {models}:\n"
        + listing(found, list(found))
    )


def read_config(folder: Path) -> dict[str, Any]:
    data = read(folder / CONFIG)
    try:
        told = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from None
    if not isinstance(told, dict) or told.get("model_type") != MODEL_TYPE:
        kind = told.get("model_type") if isinstance(told, dict) else type(told).__name__
        raise ValueError(
            f"{folder / CONFIG} is of model_type {kind!r}, not of {MODEL_TYPE!r}; give a folder"
            " that lazoo lm or lazoo export has written"
        )
    return told


def read_weights(path: Path, model: Model) -> dict[str, Tensor]:
    """Tensors under the names of the model, every one there and of the right shape."""
    try:
        # Not a pickle: safetensors reads names, shapes and numbers, and runs nothing.
        stored = safetensors.torch.load(read(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); copy or train it again") from None
    found = {name.removeprefix(PREFIX): x for name, x in stored.items()}
    own = model.state_dict()
    for what, names in (("lacks", own.keys() - found), ("has too much:", found.keys() - own)):
        if names:
            raise ValueError(f"{path} {what} {', '.join(sorted(names))}: not of its {CONFIG}")
    for name, x in own.items():
        if x.shape != found[name].shape:
            shapes = f"{tuple(found[name].shape)}, and {CONFIG} says {tuple(x.shape)}"
            raise ValueError(f"{path}: {name} is {shapes}")
    return found


def read_tokeniser(path: Path, told: Mapping[str, Any]) -> Tokeniser:
    text = read(path).decode(errors="replace")
    if text == tokenisers.BYTES.json:
        return tokenisers.BYTES
    name = dict(told.get("about") or {}).get("tokeniser") or str(path)
    name = str(path) if name == "bytes" else name
    options = {"eos": told.get("eos_token_id"), "vocabulary": told["vocab_size"]}
    return tokenisers.from_json(name, text, **options, where=str(path))


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path} is missing; a trained model has {', '.join(FILES)}") from None
