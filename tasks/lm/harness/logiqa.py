"""LogiQA (Liu et al. 2020, arXiv 2007.08124) from the authors' text file, or from JSON lines.

The file has eight lines for each item: an empty one, the letter of the answer, the passage, the
question, and four options that begin with their letters:

    ""
    b
    All cats sleep.Tom is a cat.
    What follows?
    A.Tom barks.
    B.Tom sleeps.
    C.Tom eats.
    D.Tom reads.

It lacks the space after a full stop inside a line; as in earlier versions of the harness, one is
put there in passages and options.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LETTERS = "abcd"
LINES = 8


def items(dataset: Any) -> Any:
    """A data set whose rows have context, question, options and label; such rows stay as is."""
    if "text" not in dataset.features:
        return dataset
    return dataset.from_list([item for row in dataset for item in parsed(row["text"])])


def parsed(text: str) -> Iterator[dict[str, Any]]:
    """The items of the authors' file. Raises: ValueError where it is another one."""
    lines = text.strip("\n").split("\n")
    for start in range(0, len(lines), LINES):
        label, context, question, *options = lines[start : start + LINES - 1]
        label = label.strip()
        if label not in LETTERS or len(options) != len(LETTERS):
            raise ValueError(
                f"line {start + 1} of LogiQA's file should be the letter of an answer, with a"
                f" passage, a question and four options below it, not {label[:40]!r}; give"
                " Test.txt as its authors publish it"
            )
        yield {
            "context": spaced(context),
            "question": question.strip(),
            "options": [spaced(option[2:]) for option in options],
            "label": label,
        }


def spaced(text: str) -> str:
    return text.replace(".", ". ").strip()


def prompt(item: dict[str, Any]) -> str:
    """As the harness has it: passage, question, the options with their letters."""
    options = [f"{letter.upper()}. {text}" for letter, text in zip(LETTERS, item["options"])]
    lines = [f"Passage: {item['context']}", f"Question: {item['question']}", "Choices:", *options]
    return "\n".join([*lines, "Answer:"])


def answer(item: dict[str, Any]) -> int:
    return LETTERS.index(item["label"].strip())
