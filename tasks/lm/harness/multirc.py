"""MultiRC (Khashabi et al. 2018) by exact match: a question counts if all its answers are right.

The data set has one row for each answer; here all rows of a question are one item:

    answer          label    scored by the model
    "a cat"         1        "a cat\nIs the answer correct? yes" against "... no"
    "a dog"         0        "a dog\nIs the answer correct? yes" against "... no"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WORDS = ("yes", "no")


def questions(dataset: Any) -> Any:
    """One row for each question: paragraph, question, answers, labels (1 is a right answer)."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for row in dataset:
        place = row["idx"]["paragraph"], row["idx"]["question"]
        empty = {"answers": [], "labels": []}
        item = found.setdefault(
            place, {"paragraph": row["paragraph"], "question": row["question"], **empty}
        )
        item["answers"].append(row["answer"])
        item["labels"].append(int(row["label"]))
    return dataset.from_list(list(found.values()))


def choices(item: dict[str, Any]) -> list[str]:
    """Two continuations for each answer: that it is correct, and that it is not."""
    return [
        f"{answer}\nIs the answer correct? {word}" for answer in item["answers"] for word in WORDS
    ]


def target(item: dict[str, Any]) -> str:
    """What should be said of the answers, for the record alone."""
    return " ".join(WORDS[1 - label] for label in item["labels"])


def score(item: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """results: log-likelihood of each choice, and whether it is what the model would write."""
    pairs = zip(results[::2], results[1::2])
    judged = [int(yes[0] > no[0]) for yes, no in pairs]
    return {"em": float(judged == item["labels"])}
