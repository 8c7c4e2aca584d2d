"""A variant beside its original: the paired change, and its control for the size of numbers.

Larger numbers are harder for a reason that is not reasoning (2605.28700), so the change is also given over those
variants alone whose numbers are no larger than their original's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Reached:
    """What an item was answered with, 1 or 0, and how large its numbers are; None where it has none."""

    correct: float
    magnitude: float | None = None


def magnitude(numbers: Iterable[Fraction | int]) -> float:
    """The mean of log10(1 + |number|)."""
    sizes = [math.log10(1 + abs(float(number))) for number in numbers]
    return sum(sizes) / len(sizes)


def changes(original: Reached, variant: Reached) -> dict[str, float]:
    """The metrics `change` (variant minus original) and, where its numbers are no larger, `change_no_larger`."""
    change = variant.correct - original.correct
    if original.magnitude is None or variant.magnitude is None or variant.magnitude > original.magnitude:
        return {"change": change}
    return {"change": change, "change_no_larger": change}
