"""What a worker can run: for each task, how the fields of a config become a row."""

from __future__ import annotations

from typing import Any

import torch

import zoo
from results.store import Row
from runners import config, run
from runners.engines.worker import Plugins, Progress


class Mqar:
    """The recipe of task mqar."""

    def config(self, fields: dict[str, Any]) -> config.Mqar:
        return config.Mqar(**fields)

    def blank(self, config: config.Mqar, preset: str) -> Row:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return run.empty_row(config, preset, device)

    def run(self, config: config.Mqar, preset: str, progress: Progress) -> Row:
        return run.run(config, preset=preset, progress=progress)


RECIPES = {"mqar": Mqar()}


def load_plugins(plugins: Plugins) -> None:
    """Loads each file, and refuses one that changed after the sweep began."""
    for path, sha256 in plugins:
        name = zoo.plugin(path)
        if zoo.plugin_sha256(name) != sha256:
            raise ValueError(f"plugin {path} changed while the sweep ran; run the command again")
