"""What `make gpu` leaves in its folder: a summary, the tests' words, a log, and rows."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runners.gpu_part import Outcome

MOST = 900_000  # bytes of one file
ROW_FILES = 2
RESULT = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", re.MULTILINE)
COLUMNS = ("kind", "name", "form", "backend", "dtype", "length", "batch", "step_form", "stacked")
HEADER = (*COLUMNS, "ms", "ratio", "share", "tokens/s", "MiB", "status")


class Report:
    """Each call but the first brings the files up to date: a call that is cut off leaves them.

    facts: flat, of the machine. rows: the folder to which the benches add theirs.
    """

    def __init__(self, out: Path, facts: dict[str, Any], rows: Path, minutes: float) -> None:
        self.out, self.facts, self.rows, self.minutes = out, facts, rows, minutes
        self.begin = time.monotonic()
        self.outcomes: list[Outcome] = []
        self.said: dict[str, str] = {}  # by the name of a part
        self.failures: list[str] = []
        self.left_out = 0  # rows
        self.seen = 0
        for folder in (out, rows):
            folder.mkdir(parents=True, exist_ok=True)
        for old in out.glob("bench.gpu*.jsonl"):
            old.unlink()

    def tests(self, found: Sequence[Outcome], marked: int) -> None:
        """The first `marked` of them have to end well."""
        for i, each in enumerate(found):
            results = dict(RESULT.findall(each.output))
            counts = Counter(result.lower() for result in results.values())
            self.said[each.name] = counted(counts)
            bad = [name for name, result in results.items() if result in ("FAILED", "ERROR")]
            wrong = each.status != "ok" if i < marked else each.status == "failed"
            self.failures += bad or ([f"{each.name}: {each.status}"] if wrong else [])
        self.outcomes += found
        self.write()

    def bench(self, found: Outcome) -> None:
        """Those of `ceilings` are a line of JSON; the others have left rows."""
        if found.name == "ceilings" and found.status == "ok":
            self.facts |= json.loads(found.output.splitlines()[-1])
        new = self.lines()[self.seen :]
        self.seen += len(new)
        counts = Counter(str(json.loads(line).get("status")) for line in new)
        self.said[found.name] = counted(counts, "rows ")
        self.outcomes.append(found)
        self.write()

    def lines(self) -> list[str]:
        """Whole rows, in the order in which they were written; a torn one is left out."""
        files = sorted(self.rows.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
        lines = [line for path in files for line in path.read_text().splitlines()]
        return [line for line in lines if whole(line)]

    def write(self) -> None:
        self.write_rows(self.lines())
        log = [f"== {x.name}: {x.status}\n{x.errors[-20_000:]}" for x in self.outcomes]
        tests = [x.output for x in self.outcomes if x.name.startswith("tests")]
        parts = [
            {"name": x.name, "status": x.status, "seconds": round(x.seconds, 1), "code": x.code}
            | {"limit": round(x.limit, 1), "said": self.said.get(x.name, "")}
            for x in self.outcomes
        ]
        summary = {"facts": self.facts, "minutes": self.minutes, "failures": self.failures}
        summary |= {"seconds": round(time.monotonic() - self.begin, 1), "parts": parts}
        self.save("summary.json", json.dumps(summary | {"rows_left_out": self.left_out}, indent=1))
        self.save("summary.md", self.markdown())
        self.save("tests.txt", "\n".join(tests))
        self.save("log.txt", "\n".join(log))

    def write_rows(self, lines: Sequence[str]) -> None:
        files, size = [[]], 0
        for line in lines:
            size += len(line.encode()) + 1
            if size > MOST:
                files.append([])
                size = len(line.encode()) + 1
            files[-1].append(line)
        for i, some in enumerate(files[:ROW_FILES]):
            if some:
                self.save(f"bench.gpu{i + 1}.jsonl", "\n".join(some) + "\n")
        self.left_out = sum(map(len, files[ROW_FILES:]))

    def save(self, name: str, text: str) -> None:
        (self.out / name).write_bytes(text.encode()[-MOST:])

    def markdown(self) -> str:
        facts = [
            f"- {name}: {value}" for name, value in self.facts.items() if value not in ("", None)
        ]
        rows = [json.loads(line) for line in self.lines()]
        cut = [f"{self.left_out} rows had no room."] if self.left_out else []
        bad = ["## Failures", "", *(f"- {name}" for name in self.failures), ""]
        return "\n".join(
            [
                *("# GPU tests and benches", "", *facts, "", "## Parts", "", self.table(), ""),
                *(bad if self.failures else []),
                *("## Rows", "", *cut, markdown_table(HEADER, map(cells, rows)), ""),
            ]
        )

    def table(self) -> str:
        """One line for each part."""
        lines = [
            (x.name, x.status, f"{x.seconds:.0f}", f"{x.limit:.0f}", self.said.get(x.name, ""))
            for x in self.outcomes
        ]
        return markdown_table(("part", "status", "seconds", "of", "found"), lines)


def whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def counted(counts: Counter[str], before: str = "") -> str:
    said = ", ".join(f"{number} {word}" for word, number in sorted(counts.items()))
    return before + said if said else ""


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row under HEADER; what it does not have is empty."""
    of = {"ms": ("median_seconds", 1e3, ".3f"), "ratio": ("ratio", 1, ".2f")}
    of |= {"share": ("share", 1, ".2f"), "tokens/s": ("tokens_per_second", 1, ",.0f")}
    of |= {"MiB": ("peak_memory_bytes", 2**-20, ",.0f")}
    numbers = {
        name: format(row[key] * factor, form)
        for name, (key, factor, form) in of.items()
        if isinstance(row.get(key), int | float)
    }
    if ran := row.get("backends"):
        row = row | {"backend": " ".join(ran)}
    words = {name: str(row[name]) for name in COLUMNS if row.get(name) not in ("", None)}
    ended = {"status": " ".join(filter(None, [row.get("status"), row.get("error")]))[:120]}
    return tuple((words | numbers | ended).get(name, "") for name in HEADER)


def markdown_table(header: Sequence[str], lines: Any) -> str:
    table = [header, *([text.replace("|", "/") for text in line] for line in lines)]
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    padded = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |"
        for line in table
    ]
    return "\n".join([padded[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *padded[1:]])
