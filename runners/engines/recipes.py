"""What a worker can run: for each task, how the fields of a config become a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import zoo
from results.store import Row
from runners import config, lm_config, lm_run, lra_config, lra_run, run, stack
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


class Lra:
    """The recipe of task lra."""

    def config(self, fields: dict[str, Any]) -> lra_config.Lra:
        return lra_config.Lra(**fields)

    def blank(self, config: lra_config.Lra, preset: str) -> Row:
        return lra_run.empty_row(config, preset, device())

    def run(
        self,
        configs: Sequence[lra_config.Lra],
        presets: Mapping[str, str],
        progress: Progress,
        execution: Execution,
    ) -> Iterator[Row]:
        try:
            for config in configs:
                yield lra_run.run(
                    config,
                    preset=presets[config.key],
                    progress=progress,
                    execution=execution,
                    data=Path(execution.data),
                    checkpoints=Path(execution.checkpoints) if execution.checkpoints else None,
                    every=execution.checkpoint_minutes,
                )
        finally:
            give_back_memory()


class Lm:
    """The recipe of task lm."""

    def config(self, fields: dict[str, Any]) -> lm_config.Lm:
        return lm_config.Lm(**fields)

    def blank(self, config: lm_config.Lm, preset: str) -> Row:
        return lm_run.empty_row(config, preset, device())

    def run(
        self,
        configs: Sequence[lm_config.Lm],
        presets: Mapping[str, str],
        progress: Progress,
        execution: Execution,
    ) -> Iterator[Row]:
        try:
            for config in configs:
                how = lm_run.of_execution(execution)
                yield lm_run.run(config, preset=presets[config.key], progress=progress, **how)
        finally:
            give_back_memory()


RECIPES = {"mqar": Mqar(), "lra": Lra(), "lm": Lm()}


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
