"""What a model's description states, in words that follow the model's name (`lazoo compare`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

READ = {"after": "reads S_t, with the current token", "before": "reads S_{t-1}, without the token"}
ORDER = {"norm_gate": "normalises before it gates", "gate_norm": "gates before it normalises"}
PLACE = {"before_norm": "before the norm", "after_norm": "after the norm"}
DIVISOR = {
    "": "does not divide by the weights' sum",
    "add": "divides by q z + eps",
    "clamp": "divides by max(q z, eps)",
    "add_key": "divides by q (z + eps)",
}


@dataclass(frozen=True)
class Stated:
    """A property in words that follow a model's name. needs: maps without which it means nothing;
    it is a term only where both models have them."""

    words: Callable[[dict[str, Any]], str]
    needs: tuple[str, ...] = ()


def read(told: dict[str, Any]) -> str:
    return READ[told["read"]] if told["state_floats"] is not None else "reads a list of tokens"


def heads(told: dict[str, Any]) -> str:
    plural = "s" * (told["heads"] > 1)
    return (
        f"has {told['heads']} head{plural} of {told['d_k']} x {told['d_v']} at d{told['d_model']}"
    )


def kept(told: dict[str, Any]) -> str:
    (few, before), (many, after) = told["measured_floats"].items()
    each = f"{after / many:g} floats for every token, a state that grows"
    return f"keeps {each if told['grows'] else f'{after:,} floats a layer, at any length'}"


def decay(told: dict[str, Any]) -> str:
    return (
        "has no decay" if told["decay"] in ("-", "none") else f"has a decay that is {told['decay']}"
    )


def static(told: dict[str, Any]) -> str:
    names = " and ".join(name for name in told["static"] if told[f"f_{name}"] != "1")
    return f"has the same {names} at every token" if names else "has no static q or k"


def design(told: dict[str, Any]) -> str:
    missing = ", ".join(told["by_design"])
    return f"lacks by design: {missing}" if missing else "lacks no property of the certificate"


STATED = {
    "decay": Stated(decay),
    "static": Stated(static),
    "read": Stated(read),
    "scale": Stated(lambda m: "does not scale q" if m["scale"] == "none" else "divides q by √d_k"),
    "normaliser": Stated(lambda m: DIVISOR[m["normaliser"]]),
    "order": Stated(lambda m: ORDER[m["order"]], needs=("norm", "f_g")),
    "now_at": Stated(lambda m: f"adds the term {PLACE[m['now_at']]}", needs=("now", "norm")),
    "heads": Stated(heads),
    "dimension": Stated(lambda m: f"has {m['dimension']}"),
    "kept": Stated(kept),
    "family": Stated(lambda m: f"is of the family {m['family']}"),
    "channel": Stated(lambda m: f"has {m['channel']} as its authors' channel mixer"),
    "block_norm": Stated(lambda m: f"has {m['block_norm']} as its authors' block norm"),
    "by_design": Stated(design),
}
