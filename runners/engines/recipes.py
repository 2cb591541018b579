"""What a worker can run: for each task, how the fields of a config become a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import zoo
from results.store import Row
from runners import config, lm_config, lm_run, lra_config, lra_run, run, stack
from runners.base import Run
from runners.engines.worker import Plugins, Progress
from runners.execution import Execution


class Mqar:
    """The recipe of task mqar."""

    def config(self, fields: dict[str, Any]) -> config.Mqar:
        return config.Mqar(**fields)

    def blank(self, config: config.Mqar, preset: str) -> Row:
        return run.empty_row(config, preset, device())

    def run(
        self,
        configs: Sequence[config.Mqar],
        presets: Mapping[str, str],
        progress: Progress,
        execution: Execution,
    ) -> Iterator[Row]:
        try:
            if len(configs) > 1:
                yield from stack.run_stacked(configs, presets, progress, execution)
            else:
                preset = presets[configs[0].key]
                yield run.run(configs[0], preset=preset, progress=progress, execution=execution)
        finally:
            give_back_memory()


@dataclass(frozen=True)
class OneByOne:
    """The recipe of a task that reads data and keeps checkpoints. kind: its class of configs.

    module: has the task's `run`, `empty_row`, and `of_execution`, the arguments that a sweep gives.
    """

    kind: type[Run]
    module: Any

    def config(self, fields: dict[str, Any]) -> Any:
        return self.kind(**fields)

    def blank(self, config: Any, preset: str) -> Row:
        return self.module.empty_row(config, preset, device())

    def run(
        self,
        configs: Sequence[Any],
        presets: Mapping[str, str],
        progress: Progress,
        execution: Execution,
    ) -> Iterator[Row]:
        how = self.module.of_execution(execution)
        try:
            for config in configs:
                preset = presets[config.key]
                yield self.module.run(config, preset=preset, progress=progress, **how)
        finally:
            give_back_memory()


RECIPES = {
    "mqar": Mqar(),
    "lra": OneByOne(lra_config.Lra, lra_run),
    "lm": OneByOne(lm_config.Lm, lm_run),
}


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def give_back_memory() -> None:
    """What this process does not need, another one on the same GPU may."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_plugins(plugins: Plugins) -> None:
    """Loads each file, and refuses one that changed after the sweep began."""
    for path, sha256 in plugins:
        name = zoo.plugin(path)
        if zoo.plugin_sha256(name) != sha256:
            raise ValueError(f"plugin {path} changed while the sweep ran; run the command again")
