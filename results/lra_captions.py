"""What is said under the tables of the Long Range Arena: what was run, how, and on which data."""

from __future__ import annotations

from . import captions, published, spelling
from .lra_blocks import Group
from .published import LRA_TITLES
from .spelling import joined

BASELINES = {"majority": "Majority class", "root operator": "Root operator"}
KINDS = {
    "short": "{name} is a short version of {task}",
    "variant": "{name} is a variant of {task}",
    "stand-in": "{name} stands in for {task}",
    "lra": "{name} is not one of the six tasks",
}


def title(group: Group) -> str:
    """What a comparison is; whatever has no LRA scores says so before anything else."""
    of = f"preset {group.preset}" if group.preset else "runs without a preset"
    if group.scores:
        return f"Long Range Arena (MetaLA, Table 7), {of}"
    kinds = sorted({str(row.get("dataset_kind")) for row in group.rows})
    return f"Not LRA scores: {joined(kinds)} data, {of}"


def name(group: Group, dataset: str) -> str:
    """A task as the paper prints it; a data set that is not LRA's as the command line has it."""
    return LRA_TITLES[dataset] if group.scores else dataset


def caption(group: Group, command: str) -> list[str]:
    """Everything a reader needs to judge a comparison, in sentences."""
    said = [f"Test accuracy in percent. {captions.spread(group.cells)}"]
    if not group.scores:
        said = [f"{other_data(group)} {said[0]}"]
    said.append(f"{rule(group)} {weights(group)}".strip())
    said.append(sources(group))
    if group.scores:
        said.append(paper())
    levels = baselines(group)
    said.append(f"{levels} {captions.runs(group.rows)}".strip())
    return [*filter(None, said), captions.provenance(group.rows, command)]


def other_data(group: Group) -> str:
    """What each data set is made from, and that its accuracies are nobody else's."""
    told = []
    for dataset in group.datasets:
        row = group.on(dataset)[0]
        form = KINDS.get(str(row.get("dataset_kind")), "{name} is not the data of {task}")
        of = str(row.get("dataset_of"))
        told.append(form.format(name=dataset, task=LRA_TITLES.get(of, of)))
    return f"These are not LRA scores: {'; '.join(told)}. No published number is comparable."


def rule(group: Group) -> str:
    """How learning rates were chosen."""
    tried = {tuple(rate.lr for rate in cell.rates) for cell in group.cells}
    if all(len(rates) == 1 for rates in tried):
        return "One learning rate for each model and data set: none was chosen."
    grid = f" of {', '.join(map(spelling.rate, *tried))}" if len(tried) == 1 else ""
    sets = {cell.selection for cell in group.cells}
    where = "on the test set itself (†)" if sets == {"test"} else "on the validation set"
    never = "; nothing was chosen on the test set" + ", but where marked" * ("test" in sets)
    return (
        f"Learning rate{grid}: per model and data set the one with the best mean accuracy"
        f" {where}{never * (sets != {'test'})}."
    )


def weights(group: Group) -> str:
    """Which weights were tested."""
    said = {"best": "best validation accuracy", "last": "last update"}
    found = sorted({str(row["test_weights"]) for row in group.rows if row.get("test_weights")})
    which = " or ".join(said.get(each, each) for each in found)
    return f"Tested: weights of the {which}." if which else ""


def sources(group: Group) -> str:
    """Where the data of each column come from; who used others, if not all are the same."""
    alike: dict[str, list[str]] = {}
    told = []
    for dataset in group.datasets:
        users: dict[tuple[str, str], list[str]] = {}
        for line in group.lines:
            for row in line.cells[dataset].rows if dataset in line.cells else ():
                if source := str(row.get("data_source") or ""):  # a run that was killed has none
                    version = str((row.get("data_sha256") or {}).get("test"))[:8]
                    users.setdefault((source, version), []).append(line.name)
        if len(users) == 1:
            alike.setdefault(next(iter(users))[0], []).append(name(group, dataset))
        elif users:
            each = [
                f"{source} (sha256 {version}) for {joined(dict.fromkeys(who))}"
                for (source, version), who in sorted(users.items())
            ]
            told.append(f"{name(group, dataset)} is not the same for all: {'; '.join(each)}")
    same = [f"{joined(names)} {source}" for source, names in alike.items()]
    known = "; ".join([*same, *told])
    return f"Data: {known}." if known else ""


def baselines(group: Group) -> str:
    """What the lines below the models are."""
    has = {each for row in group.rows for each in row.get("baselines") or {}}
    said = {
        "majority": "Majority class: always the most frequent label of the training set.",
        "root operator": "Root operator: the best guess from the first operator of a row alone.",
    }
    return " ".join(text for each, text in said.items() if each in has)


def paper() -> str:
    return (
        f"Paper: {published.LRA}; the difference is ours minus it, in points. The mean of six is"
        " there only where all six are."
    )
