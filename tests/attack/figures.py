"""The figures that the attacks measure, and their bounds."""

from __future__ import annotations

from dataclasses import dataclass

SIZES, GUESSES, FUNCTIONS, COSTS = "A", "B", "C", "D"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number, and its upper bound. `section` is a kind of attack."""

    section: str
    name: str
    value: float
    most: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.value <= self.most

    def __str__(self) -> str:
        verdict = "holds" if self.holds else f"IS MORE THAN {self.most:,g}"
        return f"{self.section}  {self.name:<66}{self.value:>14,.3f} {self.unit:<9}{verdict}"
