"""Checkpoints on disk: tensors as safetensors, all else as JSON; whole or not there.

Each is <updates>.safetensors and then <updates>.json, which holds a hash of both: what has no JSON,
or another hash, was cut off or damaged, and the checkpoint before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from results.store import sync_folder

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """updates: made before it. tensors: on the CPU, none of which share memory. facts: as JSON."""

    updates: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: the newest, and the one before it.

    identity: what a run must share to go on from one. notes: what was passed over, and why.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = folder, dict(identity)
        self.notes: list[str] = []
        self._last = ""

    def write(self, checkpoint: Checkpoint) -> None:
        """Stores it durably, then removes all but it and the last one. Raises: OSError."""
        name = f"{checkpoint.updates:010d}"
        data = safetensors.torch.save(checkpoint.tensors)
        told = {
            "format": FORMAT,
            "identity": self.identity,
            "updates": checkpoint.updates,
            "sha256": sha256(data, checkpoint.facts),
            "facts": checkpoint.facts,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        durably(self.folder / f"{name}.safetensors", data)
        durably(self.folder / f"{name}.json", json.dumps(told, allow_nan=False).encode())
        for path in list(self.folder.iterdir()):
            if path.name.partition(".")[0] not in (name, self._last):
                path.unlink(missing_ok=True)
        self._last = name

    def newest(self) -> Checkpoint | None:
        """The newest that is whole and of the same identity."""
        for path in sorted(self.folder.glob("*.json"), reverse=True):
            try:
                found = self._read(path)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                self.pass_over(path.stem, str(error) or type(error).__name__)
            else:
                self._last = path.stem
                return found
        return None

    def pass_over(self, name: str, why: str) -> None:
        self.notes.append(f"the checkpoint at update {name.lstrip('0') or '0'} was not used: {why}")

    def _read(self, path: Path) -> Checkpoint:
        told = json.loads(path.read_bytes())
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']}, not {FORMAT}")
        other = [k for k, value in self.identity.items() if told["identity"].get(k) != value]
        if other:
            raise ValueError(f"its {' and '.join(other)} differ")
        data = path.with_suffix(".safetensors").read_bytes()
        if sha256(data, told["facts"]) != told["sha256"]:
            raise ValueError("it is damaged")
        # Not a pickle: safetensors reads names, shapes and numbers, and runs nothing.
        return Checkpoint(told["updates"], safetensors.torch.load(data), told["facts"])


def sha256(data: bytes, facts: dict[str, Any]) -> str:
    return hashlib.sha256(data + json.dumps(facts, sort_keys=True).encode()).hexdigest()


def durably(path: Path, data: bytes) -> None:
    """The whole file under its name, even after a power cut, or what was there before."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
