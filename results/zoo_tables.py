"""Tables 1, 3 and A1 to A3: what each model is, as the code computes it and as the paper has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from . import published
from .cells import Row
from .prose import COMPANION
from .spelling import DASH, number
from .writers import Table, Text

TITLES = {
    "1": "From the general form to existing linear models",
    "3": "From the general form to MetaLA",
    "A1": "From the general form to LinFormers",
    "A2": "From the general form to state-space models",
    "A3": "From the general form to linear RNNs",
}
SLOTS = {
    "f_q": "f_q",
    "f_k": "f_k",
    "f_v": "f_v",
    "f_alpha": "f_α",
    "f_g": "f_g",
    "also": "besides",
    "dimension": "dimension",
    "size": "state",
    "kept": "kept",
}
FORMS = {"general": "general form", "recurrent": "recurrent form", "parallel": "parallel form"}
STEPS = {
    "local": "short convolution",
    "f_q": "query",
    "f_k": "key",
    "f_v": "value",
    "f_alpha": "decay",
    "f_g": "gate",
    "state": "state, mask",
    "output": "output",
    "now": "self-augmentation",
    "norm": "normalisation",
    "w_o": "gate, projection",
}


def make(rows: Sequence[Row], command: str) -> list[Table]:
    """One table of functions; of Table 3 also one of steps. command: what made it."""
    table = rows[0]["table"]
    models = [row for row in rows if row["kind"] == "model"]
    steps = [row for row in rows if row["kind"] == "step"]
    made = [of_functions(table, models, command)]
    return [*made, of_steps(table, steps, command)] if steps else made


def of_functions(table: str, rows: Sequence[Row], command: str) -> Table:
    """A line per model, and below it the paper's line for the same model."""
    paper, signs = published.functions(table), Signs(table)
    body = []
    for row in rows:
        body.append([Text(row["label"]), *(ours(row, slot) for slot in SLOTS)])
        name = row["name"]
        if theirs := paper.get(name):
            first = Text(f"{COMPANION}: {theirs['model']}", marks=signs.of(name, "model", theirs))
            entries = [printed(theirs, slot, signs.of(name, slot, theirs)) for slot in SLOTS]
            body.append([first, *entries])
    title = f"{TITLES[table]} (MetaLA, Table {table})"
    caption = explained(rows, command)
    header = ["Model", *SLOTS.values()]
    return Table(f"table{table}", title, header, body, [], caption, signs.notes, prose=True)


def of_steps(table: str, rows: Sequence[Row], command: str) -> Table:
    """A line per step of MetaLA in its three forms, and below it the paper's equations."""
    paper = {line["step"]: line for line in published.read(f"table{table}_equations")}
    signs = Signs(table)
    body = []
    for row in rows:
        step = row["step"]
        body.append([Text(STEPS[step]), *(formula(row[form]) for form in FORMS)])
        theirs = [paper[step][form] for form in FORMS]
        # The general form is the paper's own; it is printed once.
        if any(theirs[1:]):
            marked = [formula(text, signs.of("metala", step, {step: text})) for text in theirs[1:]]
            body.append([Text(COMPANION), Text(""), *marked])
    caption = [
        "The same steps for one token and for all at once, whose rows are the tokens: A holds the "
        "products of the decays, M the causal mask, / divides elementwise. In the paper: Eq. "
        "11-15, A29 and A31 to A38.",
        f"Made by `{command}` from the code's own formulas.",
    ]
    title = f"MetaLA step by step, recurrent and parallel (MetaLA, Table {table})"
    header = ["Step", *FORMS.values()]
    return Table(f"table{table}", title, header, body, [], caption, signs.notes, prose=True)


class Signs:
    """Letters for the paper's simplifications, in the order in which the table shows them."""

    def __init__(self, table: str) -> None:
        self.known = published.simplifications(table)
        self.said: list[str] = []

    def of(self, model: str, slot: str, printed: Mapping[str, str]) -> str:
        """The sign beside what the paper prints in a slot; "" where nothing is left out."""
        for line in self.known:
            if (line["model"], line["slot"], line["paper"]) == (model, slot, printed.get(slot, "")):
                return self.letter(line["note"])
        return ""

    def letter(self, note: str) -> str:
        """The same for the same note."""
        if note not in self.said:
            self.said.append(note)
        return f"[{ascii_lowercase[self.said.index(note)]}]"

    @property
    def notes(self) -> list[str]:
        return [f"{self.letter(note)} {note[0].upper()}{note[1:]}." for note in self.said]


def ours(row: Row, slot: str) -> Text:
    """One entry of a model's line."""
    if slot == "kept":
        few, many = row["kept"] or (None, None)
        grows = f" to {number(many)}, grows" if few != many else ""
        return Text(DASH if few is None else number(few) + grows)
    return formula("; ".join(row[slot]) if slot == "also" else row[slot])


def formula(text: str, marks: str = "") -> Text:
    """An entry in the zoo's notation; a dash where there is none."""
    return Text(text, marks=marks, math=True) if text not in ("", "-") else Text(DASH, marks=marks)


def printed(theirs: Mapping[str, str], slot: str, marks: str) -> Text:
    """One entry of the paper's line; nothing in columns that the paper's table does not have."""
    return formula(theirs.get(slot, ""), marks) if slot in theirs or marks else Text("")


def explained(rows: Sequence[Row], command: str) -> list[str]:
    """What the columns are and where they come from."""
    last = rows[-1]
    lengths = " and ".join(map(str, last["lengths"]))
    return [
        "What the code computes, from the formulas of the functions that run: x is the layer's "
        "input, u what a projection or short convolution makes of it, "
        f"{DASH} stands for nothing beyond Eq. 13-15.",
        "H heads; d_k and d_v are of all heads together, d'_k and d'_v of one. State: floats of S "
        f"in one layer of width d. Kept: floats that a second layer of width {last['d_model']} "
        f"hands from token to token, convolutions included, measured after {lengths} tokens.",
        "In the paper: its line for the same model (MetaLA, arXiv 2411.10741), without the index "
        "t; a star is its sign for a bias left out. Letters mark what its table simplifies. Models "
        "without such a line are not in its table.",
        f"Made by `{command}` from the code's own formulas.",
    ]


def lines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The same as flat lines for CSV: a model's entries, and the paper's under `paper_` names."""
    made = []
    for row in rows:
        table = row["table"]
        if row["kind"] == "step":
            theirs = next(
                line
                for line in published.read(f"table{table}_equations")
                if line["step"] == row["step"]
            )
            flat = {key: row[key] for key in ("table", "kind", "step", *FORMS)}
            made.append(flat | {f"paper_{form}": theirs[form] for form in FORMS})
            continue
        theirs = published.functions(table).get(row["name"], {})
        noted = [line for line in published.simplifications(table) if line["model"] == row["name"]]
        flat = {
            key: row.get(key, "") for key in ("table", "kind", "name", "label", "paper", "family")
        }
        flat |= {slot: ours(row, slot).text for slot in SLOTS}
        flat |= {f"paper_{key}": theirs.get(key, "") for key in ("model", *published.ENTRIES)}
        flat["paper_leaves_out"] = "; ".join(f"{line['slot']}: {line['note']}" for line in noted)
        made.append(flat)
    return made
