"""Diversity where the valid answers are known: no embedder stands between an answer and what it says.

    agreement   the chance that two of n samples give the same answer:   sum c (c - 1) / (n (n - 1))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def agreement(answers: Sequence[str]) -> float | None:
    """The share of pairs of answers that are the same; unbiased for sum p^2. None below two answers."""
    size = len(answers)
    if size < 2:
        return None
    return sum(count * (count - 1) for count in Counter(answers).values()) / (size * (size - 1))


def agreement_between(one: Sequence[str], other: Sequence[str]) -> float | None:
    """The share of pairs, one of each, that are the same; unbiased for sum p q. None where one has none."""
    if not one or not other:
        return None
    counts = Counter(other)
    return sum(count * counts[answer] for answer, count in Counter(one).items()) / (len(one) * len(other))


def expected_distinct(valid: int, samples: int) -> float:
    """Distinct answers that `samples` uniform draws from `valid` answers give: m (1 - (1 - 1/m)^k)."""
    return valid * (1 - (1 - 1 / valid) ** samples)
