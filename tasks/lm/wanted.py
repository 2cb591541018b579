"""A corpus as tokens of a tokeniser: what decides them, where they lie, what to type for them."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks import lm
from tasks.lm import corpora, tokenisers


@dataclass(frozen=True)
class Wanted:
    """corpus, tokeniser: as typed. The user's files are hashed once, when that is first needed."""

    corpus: str
    tokeniser: str
    root: Path

    @cached_property
    def about(self) -> corpora.Corpus:
        return corpora.corpus(self.corpus)

    @property
    def from_hub(self) -> bool:
        return self.about.kind == "hub"

    @cached_property
    def decides(self) -> dict[str, Any]:
        """What decides the tokens: text that has a hash goes by it, whatever its path."""
        text, ids = corpora.identity(self.corpus), tokenisers.identity(self.tokeniser)
        content = text or self.corpus
        return {"text": content, "ids": ids or self.tokeniser, "version": lm.VERSION}

    @cached_property
    def folder(self) -> Path:
        """root/lm/<corpus>-<tokeniser>-<8 hex digits of what decides its content>."""
        of_user = self.about.kind == "user"
        text = Path(self.corpus).expanduser().resolve().stem if of_user else self.corpus
        named = self.decides["ids"] == self.tokeniser
        words = (text, self.tokeniser if named else Path(self.tokeniser).stem)
        slug = "-".join(re.sub("[^a-z0-9]+", "-", word.lower()).strip("-")[-40:] for word in words)
        digest = hashlib.sha256(json.dumps(self.decides, sort_keys=True).encode()).hexdigest()
        return self.root / "lm" / f"{slug}-{digest[:8]}"

    @property
    def command(self) -> str:
        """What to type to prepare it."""
        words = ["lazoo", "data", "lm", self.corpus]
        words += ["--tokeniser", self.tokeniser] * (self.tokeniser != "bytes")
        words += ["--root", str(self.root)] * (self.root != Path("data"))
        return shlex.join([*words, *["--yes"] * self.from_hub])

    def __str__(self) -> str:
        return f"{self.corpus} as {self.tokeniser}"
