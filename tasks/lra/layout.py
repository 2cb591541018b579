"""Reads a user's folder in the layout of LRA's release, which S4 and its descendants also expect.

    listops/basic_{train,val,test}.tsv                      or listops-1000/
    aan/new_aan_pairs.{train,eval,test}.tsv                 or tsv_data/
    pathfinder/pathfinder{32,128}/curv_contour_length_14/   or without pathfinder/

in the folder itself, or one or two lra_release/ below it. The release has no Text and no Image.
Pathfinder's splits are the first 80 %, the next and the last 10 % in stored order: the rule of
LRA's code, which draws them from a copy that another library has shuffled; S4 shuffles with a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from tasks.lra import Dataset, Split, arrays, pngs

Tell = Callable[[str], None]

SOURCE = "folder"
LEVEL = "curv_contour_length_14"  # the hard one, which LRA uses
PLACES = {
    "listops": ("listops", "listops-1000"),
    "retrieval": ("aan", "tsv_data"),
    "pathfinder": (f"pathfinder/pathfinder32/{LEVEL}", f"pathfinder32/{LEVEL}"),
    "pathx": (f"pathfinder/pathfinder128/{LEVEL}", f"pathfinder128/{LEVEL}"),
}
_AAN = "new_aan_pairs"
FILES: dict[str, dict[Split, str]] = {
    "listops": {"train": "basic_train.tsv", "valid": "basic_val.tsv", "test": "basic_test.tsv"},
    "retrieval": {
        "train": f"{_AAN}.train.tsv",
        "valid": f"{_AAN}.eval.tsv",
        "test": f"{_AAN}.test.tsv",
    },
}
HEADER = [b"Source", b"Target"]


def find(data: Dataset, user: Path) -> Path | None:
    """The folder that holds a data set, or None. Raises: ValueError where two do."""
    if not user.is_dir():
        raise ValueError(f"{user} is no folder; type --from and a folder in the layout of LRA")
    bases = [user, user / "lra_release", user / "lra_release" / "lra_release"]
    places = [base / place for base in bases for place in PLACES.get(data.name, ())]
    sign = FILES[data.name]["train"] if data.name in FILES else "metadata"
    found = [place for place in places if (place / sign).exists()]
    if len({place.resolve() for place in found}) > 1:
        raise ValueError(
            f"{' and '.join(map(str, found))} both hold {data.name} (LRA's archive has a replaced"
            " pathfinder128 beside the right one); type --from and a folder with one of them"
        )
    return found[0] if found else None


def build(data: Dataset, found: Path, part: Path, *, tell: Tell) -> str:
    """Writes the three splits that a folder holds to `part`. Returns: "folder"."""
    if data.pixels:
        pngs.build(data, found, part, tell=tell)
        return SOURCE
    for split, name in FILES[data.name].items():
        path = found / name
        if not path.is_file():
            raise ValueError(f"{path} is missing; {found} has only a part of {data.name}")
        tell(f"reading {path}")
        if data.name == "listops":
            labels: list[int] = []
            arrays.write(part, split, listops_rows(path, data, labels), labels, documents=1)
        else:
            _ended(path)
            import_module("tasks.lra.retrieval").write_table(data, part, split, path, tell)
        rows = arrays.read(part, split, data.documents, data.length).rows
        if rows != data.rows[split]:
            raise ValueError(f"{path} has {rows:,} rows, expected {data.rows[split]:,}")
    return SOURCE


def listops_rows(path: Path, data: Dataset, labels: list[int]) -> Iterator[np.ndarray]:
    """Ids of each expression; its value goes to `labels`."""
    listops = import_module("tasks.lra.listops")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place, fields = f"{path}, line {number}", line.rstrip(b"\r\n").split(b"\t")
            if number == 1:
                if fields != HEADER:
                    raise ValueError(f"{place} is {line[:40]!r}, expected Source, a tab, Target")
                continue
            if len(fields) != 2 or not fields[1].isdigit() or int(fields[1]) >= data.classes:
                found = f"{len(fields)} fields, the last {fields[-1][-20:]!r}"
                raise ValueError(
                    f"{place} has {found}; expected an expression, a tab, a number from 0 to"
                    f" {data.classes - 1}"
                )
            try:
                ids = listops.encode(fields[0].decode())
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
            opened = np.sum((ids >= listops.MIN) & (ids < listops.CLOSE))
            if (closed := np.sum(ids == listops.CLOSE)) != opened:
                raise ValueError(f"{place} opens {opened} brackets and closes {closed}; is it cut?")
            labels.append(int(fields[1]))
            yield ids


def _ended(path: Path) -> None:
    """Raises: ValueError where the last line has no end: then text may be missing unseen."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 1, 0))
        if file.read() != b"\n":
            raise ValueError(f"{path} is cut off: after {size:,} bytes its last line has no end")
