"""Seeds of two kinds: a method that fails at some seeds has no mean that an interval could be about.

The seed means of a method are cut at their largest gap. The method collapses where the gap is at least

- SMALLEST_GAP of the score's range, and
- 5 standard errors of the difference of two seeds on these items, sqrt(2 E / C), and
- 2 times the range of the means in the larger of the two parts (the wider one, if they are equally large), and
- 4 times the seed standard deviation of the panel's other methods, where three or more of them vary: the median of
  their M / C over that of chi-square by its mean, (1 - 2 / (9 (S - 1)))^3 (Wilson and Hilferding, PNAS 17, 1931).

or, for a score with bounds, where one part is at most a tenth as far from a bound as the other (0.03 and 0.80, say),
the gap is at least SMALLEST_GAP of the range, and 3 standard errors. Needs three seeds. The constants are fitted to
simulations: docs/statistics.md, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale

SMALLEST_GAP = 0.3
FEWEST_SEEDS = 3


def collapsed_seeds(methods: Sequence[Scores], scale: Scale) -> list[int]:
    """For each method of a panel, how many of its seeds are below the gap; 0 where they are of one kind."""
    return [_below(one, [other for other in methods if other is not one], scale) for one in methods]


def _below(method: Scores, others: Sequence[Scores], scale: Scale) -> int:
    means = sorted(map(float, method.seed_means))
    gaps = numpy.diff(means)
    if len(means) < FEWEST_SEEDS or method.clusters < 2 or gaps.max() < SMALLEST_GAP * scale.unit:
        return 0
    at = int(gaps.argmax()) + 1
    gap, error = float(gaps[at - 1]), math.sqrt(2 * method.seed_mean_squares[1] / method.clusters)
    if _at_a_bound(means[at - 1], means[at], scale) and gap >= 3 * error:
        return at
    ordinary = max(5 * error, 2 * _spread_within(means[:at], means[at:]), 4 * _usual_deviation(others))
    return at if gap >= ordinary else 0


def _at_a_bound(lower: float, upper: float, scale: Scale) -> bool:
    if scale.bounds is None:
        return False
    low, high = scale.bounds
    return lower - low <= (upper - low) / 10 or high - upper <= (high - lower) / 10


def _spread_within(lower: Sequence[float], upper: Sequence[float]) -> float:
    most = max(len(lower), len(upper))
    return max(part[-1] - part[0] for part in (lower, upper) if len(part) == most)


def _usual_deviation(others: Sequence[Scores]) -> float:
    """The median method's seed standard deviation; 0 where fewer than three vary."""
    squares = [
        one.seed_mean_squares[0] / one.clusters / (1 - 2 / (9 * (one.seeds - 1))) ** 3
        for one in others
        if one.seeds > 1 and one.varies
    ]
    return float(numpy.median(squares)) ** 0.5 if len(squares) >= 3 else 0.0
