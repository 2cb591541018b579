"""Published numbers, read from `results/published/*.csv`; they are never typed into code."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import Any, NamedTuple

from .cells import Block, Line
from .styles import rank

FOLDER = Path(__file__).parent / "published"

# Where a paper's name for a model is not the zoo's name with other capitals.
NAMES = {"transformer": "attention"}
LABELS = {"attention": "Attention"}


class Paper(NamedTuple):
    """One published accuracy. text: as printed, in percent, `>99.0` included."""

    label: str
    text: str

    def difference(self, ours: float) -> str:
        """Points by which ours (percent) is above the paper; for a bound, whether it is met."""
        bound = float(self.text.lstrip("<>"))
        gap = f"{ours - bound:+.1f}".replace("-", "\N{MINUS SIGN}")
        if self.text[0] not in "<>":
            return gap
        met = ours > bound if self.text[0] == ">" else ours < bound
        return "met" if met else ("<" if self.text[0] == ">" else ">") + gap


@functools.cache
def read(name: str) -> tuple[dict[str, str], ...]:
    """The lines of one published table. name: its file without `.csv`."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return tuple(csv.DictReader(file))


ENTRIES = ("f_q", "f_k", "f_v", "f_alpha", "f_g", "dimension")  # of the tables of models


def functions(table: str) -> dict[str, dict[str, str]]:
    """The paper's lines of Table 1, 3, A1, A2 or A3, by the zoo's model that each describes."""
    return {line["zoo"]: line for line in read(f"table{table}_functions")}


def simplifications(table: str) -> list[dict[str, str]]:
    """Where the paper's table says less than its text or its code: model, slot, what it prints."""
    return [line for line in read("simplifications") if line["table"] == table]


MQAR = "MetaLA (arXiv 2411.10741), Table A7"
# Where there is something published. The table has no column for the vocabulary: it is Zoology's.
MQAR_SETTINGS = ({"length": 512, "pairs": 80, "vocabulary": 8192},)


def mqar(setting: dict[str, Any]) -> dict[tuple[str, int], Paper]:
    """Published MQAR accuracies of one setting, by the zoo's model name and d_model."""
    asked = {name: setting.get(name) for name in MQAR_SETTINGS[0]}
    if asked not in MQAR_SETTINGS or setting.get("mixture", "none") != "none":
        return {}
    found = {}
    for line in read("tableA7_mqar_512_80"):
        if (int(line["seq_len"]), int(line["kv_pairs"])) == (asked["length"], asked["pairs"]):
            model = NAMES.get(line["model"].lower(), line["model"].lower())
            label = LABELS.get(model, line["model"])
            found[model, int(line["d_model"])] = Paper(label, line["accuracy"])
    return found


def mqar_blocks() -> list[Block]:
    """The published settings as comparisons in which nothing of ours has run."""
    return [Block(setting, {}, (), ()) for setting in MQAR_SETTINGS]


LRA = "MetaLA (arXiv 2411.10741), Table 7"
LRA_SETTINGS = "Table A4"
LRA_MEAN = "AVG"
# The columns of Table 7 as the paper prints them.
LRA_TITLES = {
    "listops": "ListOps",
    "text": "Text",
    "retrieval": "Retrieval",
    "image": "Image",
    "pathfinder": "Pathfinder",
    "pathx": "Path-X",
}
LRA_TASKS = tuple(LRA_TITLES)
LRA_NAMES = NAMES | {"dss-softmax": "dss:softmax"}
# Columns of Table A4, and the field of a run that each is. The width of keys is the model's own.
LRA_FIELDS = {
    "depth": "depth",
    "d_model": "d_model",
    "d_glu": "d_channel",
    "dropout": "sublayer_dropout",
    "lr": "lr",
    "batch_size": "batch",
    "weight_decay": "weight_decay",
    "warmup_steps": "warmup",
    "max_steps": "updates",
    "bidirectional": "bidirectional",
}


@functools.cache
def lra() -> dict[str, dict[str, Paper]]:
    """Published LRA accuracies and their mean: by the zoo's model name, then task or `AVG`.

    S4, TNN, Mega and SGConv have no model in the zoo; they go by their names in small letters.
    """
    found = {}
    for line in read("table7_lra"):
        name = line["model"].lower()
        model = LRA_NAMES.get(name, name)
        label = LABELS.get(model, line["model"])
        tasks = [*LRA_TASKS, LRA_MEAN]
        found[model] = {task: Paper(label, line[task]) for task in tasks if line[task]}
    return found


@functools.cache
def lra_settings() -> dict[str, dict[str, float | bool]]:
    """MetaLA's published settings for LRA: by task, then field of a run."""
    return {
        line["task"]: {
            field: line[name] == "yes" if field == "bidirectional" else float(line[name])
            for name, field in LRA_FIELDS.items()
        }
        for line in read("tableA4_lra_hyperparameters")
    }


def lines(block: Block, paper: dict[tuple[str, int], Paper]) -> list[Line]:
    """The block's lines, and an empty one for every model that only the paper has."""
    ours = {line.base for line in block.lines}
    theirs = {model: value.label for (model, _), value in paper.items() if model not in ours}
    empty = [Line(model, label, "", {}, {}) for model, label in theirs.items()]
    return sorted([*block.lines, *empty], key=lambda line: (rank(line.model), line.name))


LANGUAGE = "MetaLA (arXiv 2411.10741)"
# The zoo's model of the same mixer; Pythia and LLaMA are softmax transformers.
LANGUAGE_NAMES = NAMES | {"pythia": "attention", "llama2": "attention"}


class Language(NamedTuple):
    """One published line of a language model.

    model: the zoo's name, or the paper's in small letters. parameters, tokens: billions, as
    printed, empty where they are not. cells: by column, as printed.
    """

    model: str
    label: str
    note: str
    parameters: str
    tokens: str
    cells: dict[str, str]


@functools.cache
def languages(name: str) -> tuple[Language, ...]:
    """The lines of a table of language models, in the paper's order. name: of its file."""
    about = ("model", "note", "params_billion", "tokens_billion")
    found = []
    for line in read(name):
        label, note, parameters, tokens = (line.get(each) or "" for each in about)
        low = label.lower()
        cells = {title: text for title, text in line.items() if title not in about and text}
        model = LANGUAGE_NAMES.get(low, low)
        found.append(Language(model, label, note, parameters, tokens, cells))
    return tuple(found)
