"""The evidence behind Table 2: overwrite errors, bounds over n, what grows, counts of scalars."""

from __future__ import annotations

from collections.abc import Sequence

from .cells import Row
from .spelling import DASH, number, rate, size
from .writers import Table, Text

ZERO = 1e-6  # below it an error is printed as 0, the bound that a verdict asks for
NONE = "-"  # how rows name the group without parameters


def evidence(rows: Sequence[Row], command: str) -> Table:
    """What the verdicts on groups rest on: e2, and bounds of the error over n."""
    shown = range(0, len(rows[0]["n"]), 2)
    body = []
    for row in rows:
        entries = [Text(group(row)), Text(error(row["e2"]))]
        entries += [Text(interval(row, i)) for i in shown]
        entries.append(Text(row["lower_by"] or row["upper_by"] or DASH))
        entries += [Text(error(row.get(f"optimised{part}"))) for part in ("", "_lower")]
        body.append(entries)
    tokens = next((row["optimised_n"] for row in rows if row.get("optimised_n")), DASH)
    header = ["Group", "e2", *(f"E({rows[0]['n'][i]})" for i in shown), "by", f"Adam({tokens})"]
    said = [
        "e2: least squared error of overwriting one of 16 orthonormal slots; 1 leaves the old "
        "value in place.",
        "E(n): largest error of an entry over three maps (random, sink, pointer) of n tokens, with "
        "as many channels as tokens and lengths of q and k that do not grow with n; ≥ is a lower "
        "bound without a construction that reaches it. By: L1 to L6, U1 to U5 as in `zoo.theory`; "
        "L1 with its largest decay.",
        "Adam(n): error reached on a random map, which must not pass the lower bound beside it.",
        f"Table by `{command}`.",
    ]
    missed = [
        f"{group(row)}: Adam's error is outside its bounds."
        for row in rows
        if row.get("agrees") is False
    ]
    title = "Evidence by group of parameters"
    return Table("evidence", title, [*header, "at least"], body, [], said, missed)


def measured(rows: Sequence[Row], command: str) -> Table:
    """What the verdicts on models rest on."""
    tried = any("probe_left" in row or "fit_error" in row for row in rows)
    body = []
    for row in rows:
        entries = [Text(row["label"]), Text(error(row["e2"])), Text(error(row["e2_initial"]))]
        entries += [Text(interval(row, -1)), Text(row["lower_by"] or row["upper_by"] or DASH)]
        entries += [Text(growth(row["state"])), Text(growth(row["step"]))]
        if tried:
            numbers = (row.get(key) for key in ("probe_left", "probe_lost", "fit_error"))
            entries += [Text(error(value)) for value in numbers]
        body.append(entries)
    header = ["Model", "e2", "at first", f"E({rows[0]['n'][-1]})", "by", "state", "step"]
    said = [
        "e2 and E as for groups, with the model's own ties, floors and fixed decays; at first: e2 "
        "with the initial weights in the last of two layers, whatever the input.",
        "State: bytes kept for one sequence in two layers of width "
        f"{rows[0]['d_model']}; step: bytes that one more token reads and writes; both after 256 "
        "tokens, and × by how much they have grown after 512.",
    ]
    if tried:
        said.append(
            "Left, lost: found by optimising the tokens of the running model: energy that is left "
            "of what should be overwritten, and lost of what should be kept; heads count as slots. "
            "Fit: largest error of the model's own map, fitted to a random one of at most 8 "
            "tokens. All three are upper bounds."
        )
    said.append(f"Table by `{command}`.")
    title = "Evidence by model"
    header += ["left", "lost", "fit"] * tried
    return Table("measured", title, header, body, [], said, [])


def scalars(rows: Sequence[Row], command: str) -> Table:
    """How many scalars a layer spends on its map."""
    parts = {"q": "θ_q", "k": "θ_k", "alpha": "θ_α", "erase": "erasure", "all": "layer"}
    body = [
        [Text(row["label"]), *(Text(number(row[f"theta_{part}"])) for part in parts)]
        for row in rows
    ]
    said = [
        f"Parameters of one layer of width {rows[0]['d_model']}. A projection that several "
        "functions share (Mamba-2's in_proj) is in the layer's sum only.",
        f"Table by `{command}`.",
    ]
    title = "Scalars of the attention map, by model"
    return Table("scalars", title, ["Model", *parts.values()], body, [], said, [])


def group(row: Row) -> str:
    """The name of a row's group."""
    name = row.get("group", row["name"])
    return "none" if name == NONE else name


def error(value: float | None) -> str:
    """Three digits; 0 where it counts as none, a dash where there is none."""
    if value is None:
        return DASH
    return "0" if abs(value) < ZERO else f"{value:.3g}" if value >= 1e-3 else rate(value)


def interval(row: Row, i: int) -> str:
    """The error of C2 at one length: exact, or from below."""
    lower, upper = ((row[key] or [None])[i] if row[key] else None for key in ("lower", "upper"))
    if upper is not None and (lower is None or upper - lower < ZERO):
        return error(upper)
    if upper is None:
        return f"≥ {error(lower)}" if lower else DASH
    return f"{error(lower)} to {error(upper)}"


def growth(sizes: Sequence[int]) -> str:
    """Bytes after 256 tokens; by how much they have grown after 512."""
    first, second = sizes
    return size(first) + (f" ×{second / first:.3g}" if second != first else "")
