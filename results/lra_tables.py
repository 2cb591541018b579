"""Table 7, the Long Range Arena: models in lines, tasks in columns, the paper's value beside ours.

Accuracies on other data than LRA's have tables of their own, which say so.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from . import lra_captions, lra_marks, lra_settings, published, spelling
from .cells import Cell, Row
from .lra_blocks import Group, Line, groups
from .lra_captions import BASELINES
from .marks import TEST, edge_sign
from .mqar_tables import difference, entry, runs
from .published import LRA_MEAN, LRA_TASKS, Paper
from .spelling import DASH
from .styles import rank
from .writers import Table, Text

BESIDE = ["paper", "diff."]


def make(rows: Sequence[Row], command: str) -> list[Table]:
    """For each preset in the rows: LRA scores, then other data; each with rates and settings.

    Where no row is an LRA score, the paper's numbers stand alone at the end.
    """
    found = groups(rows)
    made = [
        table
        for group in found
        for table in (
            scores(group, command) if group.scores else others(group, command),
            rates(group),
            lra_settings.of_runs(group, lra_captions.title(group), headers(group)),
        )
    ]
    return made if any(group.scores for group in found) else [*made, nothing()]


def scores(group: Group, command: str) -> Table:
    """Ours by task with the paper's value and the difference, then the means of six."""
    bold = {task: group.best(task) for task in LRA_TASKS}
    top = max((mean for line in group.lines if (mean := mean_of_six(line))), default=None)
    body = []
    for line in lines(group):
        paper = published.lra().get(line.model, {})
        entries = [Text(line.name)]
        for task in LRA_TASKS:
            cell = line.cells.get(task)
            entries += [ours(cell, line.name in bold[task]), *beside(cell, paper.get(task))]
        body.append([*entries, *means(line, paper, top), Text(runs(_rows(line)) or DASH)])
    header = ["Model"]
    for task in LRA_TASKS:
        header += [lra_captions.name(group, task), *BESIDE]
    header += ["mean", *BESIDE, "runs"]
    blank = [Text("")] * len(BESIDE)
    foot = [
        [name, *(part for level in levels for part in (level, *blank)), Text(""), *blank, Text("")]
        for name, *levels in baselines(group)
    ]
    title, said = lra_captions.title(group), lra_captions.caption(group, command)
    sizes = (3,) * (len(LRA_TASKS) + 1) + (1,)
    return Table("lra", title, header, body, foot, said, lra_marks.notes(group), groups=sizes)


def others(group: Group, command: str) -> Table:
    """Ours on data that are not LRA's: no number of the paper stands beside them."""
    bold = {name: group.best(name) for name in group.datasets}
    body = []
    for line in group.lines:
        cells = [ours(line.cells.get(name), line.name in bold[name]) for name in group.datasets]
        body.append([Text(line.name), *cells, Text(runs(_rows(line)))])
    foot = [[*level, Text("")] for level in baselines(group)]
    header = ["Model", *group.datasets, "runs"]
    title, said = lra_captions.title(group), lra_captions.caption(group, command)
    return Table("lra-other", title, header, body, foot, said, lra_marks.notes(group))


def rates(group: Group) -> Table:
    """The chosen learning rates, with those at the edge of the grid pointed out."""
    body = []
    for line in group.lines:
        chosen = [line.cells.get(name) for name in group.datasets]
        body.append([Text(line.name), *map(rate, chosen)])
    title = f"Learning rates, {lra_captions.title(group)}"
    header = ["Model", *headers(group).values()]
    return Table("rates", title, header, body, [], [lra_captions.rule(group)], [])


def nothing() -> Table:
    """The paper's values alone, with a dash for ours, before anything has been run."""
    table = scores(Group("", True, LRA_TASKS, {}, (), ()), "")
    said = ["No runs of ours yet: `lazoo lra --preset paper` makes them.", lra_captions.paper()]
    title = "Long Range Arena (MetaLA, Table 7)"
    notes = lra_marks.about_paper()
    return Table("lra", title, table.header, table.body, [], said, notes, groups=table.groups)


def headers(group: Group) -> dict[str, str]:
    """Data sets of a comparison as columns call them."""
    return {dataset: lra_captions.name(group, dataset) for dataset in group.datasets}


def lines(group: Group) -> list[Line]:
    """The group's lines, and an empty one for every model that only the paper has."""
    mine = {line.model for line in group.lines}
    theirs = {model: cells for model, cells in published.lra().items() if model not in mine}
    empty = [
        Line(model, cells[LRA_MEAN].label, "", frozenset(), {}) for model, cells in theirs.items()
    ]
    return sorted([*group.lines, *empty], key=lambda line: (rank(line.model), line.name))


def ours(cell: Cell | None, best: bool) -> Text:
    return entry(cell, best, lra_marks.signs)


def beside(cell: Cell | None, paper: Paper | None) -> list[Text]:
    """The paper's value and the distance to it."""
    return [Text(paper.text if paper else DASH), Text(difference(cell, paper))]


def means(line: Line, paper: dict[str, Paper], top: float | None) -> list[Text]:
    """Mean of six beside the paper's; no difference where the paper's is not over six numbers."""
    theirs, mean = paper.get(LRA_MEAN), mean_of_six(line)
    mark = TEST * any(cell.selection == "test" for cell in line.cells.values())
    best = mean is not None and top is not None and round(mean, 3) == round(top, 3)
    first = Text(DASH) if mean is None else Text(f"{100 * mean:.1f}", "", best, mark)
    whole = theirs is not None and all(task in paper for task in LRA_TASKS)
    apart = theirs.difference(100 * mean) if theirs and whole and mean is not None else DASH
    return [first, Text(theirs.text if theirs else DASH), Text(apart)]


def mean_of_six(line: Line) -> float | None:
    """Plain mean over the tasks, None unless all six have a number."""
    known = [cell.mean for task in LRA_TASKS if (cell := line.cells.get(task))]
    values = [mean for mean in known if mean is not None]
    return statistics.fmean(values) if len(values) == len(LRA_TASKS) else None


def baselines(group: Group) -> list[list[Text]]:
    """Chance and the guesses that read little, by data set; none that no data set has."""
    found = [[row.get("chance") for row in group.on(name)] for name in group.datasets]
    made = [[Text("Chance"), *map(_levels, found)]] * bool(group.rows)
    for name, spelt in BASELINES.items():
        guessed = [
            [(row.get("baselines") or {}).get(name) for row in group.on(dataset)]
            for dataset in group.datasets
        ]
        if any(level is not None for levels in guessed for level in levels):
            made.append([Text(spelt), *map(_levels, guessed)])
    return made


def rate(cell: Cell | None) -> Text:
    if cell is None or cell.best is None:
        return Text(DASH)
    return Text(spelling.rate(cell.best.lr), marks=edge_sign(cell))


def _levels(values: Sequence[float | None]) -> Text:
    """A level of guessing; two, where runs had different data."""
    known = sorted({spelling.percent(value) for value in values if value is not None})
    return Text(" / ".join(known) or DASH)


def _rows(line: Line) -> list[Row]:
    return [row for cell in line.cells.values() for row in cell.rows]
