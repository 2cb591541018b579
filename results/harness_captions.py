"""What is said under the tables of language models: scale, noise, what each number is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from . import captions, published
from .harness_columns import NIAH, Shape
from .harness_lines import AVG, Line, Number, columns
from .spelling import DASH, joined, number

ERRORS = 2  # standard errors within which two numbers do not differ
ALIKE = 2.0  # factor up to which sizes and tokens count as the same scale
NOT_WHOLE, FAILED = "†", "¶"


def caption(shape: Shape, lines: Sequence[Line], command: str) -> list[str]:
    """Everything a reader needs to judge the table, in sentences."""
    mine = [line for line in lines if line.ours and line.row]
    rows = [line.row for line in mine]
    if not mine:
        makes = f"`lazoo eval MODEL --tasks {shape.suite}` makes them"
        said = [f"No results of ours yet: {makes}, MODEL being a run of `lazoo lm`."]
    else:
        said = [f"Ours: {provenances(rows)}", scale(lines)]
    said = ["Zero-shot, percent; more is better.", *said, mean(shape), noise(shape, lines)]
    paper = f"Paper: {published.LANGUAGE}, its numbers as printed."
    return [*filter(None, [*said, paper]), captions.provenance([], command)]


def provenances(rows: Sequence[dict[str, object]]) -> str:
    """`lazoo eval` with the versions of what it ran."""
    found = [
        f"{name.removesuffix('_version')} {joined(known)}"
        for name in ("lm_eval_version", "torch", "git")
        if (known := sorted({str(row[name])[:13] for row in rows if row.get(name)}))
    ]
    return f"`lazoo eval` ({', '.join(found)})." if found else "`lazoo eval`."


def scale(lines: Sequence[Line]) -> str:
    """How large ours and the paper's are, and that other scales cannot be compared."""
    mine, theirs = ([l for l in lines if l.ours is ours and l.parameters] for ours in (True, False))
    texts = sorted({f"{line.row.get('corpus')} ({line.row.get('tokeniser')})" for line in mine})
    said = f"Ours have {sizes(mine)} of {joined(texts)}" if texts else "Ours"
    if not theirs:
        return f"{said}; the paper's table says no size."
    near = [line for line in mine if any(alike(line, other) for other in theirs)]
    rest = "" if len(near) == len(mine) else ": such scales cannot be compared with one another"
    return f"{said}, the paper's {sizes(theirs)}{rest}."


def alike(line: Line, other: Line) -> bool:
    pairs = ((line.parameters, other.parameters), (line.tokens, other.tokens))
    return all(a and b and 1 / ALIKE <= a / b <= ALIKE for a, b in pairs)


def name(line: Line) -> str:
    """`MetaLA 0.36 B`, and `MetaLA 0.84 M, ours`: what a table's first column says."""
    known = f"{line.name} {size(line.parameters)}" if line.parameters else line.name
    return f"{known}, ours" if line.ours else known


def sizes(lines: Sequence[Line]) -> str:
    """`0.36 B to 1.4 B parameters and 15 B to 300 B tokens`."""
    told = []
    for name in ("parameters", "tokens"):
        known = sorted({getattr(line, name) for line in lines if getattr(line, name)})
        ends = list(dict.fromkeys(size(value) for value in (known[0], known[-1]))) if known else []
        told += [f"{' to '.join(ends)} {name}"] * bool(ends)
    return " and ".join(told)


def size(value: float | None) -> str:
    """`0.36 B`, `12.3 M`, `33.4 k`: parameters or tokens."""
    if value is None:
        return DASH
    unit, scale = next(
        ((u, s) for u, s in (("B", 1e9), ("M", 1e6), ("k", 1e3)) if value >= 0.1 * s), ("", 1)
    )
    return f"{value / scale:.3g} {unit}".strip()


def mean(shape: Shape) -> str:
    if not shape.mean:
        return ""
    without = [header for header in columns(shape) if header not in shape.mean]
    kept = f" without {joined(without)}" if without else ""
    return f"{AVG}: mean of {len(shape.mean)} columns{kept}; there only where all of them are."


