"""The figures of the Long Range Arena: accuracy by data set, and learning curves."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import captions, lra_captions, lra_dots, strokes
from .cells import Cell, Row
from .chart import COLUMN, FULL, GREY, Grid
from .labels import Label, beside, margin, needed, short
from .lra_blocks import Group, Line, groups
from .lra_dots import levels, limits, ticks
from .lra_tables import lines
from .spelling import fraction

VALUES = {False: 0.32, True: 0.62}  # inches for values without and with a standard deviation
NEAR = 1.5  # per cent: of guesses that are so close to each other one is drawn in small panels


def make(rows: Sequence[Row], width: float, command: str) -> dict[str, Figure]:
    """Two figures for each comparison, by name. width: inches, 0 for a page."""
    drawn: dict[str, Figure | None] = {}
    for group in groups(rows):
        name = f"lra-{group.preset or 'own'}" + "-other-data" * (not group.scores)
        drawn[name] = accuracy(group, width or FULL, command)
        drawn[f"{name}-curves"] = curves(group, width or FULL, command)
    return {name: figure for name, figure in drawn.items() if figure is not None}


def accuracy(group: Group, width: float, command: str) -> Figure:
    """Test accuracy of every model: one panel for each data set, the models in the same rows."""
    datasets = [each for each in group.datasets if group.on(each)]
    drawn = lines(group) if group.scores else list(group.lines)
    room = VALUES[any(cell.std is not None for cell in group.cells)]
    names = margin([*(line.name for line in drawn), *lra_dots.NAMES.values()])
    columns = min(3, len(datasets)) if width > COLUMN else 1
    grid = Grid(
        *(size(width, columns), columns, lra_dots.height(group, drawn)),
        left=names,
        right=room + 0.06,
        gap=room + 0.16,
    )
    said = small_print(group, command, how(group))
    figure, axes = grid.draw(titles(group, datasets), said)
    for i, (axis, dataset) in enumerate(zip(axes, datasets)):
        lra_dots.dots(axis, group, drawn, dataset, i % columns == 0, room)
        axis.set_xlim(limits(group, dataset))
        axis.xaxis.set_major_locator(ticks(*limits(group, dataset)))
        axis.grid(axis="both")
        last = i + columns >= len(datasets)
        axis.set_xlabel("test accuracy, %" if last else "")
    return figure


def how(group: Group) -> list[str]:
    """How the dots are read."""
    said = ["Filled: ours, with the number on the right, the best in bold."]
    if group.scores:
        said.append("Ring: the paper (MetaLA, Table 7), mostly under settings of its own.")
    if any(cell.selection == "test" for cell in group.cells):
        said.append("† selected on the test set itself, which is optimistic.")
    if any(cell.std is not None for cell in group.cells):
        said.append("Bars: standard deviation over seeds.")
    return [*said, "Grey lines: guesses without a model, named on the left."]


def curves(group: Group, width: float, command: str) -> Figure | None:
    """Validation accuracy over updates at the chosen rate: one panel for each data set."""
    trained = {each: with_curves(group, each) for each in group.datasets}
    shown = [dataset for dataset, cells in trained.items() if cells]
    if not shown:
        return None
    right = margin([*(line.name for line in group.lines), "root operator"])
    columns = min(len(shown), 2) if width > COLUMN else 1
    tall = max(1.5, needed(len(group.lines) + 3))
    said = "At the chosen learning rate, one curve per seed. Marker: the weights that are tested."
    grid = Grid(size(width, columns), columns, tall, right=right, gap=right + 0.5)
    figure, axes = grid.draw(titles(group, shown), small_print(group, command, [said]))
    for axis, dataset in zip(axes, shown):
        axis.set_ylim(limits(group, dataset, curves=True))
        axis.yaxis.set_major_locator(ticks(*limits(group, dataset, curves=True)))
        axis.grid(axis="y")
        axis.set_ylabel("validation accuracy, %")
        strokes.updates(axis, trained[dataset])
        labels = guesses(axis, group, dataset)
        for line in group.lines:
            labels += curve(axis, group, line, line.cells.get(dataset))
        beside(axis, labels)
    return figure


def curve(axis: Axes, group: Group, line: Line, cell: Cell | None) -> list[Label]:
    """One curve per seed, with a marker at the weights that are tested. Returns: its name."""
    ends = []
    for row in cell.runs if cell else ():
        heights = [100 * value for value in row.get("curve_valid") or []]
        if not heights:
            continue
        steps, drawn = row["curve_steps"], lra_dots.look(group.lines, line)
        axis.plot(steps, heights, color=drawn.colour, linestyle=drawn.dash, linewidth=0.9)
        tested = row.get("best_update")
        at = steps.index(tested) if tested in steps else -1
        strokes.marker(axis, steps[at], heights[at], drawn, hollow=False)
        ends.append((steps[-1], heights[-1]))
    if not ends:
        return []
    return [Label(short(line.name), sorted(ends), lra_dots.look(group.lines, line).colour)]


def guesses(axis: Axes, group: Group, dataset: str) -> list[Label]:
    """Lines at the levels of guessing, the majority class only where it is far from chance."""
    found = levels(group, dataset)
    if "majority" in found and abs(found["majority"] - found.get("chance", 0)) < NEAR:
        del found["majority"]
    labels = []
    for name, level in found.items():
        dash = lra_dots.GUESSES[name]
        axis.axhline(level, color=GREY, linewidth=0.7, linestyle=dash, zorder=1)
        part = fraction(level / 100).partition(" ")[0] if name == "chance" else ""
        text = f"{lra_dots.NAMES[name]} {part}".strip()
        labels.append(Label(text, [(axis.get_xlim()[1], level)], GREY))
    return labels


def with_curves(group: Group, dataset: str) -> list[Cell]:
    """Cells that a panel of curves has a line for."""
    cells = [line.cells[dataset] for line in group.lines if dataset in line.cells]
    return [cell for cell in cells if any(row.get("curve_steps") for row in cell.runs)]


def size(width: float, columns: int) -> float:
    """Inches: a single panel has no use for more than a column."""
    return width if columns > 1 else min(width, COLUMN)


def titles(group: Group, datasets: Sequence[str]) -> list[str]:
    """Of panels. Where accuracies are no LRA scores, each says so."""
    mark = "" if group.scores else " (not\N{NO-BREAK SPACE}LRA)"
    return [f"{lra_captions.name(group, each)}{mark}" for each in datasets]


def small_print(group: Group, command: str, said: Sequence[str]) -> list[str]:
    """What this is, how to read it, how it was chosen, then data and commands."""
    first = f"{lra_captions.title(group)}. {' '.join(said)}"
    chosen = (
        f"{captions.spread(group.cells)} {lra_captions.rule(group)} {lra_captions.weights(group)}"
    )
    data = lra_captions.sources(group)
    if not group.scores:
        data = f"{lra_captions.other_data(group)} {data}"
    made = f"Runs by {captions.commands(group.rows)}; figure by `{command}`."
    return [first, chosen, f"{data} {captions.runs(group.rows)} {made}"]
