"""The command `lazoo`. It imports no command before it is called for, so that --help is quick."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

COMMANDS = {
    "models": "the zoo as a table, or one model with its equations",
    "compare": "two models term by term: what differs, and what it costs",
    "check": "is a model right? its certificate, in seconds",
    "conditions": "which models can approximate attention: C0 to C3, computed",
    "mqar": "run or sweep multi-query associative recall, then table and plot",
    "lra": "run or sweep the Long Range Arena, then Table 7 and plot",
    "lm": "train small language models that differ in their mixer alone, then table and plot",
    "generate": "continue a text with a trained language model",
    "eval": "a trained language model on published tasks, by lm-evaluation-harness",
    "export": "a trained language model as a Hugging Face folder",
    "data": "which data sets are here; prepare and verify them",
    "table": "write a table: of results from stored rows alone, of the theory by computing it",
    "plot": "write a plot, likewise",
    "bench": "time the scan operator, a layer, a training step, a sweep, or whole models",
    "doctor": "what this machine can run, what is missing, the command that fixes it",
}
EXAMPLES = (
    "lazoo mqar --preset quick",
    "lazoo mqar --preset paper --dry-run",
    "lazoo mqar --preset quick --model metala gla --d-model 32 --lr 0.003 0.01",
    "lazoo lra --preset quick",
    "lazoo lm --preset quick",
    "lazoo models metala",
    "lazoo check metala",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 all well, 1 a run or a check failed, 2 the command line was refused."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _main(given)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output has left; Python must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"lazoo {' '.join(given[:1])}: {error}", file=sys.stderr)
        return 1


def _main(argv: list[str]) -> int:
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        print(overview())
        return 0
    if name == "--version":
        print(_version())
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean lazoo {close[0]}?" if close else f"type one of {', '.join(COMMANDS)}"
        print(f"lazoo: {name} is not a command; {hint}", file=sys.stderr)
        return 2
    return importlib.import_module(f"runners.commands.{name}").main(rest)


def overview() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: lazoo COMMAND ...",
            "",
            "Linear attention models in one template, compared under one protocol.",
            "",
            "commands (lazoo COMMAND --help says more):",
            *(f"  {name:<{width}}  {words}" for name, words in COMMANDS.items()),
            "",
            "Results go to standard output, progress to standard error. Exit codes: 0 all well,",
            "1 a run or a check failed, 2 the command line was refused.",
            "",
            "examples:",
            *(f"  {example}" for example in EXAMPLES),
        ]
    )


def _version() -> str:
    try:
        return f"lazoo {version('linear-attention-zoo')}"
    except PackageNotFoundError:
        return "lazoo, not installed"


if __name__ == "__main__":
    sys.exit(main())
