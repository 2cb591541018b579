"""lazoo export: a trained model as a Hugging Face folder where the user wants it, verified."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

import zoo
from runners import trained
from runners.commands import Switch, flag, parse, refusals
from runners.commands.generate import MODEL, PLUGIN
from runners.trained_files import CONFIG, FILES
from runners.trained_folder import place

EXAMPLES = (
    "lazoo export 3f9c my/folder",
    "lazoo export 3f9c my/folder --force",
)


@dataclass(frozen=True)
class Arguments:
    """Copies a trained model into a folder that transformers can load, and checks that it does."""

    model: Annotated[tyro.conf.Positional[str], flag(MODEL, metavar="MODEL")]
    folder: Annotated[tyro.conf.Positional[Path], flag("where it goes", metavar="FOLDER")]
    force: Annotated[Switch, flag("replace a trained model that is there")] = False
    out: Annotated[Path, flag("folder of rows, with the models of runs in it", "runs")] = Path(
        "runs"
    )
    plugin: Annotated[tuple[Path, ...], flag(PLUGIN)] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "export", argv, EXAMPLES)
    folder = arguments.folder
    with refusals("export"):
        for path in arguments.plugin:
            zoo.plugin(path)
        source = trained.resolve(arguments.model, arguments.out)
        check_target(source, folder, arguments.force)
        found = trained.load(source)
        tokens = some_tokens(found)
        expected = logits(found, tokens)
        files = {name: (source / name).read_bytes() for name in FILES}

        def check(draft: Path) -> None:
            again = logits(trained.load(draft), tokens)
            compare("this program", expected, again)
            if importlib.util.find_spec("transformers"):
                compare("transformers", expected, logits_of_transformers(draft, tokens))

        try:
            place(folder, files, check)
        except Differs as error:
            print(f"lazoo export: {error}", file=sys.stderr)
            return 1
    checked = "loaded again, by this program"
    if importlib.util.find_spec("transformers"):
        checked += " and by transformers: the same logits, bit for bit"
    else:
        checked += ": the same logits, bit for bit. transformers is not installed, so it was not"
        checked += " tried; pip install 'linear-attention-zoo[lm]' installs it"
    print(f"{checked}", file=sys.stderr)
    print(how_to_load(folder, arguments.plugin))
    return 0


class Differs(Exception):
    """What was written is not what was read."""


def compare(reader: str, expected: Tensor, found: Tensor) -> None:
    if not torch.equal(expected, found):
        off = (expected - found).abs().max().item()
        raise Differs(f"read by {reader}, its logits differ by up to {off:g}; nothing was kept")


def check_target(source: Path, folder: Path, force: bool) -> None:
    """Raises: ValueError for a folder whose content would be lost or mixed up."""
    if folder.resolve() == source.resolve():
        raise ValueError(f"{folder} is the model itself; give another folder")
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not folder.exists() and not folder.is_symlink():
        return
    try:
        told = json.loads((folder / CONFIG).read_bytes())
        ours = told["model_type"] == trained.MODEL_TYPE
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ValueError(f"{folder} is there and holds no trained model; give another folder")
    if not force:
        raise ValueError(f"{folder} holds a trained model already; type --force to replace it")


def some_tokens(found: trained.Trained) -> Tensor:
    """2 t: random, as many as a model with learned positions takes, at most 64."""
    known = found.model.embedding.num_embeddings
    generator = torch.Generator().manual_seed(0)
    return torch.randint(known, (2, min(found.seq_len, 64)), generator=generator)


@torch.no_grad()
def logits(found: trained.Trained, tokens: Tensor) -> Tensor:
    return found.model(tokens)[0]


@torch.no_grad()
def logits_of_transformers(folder: Path, tokens: Tensor) -> Tensor:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    import zoo.hf  # noqa: F401, registers the model

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder)(tokens).logits


def how_to_load(folder: Path, plugins: Sequence[Path]) -> str:
    """Python to paste."""
    lines = ["import zoo.hf", "from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    lines += [f"zoo.plugin({str(path)!r})" for path in plugins]
    lines += [
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r})",
        f"tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})",
    ]
    return "\n".join(lines)