def noise(shape: Shape, lines: Sequence[Line]) -> str:
    """What differences are worth."""
    if shape.suite == NIAH:
        return (
            "The paper's models were trained at 8K tokens, answers graded by a language model;"
            " of ours those count that are there word for word."
        )
    said = f"A difference of less than {ERRORS} standard errors of it is none."
    first = next((l for l in lines if not l.ours and l.model == "metala"), None)
    if first and (error := first.numbers[AVG].stderr):
        said += (
            " The paper prints no errors; from the number of items that of its"
            f" {name(first)} average of {first.numbers[AVG].text} is {error:.2f}."
        )
    return said


def against(lines: Sequence[Line], where: str) -> list[str]:
    """Every line's average against the first one's, in points, and whether they differ."""
    if not lines or not (base := lines[0].numbers.get(AVG)):
        return []
    told = []
    for line in lines[1:]:
        if (other := line.numbers.get(AVG)) and (two := bound(base, other)) is not None:
            assert base.value is not None
            assert other.value is not None
            gap = other.value - base.value
            verdict = "no difference" if abs(gap) <= two else "a difference"
            spelt = f"{gap:+.2f}".replace("-", "\N{MINUS SIGN}")
            told.append(f"{line.name} {spelt} (± {two:.2f}): {verdict}")
    if not told:
        return []
    return [
        f"{where}, {AVG} against {lines[0].name}'s, in points, with {ERRORS} standard errors of"
        f" the difference as if the items were not the same: {'; '.join(told)}."
    ]


def bound(one: Number, other: Number) -> float | None:
    """Points up to which two numbers do not differ; None where an error is not known."""
    if one.stderr is None or other.stderr is None or one.value is None or other.value is None:
        return None
    return ERRORS * math.hypot(one.stderr, other.stderr)


def notes(shape: Shape, lines: Sequence[Line]) -> list[str]:
    """What the signs stand for, naming the cells, and what single columns are."""
    cut = places(
        shape, lines, lambda n, items: f"{number(n.n)} of {number(items)}" * short(n, items)
    )
    gone = places(shape, lines, lambda n, items: n.error.split(";")[0][:80])
    made = [f"{NOT_WHOLE} not all items: {cut}."] * bool(cut)
    made += [f"{FAILED} failed: {gone}."] * bool(gone)
    if odd := other_items(shape, lines):
        made.append(f"Ours were not all asked the same items of {joined(odd)}.")
    told: dict[str, list[str]] = {}
    for line in lines:
        if line.note:
            told.setdefault(line.note, []).append(name(line))
    made += [f"The paper's {joined(names)}: {note}." for note, names in told.items()]
    return made + about(shape)


def short(found: Number, items: int) -> bool:
    """Whether a number of ours is not of the whole set."""
    return bool(found.n and items and found.n != items and found.value is not None)


def other_items(shape: Shape, lines: Sequence[Line]) -> list[str]:
    """Columns whose items are not the same for all of ours that have a number."""
    asked = {
        header: {n.asked for line in lines if (n := line.numbers.get(header)) and n.asked}
        for header in columns(shape)
    }
    return [header for header, found in asked.items() if len(found) > 1]


def places(shape: Shape, lines: Sequence[Line], what: Callable[[Number, int], str]) -> str:
    """`MetaLA PIQA 100 of 1,838, WSC273 20 of 273; GLA ...`."""
    found = []
    for line in lines:
        said = [
            f"{header} {text}"
            for header, column in columns(shape).items()
            if line.ours and (n := line.numbers.get(header)) and (text := what(n, column.items))
        ]
        found += [f"{name(line)} {', '.join(said)}"] * bool(said)
    return "; ".join(found)


def about(shape: Shape) -> list[str]:
    """What must be known about single columns."""
    known = {
        "acc_norm": "accuracy with log-likelihoods divided by the answers' lengths",
        "em": "questions all of whose answers are judged right",
        "perplexity": "perplexity of the last word, not percent, less is better",
        "f1": "mean of three classes' F1",
    }
    made, found = [], columns(shape)
    for metric, words in known.items():
        names = [header for header, column in found.items() if column.metric == metric]
        if names:
            made.append(f"{joined(names)}: {words}.")
    if "CB" in found:
        made.append("CB: accuracy; the paper says F1, but its numbers are multiples of 1/56.")
    if shape.suite != NIAH:
        made.append("Tasks are lm-evaluation-harness's; which version the paper ran is not known.")
    return made
