"""Table 2: which groups of parameters, and which models as implemented, meet C0 to C3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import published
from .cells import Row
from .conditions_evidence import evidence, group, measured, scalars
from .spelling import DASH, number
from .styles import rank
from .writers import Table, Text

CONDITIONS = ("C0", "C1", "C2", "C3")
OTHERWISE = "≠"  # our mark is not the paper's
PAPER = "MetaLA (arXiv 2411.10741), Table 2"
MEANING = (
    "C0: state and cost of a step do not grow. C1, dynamic memory: one slot can be overwritten and "
    "the others kept. C2, static approximation: any attention map of n tokens can be had with "
    "bounded parameters. C3: with the fewest groups of parameters."
)


def make(rows: Sequence[Row], command: str) -> list[Table]:
    """Groups and their evidence; where there are rows of models the same for those."""
    groups = [row for row in rows if row["kind"] == "group"]
    models = sorted((r for r in rows if r["kind"] == "model"), key=lambda row: rank(row["name"]))
    made = [of_groups(groups, command), evidence(groups, command)] if groups else []
    if models:
        made += [of_models(models, command), measured(models, command), scalars(models, command)]
    return made


def of_groups(rows: Sequence[Row], command: str) -> Table:
    """Every group in the paper's order, the paper's marks beside ours."""
    body = []
    for row in rows:
        theirs = paper_group(row["name"])
        entries = [Text(group(row)), *compared(row, theirs), Text(theirs.get("members") or DASH)]
        body.append(entries)
    header = ["Group", *CONDITIONS, "paper", "members in the paper"]
    said = [
        MEANING,
        "L is a fixed decay, bounded away from 1; Lt one that depends on the token.",
        f"Paper: {PAPER}. Table by `{command}`.",
    ]
    title = "Conditions by group of parameters"
    return Table("conditions", title, header, body, [], said, differences(rows))


def of_models(rows: Sequence[Row], command: str) -> Table:
    """Models as implemented, with the paper's marks for the group in which it counts them."""
    body = [
        [
            Text(row["label"]),
            Text(group(row)),
            *compared(row, paper_model(row["name"])),
            Text("; ".join(remarks(row)) or DASH),
        ]
        for row in rows
    ]
    said = [
        MEANING,
        "Group and form are measured on what the functions of the running model return; weights "
        "are free, and one layer that meets a condition is enough. A key that only follows the "
        "decay (k tied) is no group, an erasure of rank one is. Own mixing: neither softmax "
        "nor the recurrence, so C1 and C2 are not decided here. Toeplitz: neither q, k nor α reads "
        "the token. Fixed rates: one step for all channels, times a rate of each. C2 to n: a fixed "
        "decay costs at most 0.05 up to there. Whole input: as published it looks at the whole "
        "sequence first, which C0 does not count.",
        f"Paper: {PAPER}, its line that lists the model. Table by `{command}`.",
    ]
    title = "Conditions by model, as implemented"
    header = ["Model", "group", *CONDITIONS, "paper", "remarks"]
    return Table("models", title, header, body, [], said, differences(rows))


def paper_group(name: str) -> dict[str, str]:
    """The paper's line of a group, {} where it has none. Q and K share one."""
    asked = "Q or K" if name in ("Q", "K") else name
    return next((row for row in published.read("table2_conditions") if row["group"] == asked), {})


def paper_model(name: str) -> dict[str, str]:
    """The paper's line that lists a model of the zoo; variants stand for none."""
    lines = published.read("table2_conditions")
    return next((line for line in lines if name in line["zoo"].split()), {})


def compared(row: Row, theirs: dict[str, str]) -> list[Text]:
    """Our four marks, and the paper's."""
    return [*(mark(row[name], theirs.get(name, "")) for name in CONDITIONS), Text(marks(theirs))]


def mark(met: bool | None, theirs: str) -> Text:
    ours = {True: "y", False: "n", None: DASH}[met]
    return Text(ours, marks=OTHERWISE * (theirs not in ("", ours)))


def marks(line: dict[str, str]) -> str:
    return "".join(line.get(name) or DASH for name in CONDITIONS) if line else DASH


def remarks(row: Row) -> list[str]:
    """The row's own, and where a fixed decay starts to cost."""
    found = list(row["remarks"])
    if row.get("until") is not None:
        found.append(f"C2 to n = {number(row['until'])}")
    return found


def differences(rows: Sequence[Row]) -> list[str]:
    """The note that explains the sign, where it is used."""
    for row in rows:
        theirs = paper_model(row["name"]) if row["kind"] == "model" else paper_group(row["name"])
        if any(mark(row[name], theirs.get(name, "")).marks for name in CONDITIONS):
            return [f"{OTHERWISE} not the paper's mark."]
    return []


def lines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Groups and models as flat lines for CSV, numbers with every digit, the paper's marks too."""
    made = []
    for row in rows:
        if row["kind"] not in ("group", "model"):
            continue
        model = row["kind"] == "model"
        theirs = paper_model(row["name"]) if model else paper_group(row["name"])
        flat: dict[str, Any] = {"kind": row["kind"], "name": row["name"]}
        flat["group"] = row.get("group", row["name"])
        flat |= {name: row[name] for name in CONDITIONS}
        flat |= {f"paper_{name}": theirs.get(name, "") for name in CONDITIONS}
        flat |= {key: row.get(key) for key in ("groups", "e2", "e2_by", "e2_initial", "until")}
        for key in ("lower", "upper"):
            values = row[key] or [None] * len(row["n"])
            flat |= {f"{key}_{n}": value for n, value in zip(row["n"], values)}
            flat[f"{key}_by"] = row[f"{key}_by"]
        plain = (str, int, float, type(None))
        made.append(flat | {k: v for k, v in row.items() if k not in flat and isinstance(v, plain)})
    return made
