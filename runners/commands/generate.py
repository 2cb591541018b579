"""lazoo generate: text from a trained model, as it comes."""

from __future__ import annotations

import codecs
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import zoo
from runners import trained
from runners.commands import Switch, flag, parse, refusals
from runners.generation import generate

EXAMPLES = (
    'lazoo generate 3f9c "In the beginning"',
    'lazoo generate 3f9c "In the beginning" --temperature 0 --tokens 100',
    "lazoo generate my/folder --samples 3 --top-p 0.95",
)
MODEL = "folder of a trained model, or the key of a run (its beginning will do)"
PLUGIN = "files that define one model each, for a model that was trained with one"
TEMPERATURE = "0 takes the most likely token, 1 draws as the model says"


@dataclass(frozen=True)
class Arguments:
    """Text from a trained model: the prompt and what follows, until the text ends."""

    model: Annotated[tyro.conf.Positional[str], flag(MODEL, metavar="MODEL")]
    prompt: Annotated[
        tyro.conf.Positional[str],
        flag("how the text begins; nothing begins a new one", metavar="PROMPT"),
    ] = ""
    tokens: Annotated[int, flag("longest continuation, tokens", "200")] = 200
    temperature: Annotated[float, flag(TEMPERATURE, "0.8")] = 0.8
    top_p: Annotated[float, flag("draw among the most likely tokens of this share", "1")] = 1.0
    top_k: Annotated[int, flag("draw among so many most likely tokens; 0 for all", "0")] = 0
    seed: Annotated[int, flag("seed of the draws; each sample has the next one", "0")] = 0
    samples: Annotated[int, flag("texts to write", "1")] = 1
    beyond: Annotated[Switch, flag("go on with another text where one ends")] = False
    out: Annotated[Path, flag("folder of rows, with the models of runs in it", "runs")] = Path(
        "runs"
    )
    plugin: Annotated[tuple[Path, ...], flag(PLUGIN)] = ()


def main(argv: Sequence[str]) -> int:
    arguments = parse(Arguments, "generate", argv, EXAMPLES)
    torch.set_flush_denormal(True)
    # Text has every character there is, whatever the terminal's locale says.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with refusals("generate"):
        for path in arguments.plugin:
            zoo.plugin(path)
        check(arguments)
        found = trained.load(trained.resolve(arguments.model, arguments.out), device)
        for number in range(arguments.samples):
            if arguments.samples > 1:
                print(f"--- {number + 1}", flush=True)
            write(found, arguments, number)
    return 0


def check(arguments: Arguments) -> None:
    if arguments.samples < 1:
        raise ValueError(f"samples {arguments.samples} writes nothing; type --samples 1 or more")
    if arguments.samples > 1 and not arguments.temperature:
        raise ValueError(
            f"{arguments.samples} samples of temperature 0 are the same text; type --samples 1, or"
            " a temperature"
        )


def write(found: trained.Trained, arguments: Arguments, number: int) -> None:
    """One text on standard output, and on standard error what it took."""
    tokeniser = found.tokeniser
    ids = tokeniser.encode(arguments.prompt) if arguments.prompt else [tokeniser.eos]
    generation = generate(
        found.model,
        ids,
        tokens=arguments.tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=arguments.top_k,
        seed=arguments.seed + number,
        stop=None if arguments.beyond else tokeniser.eos,
    )
    print(arguments.prompt, end="", flush=True)
    began = time.perf_counter()
    # Of a character of several bytes nothing is shown before its last one.
    text = codecs.getincrementaldecoder("utf-8")("replace")
    clock, sizes = [began], list[int]()
    for id in generation:
        piece = tokeniser.pieces[id] if id < len(tokeniser.pieces) else b""
        print(text.decode(piece), end="", flush=True)
        clock.append(time.perf_counter())
        sizes.append(generation.state_bytes)
    print(text.decode(b"", final=True), flush=True)
    print(took(len(ids), clock, sizes), file=sys.stderr)


def took(prompt: int, clock: list[float], sizes: list[int]) -> str:
    """clock: seconds at the beginning and after each token; sizes: bytes of the state then."""
    if not sizes:
        return "no tokens were asked for"
    lines = f"prompt of {prompt:,} tokens and the first one: {clock[1] - clock[0]:.3f} s"
    if len(sizes) > 1:
        speed = (len(sizes) - 1) / (clock[-1] - clock[1])
        lines += f"; {len(sizes) - 1:,} more: {speed:,.0f} tokens/s"
    grown = "" if sizes[0] == sizes[-1] else f", {sizes[0]:,} after the prompt"
    return f"{lines}; state {sizes[-1]:,} bytes{grown}"
