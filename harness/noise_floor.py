"""The noise floor: how far two runs of the same thing lie apart, and so what no comparison here resolves.

Runs that differ in nothing but the seed have a standard deviation s, pooled over K methods of S seeds each with
K(S - 1) degrees of freedom. Two means over r runs each then differ by less than

    t(0.975, K(S - 1)) * s * sqrt(2 / r)

in 95 of 100 cases; the interval of s, and with it that of the floor, is chi-squared's. The items are the same in
all runs, so this is the chance of training and sampling alone: sampling error of the items comes on top of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from harness.statistics import CONFIDENCE, Scores


@dataclass(frozen=True)
class Floor:
    """What runs of the same thing differ by, in the metric's units.

    deviation  the pooled standard deviation between runs, with its 95 % interval, which takes the methods for alike
    calmest, wildest  the smallest and the largest standard deviation of one method
    widest     the largest difference between two runs of one method that was seen
    single     the floor of one run against one run; means: of as many runs as there are seeds
    """

    methods: int
    seeds: int
    deviation: float
    low: float
    high: float
    calmest: float
    wildest: float
    widest: float
    single: float
    means: float


def noise_floor(methods: Sequence[Scores]) -> Floor | None:
    """The floor of methods that ran at the same number of seeds; None with fewer than two runs of any."""
    several = [scores for scores in methods if scores.seeds > 1]
    if not several:
        return None
    runs = [scores.totals.sum(axis=1) / scores.weights.sum() for scores in several]
    degrees = sum(len(values) - 1 for values in runs)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in runs)
    deviation, seeds = math.sqrt(squares / degrees), min(len(values) for values in runs)
    low, high = (math.sqrt(squares / _chi_squared(tail, degrees)) for tail in _TAILS)
    single = _quantile(degrees) * deviation * math.sqrt(2)
    return Floor(
        methods=len(several),
        seeds=seeds,
        deviation=deviation,
        low=low,
        high=high,
        calmest=min(float(values.std(ddof=1)) for values in runs),
        wildest=max(float(values.std(ddof=1)) for values in runs),
        widest=max(float(numpy.ptp(values)) for values in runs),
        single=single,
        means=single / math.sqrt(seeds),
    )


_TAILS = (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)


# scipy.special, not scipy.stats: importing the latter costs the command line half a second
def _chi_squared(tail: float, degrees: int) -> float:
    """The value that chi-squared exceeds with probability `tail`."""
    from scipy.special import chdtri

    return float(chdtri(degrees, tail))


def _quantile(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.5 + CONFIDENCE / 2))
