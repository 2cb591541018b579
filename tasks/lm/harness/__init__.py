"""Tasks for lm-evaluation-harness that its own definitions cannot run, or score otherwise."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
# By name, which is that of the harness' own definition.
TASKS = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
