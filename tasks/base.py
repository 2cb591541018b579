"""What every task says about its score."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A score: its printed name, its unit, and whether more of it is better."""

    name: str
    unit: str
    higher_is_better: bool
