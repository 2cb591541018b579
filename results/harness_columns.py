"""Which task and metric of lm-evaluation-harness each column of the paper's tables is.

The one place that says so: `lazoo eval` runs what is named here, and the tables read it back.
"""

from __future__ import annotations

from dataclasses import dataclass

NIAH = "niah"  # a needle in a haystack, which this project runs itself
LAMBADA = ("LAMB_ppl", "LAMB_acc")


@dataclass(frozen=True)
class Column:
    """One number of an evaluation.

    title: as tables print it. task, metric: as rows of task `eval` have them. items: of the whole
    set, 0 where none is known. options: answers to choose from, 0 where a guess has no fixed
    chance. percent: whether the value is a fraction that tables print times 100.
    """

    title: str
    task: str
    metric: str
    items: int = 0
    options: int = 0
    percent: bool = True


@dataclass(frozen=True)
class Shape:
    """One table of the paper.

    file: of the published lines. columns: by their name in that file. mean: those behind its AVG,
    none where it has none. extra: columns of ours that the paper lacks, by the one they follow.
    """

    file: str
    title: str
    suite: str
    columns: dict[str, Column]
    mean: tuple[str, ...] = ()
    extra: tuple[tuple[str, Column], ...] = ()


# The numbers of items are those of the splits that are evaluated: the test set, or the validation
# set where the labels of the test set are not public.
ALL = (
    Column("LAMB_ppl", "lambada_openai", "perplexity", 5153, percent=False),
    Column("LAMB_acc", "lambada_openai", "acc", 5153),
    Column("LOGIQA", "logiqa", "acc", 651, 4),
    Column("WSC273", "wsc273", "acc", 273, 2),
    Column("BOOLQ", "boolq", "acc", 3270, 2),
    Column("PIQA", "piqa", "acc", 1838, 2),
    Column("HS", "hellaswag", "acc_norm", 10042, 4),
    Column("WG", "winogrande", "acc", 1267, 2),
    Column("ARC-e", "arc_easy", "acc", 2376, 4),
    Column("ARC-c", "arc_challenge", "acc_norm", 1172, 4),
    Column("OBQA", "openbookqa", "acc_norm", 500, 4),
    Column("WSC", "wsc", "acc", 104, 2),
    Column("WIC", "wic", "acc", 638, 2),
    Column("RTE", "sglue_rte", "acc", 277, 2),
    # The paper's text says F1, but each of its numbers is a multiple of 1/56: accuracies.
    Column("CB", "cb", "acc", 56, 3),
    Column("CB F1", "cb", "f1", 56),
    Column("MULTIRC", "multirc", "em", 953),
    Column("COPA", "copa", "acc", 100, 2),
    # 35 lengths up to 16K by 35 depths.
    Column("2K", NIAH, "acc_2k", 35),
    Column("4K", NIAH, "acc_4k", 35),
    Column("8K", NIAH, "acc_8k", 35),
    Column("16K", NIAH, "acc_16k", 35),
    Column("≤4K", NIAH, "acc_le_4k", 245),
    Column("≤8K", NIAH, "acc_le_8k", 560),
    Column("avg", NIAH, "avg", 1225),
    Column("weighted avg", NIAH, "weighted_avg", 1225),
)
COLUMNS = {column.title: column for column in ALL}


def _of(*titles: str) -> dict[str, Column]:
    return {title: COLUMNS[title] for title in titles}


SEVEN = _of("WSC", "WIC", "RTE", "CB", "MULTIRC", "BOOLQ", "COPA")
EIGHT = _of("LOGIQA", "WSC273", "BOOLQ", "PIQA", "HS", "WG", "ARC-c", "OBQA")
FULL = _of(*LAMBADA, "LOGIQA", "WSC273", "BOOLQ", "PIQA", "HS", "WG", "ARC-e", "ARC-c", "OBQA")
SCALING = _of("BOOLQ", "PIQA", "HS", "WG") | {
    "ARC-E": COLUMNS["ARC-e"],
    "ARC-C": COLUMNS["ARC-c"],
    "OBQA": COLUMNS["OBQA"],
}
NEEDLE = {column.metric: column for column in ALL if column.task == NIAH}

COMMONSENSE, SUPERGLUE = "commonsense", "superglue"
TABLES = {
    "4": Shape(
        *("table4_superglue", "SuperGLUE", SUPERGLUE, SEVEN, tuple(SEVEN)),
        extra=(("CB", COLUMNS["CB F1"]),),
    ),
    "5": Shape("table5_commonsense", "Commonsense", COMMONSENSE, EIGHT, tuple(EIGHT)),
    "8": Shape("table8_ablation", "Ablations of MetaLA", COMMONSENSE, EIGHT, tuple(EIGHT)),
    "A5": Shape(
        *("tableA5_commonsense_full", "Commonsense with LAMBADA", COMMONSENSE, FULL),
        mean=tuple(title for title in FULL if title not in LAMBADA),
    ),
    "A8": Shape("tableA8_niah", "Needle in a haystack", NIAH, NEEDLE),
    "A9": Shape("tableA9_scaling", "Scaling", COMMONSENSE, SCALING, tuple(SCALING)),
}

# The models of Table 8, by the zoo's names.
ABLATIONS = {
    "metala": "MetaLA",
    "metala:no_aug": "MetaLA w/o selfaug",
    "metala:no_conv": "MetaLA w/o conv",
    "metala:with_key": "MetaLA w/ key",
}


def tasks(*tables: str) -> tuple[str, ...]:
    """The tasks behind tables, each once, in the order of their columns."""
    return tuple(dict.fromkeys(c.task for table in tables for c in TABLES[table].columns.values()))


SUITES = {
    COMMONSENSE: tasks("A5"),
    SUPERGLUE: tasks("4"),
    "paper": tuple(dict.fromkeys(tasks("A5", "4"))),
    NIAH: (NIAH,),
}


def column(task: str, metric: str) -> str:
    """The title of the column that a task's metric fills, empty where it fills none."""
    return next((c.title for c in ALL if (c.task, c.metric) == (task, metric)), "")
