"""pydantic's errors in plain words: what was given, what was expected, what to type instead."""

from __future__ import annotations

import difflib

from pydantic import ValidationError
from pydantic_core import ErrorDetails

# What other suites call our fields; a spelling distance cannot find these.
ALSO_CALLED = {
    "learning_rate": "lr",
    "batch_size": "batch",
    "hidden_size": "d_model",
    "dim": "d_model",
    "width": "d_model",
    "layers": "depth",
    "n_layers": "depth",
    "num_layers": "depth",
    "steps": "updates",
    "max_steps": "updates",
    "epochs": "updates",
    "seq_len": "length",
    "input_seq_len": "length",
    "kv": "pairs",
    "kv_pairs": "pairs",
    "num_kv_pairs": "pairs",
    "vocab": "vocabulary",
    "vocab_size": "vocabulary",
    "wd": "weight_decay",
    "state_mixer": "channel_mixer",
    "dtype": "precision",
}


def lines(error: ValidationError, known: list[str]) -> str:
    """One line for each thing that is wrong. known: the names among which a typo is looked up."""
    return "\n".join(_line(problem, known) for problem in error.errors())


def close(word: str, known: list[str]) -> str:
    """The known name nearest in spelling, or an empty string."""
    alias = ALSO_CALLED.get(word)
    if alias in known:
        return str(alias)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return found[0] if found else ""


def _line(problem: ErrorDetails, known: list[str]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    message, given, context = problem["msg"], problem["input"], problem.get("ctx", {})
    if problem["type"] == "extra_forbidden":
        return unknown(name, known)
    if problem["type"] == "missing":
        return f"{name} is missing; type {name} and a value"
    if problem["type"] in ("value_error", "assertion_error"):
        return str(context["error"])
    if problem["type"] == "literal_error":
        expected = context["expected"].replace("'", "")
        near = close(str(given), expected.replace(" or ", ", ").split(", "))
        hint = f"; did you mean {near}?" if near else ""
        return f"{name} {given!r} is not one of {expected}{hint}"
    return f"{name} {given!r}: {message[0].lower()}{message[1:]}"


def unknown(name: str, known: list[str]) -> str:
    near = close(name, known)
    if near:
        return f"{name} is not a field; did you mean {near}?"
    return f"{name} is not a field; the fields are {', '.join(known) or 'listed by --help'}"
