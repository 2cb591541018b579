"""Groups of parameters: which of q, k and alpha are learned, and whether the decay is dynamic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Group:
    """One line of MetaLA's Table 2. decay: none (alpha = 1), fixed, or dynamic in the token."""

    query: bool
    key: bool
    decay: Literal["none", "fixed", "dynamic"]

    @property
    def name(self) -> str:
        """As the tables write it, L a fixed decay and Lt a dynamic one: `Q,K,Lt`; `-` for none."""
        letters = ["Q"] * self.query + ["K"] * self.key + LETTERS[self.decay]
        return ",".join(letters) or "-"

    @property
    def parameters(self) -> int:
        """How many groups of parameters there are, what C3 counts."""
        return self.query + self.key + (self.decay != "none")


LETTERS = {"none": [], "fixed": ["L"], "dynamic": ["Lt"]}

# All 12, in the order of Table 2; the last has no line there. Q and K share one there, "Q or K".
GROUPS = (
    Group(True, True, "fixed"),
    Group(True, True, "dynamic"),
    Group(True, True, "none"),
    Group(False, True, "fixed"),
    Group(False, True, "dynamic"),
    Group(True, False, "fixed"),
    Group(True, False, "dynamic"),
    Group(True, False, "none"),
    Group(False, True, "none"),
    Group(False, False, "fixed"),
    Group(False, False, "dynamic"),
    Group(False, False, "none"),
)


def group(name: str) -> Group:
    return next(each for each in GROUPS if each.name == name)
