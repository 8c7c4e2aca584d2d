"""The noise floor: how much two runs of the same method differ, and so the smallest difference worth reading.

Runs that differ in nothing but the seed have a standard deviation s, pooled over K methods of S seeds each with
K(S - 1) degrees of freedom. Two means over r runs each then differ by less than

    t(0.975, K(S - 1)) * s * sqrt(2 / r)

in 95 of 100 cases; the interval of s is s sqrt(nu / chi2(tail, nu)) with nu = K(S - 1). The items are the same in all
runs, so this is the randomness of training and sampling alone; sampling error of the items comes on top of it.

Assumptions: run means are normal with the same variance for all methods. The smallest and largest deviation of one
method are reported because the latter often fails. Specification: docs/statistics.md, sections 12 and 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy

from harness.stats.cluster_totals import Scores
from harness.stats.intervals import CONFIDENCE, FEWEST_CLUSTERS, Components, Estimate, quantile

MEASURABLE_POWER = 0.80


@dataclass(frozen=True)
class NoiseFloor:
    """Differences between runs of the same method, in the metric's units.

    deviation  the pooled standard deviation between runs, with its 95 % interval, for methods of equal variance
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


def noise_floor(methods: Sequence[Scores]) -> NoiseFloor | None:
    """The floor of methods that ran at the same number of seeds; None with fewer than two runs of any."""
    several = [scores for scores in methods if scores.seeds > 1]
    if not several:
        return None
    runs = [scores.seed_means for scores in several]
    degrees = sum(len(values) - 1 for values in runs)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in runs)
    deviation, seeds = math.sqrt(squares / degrees), min(len(values) for values in runs)
    low, high = (math.sqrt(squares / _chi_squared(tail, degrees)) for tail in _TAILS)
    single = quantile(0.5 + CONFIDENCE / 2, degrees) * deviation * math.sqrt(2)
    return NoiseFloor(
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


def minimum_detectable_effect(
    components: Components, clusters: int, seeds: int, stochastic: int, comparisons: int = 1
) -> float:
    """The true difference that a test at these numbers finds with 80 % power, in the metric's units.

        f (t(1 - 0.025 / comparisons, nu) + t(0.80, nu)) sqrt(V),   f = 1.15 below five seeds, otherwise 1

    with V and nu as above for mean squares expected from the components, and W - E at least 0.3 E.

    stochastic   how many methods of the pair vary with the seed; 0 also for one seed, items only
    comparisons  the size of the Holm family (its first step is used; not validated by simulation)
    Known limits: simulated power was 76-88 % where methods have similar seed variances and 41-80 % where these
    differ fivefold; the components of a real pilot are themselves uncertain. Source: docs/statistics.md, section 11.
    """
    items = components.interaction + seeds * components.items
    between = components.interaction + clusters * components.seeds
    variance = (items + max(between - components.interaction, 0.3 * components.interaction)) / (clusters * seeds)
    spread = items**2 / (clusters - 1)
    if stochastic and seeds > 1:
        spread += between**2 / (stochastic * (seeds - 1))
    degrees = max((clusters * seeds * variance) ** 2 / spread, 1.0) if spread > 0 else float(clusters - 1)
    quantiles = quantile(1 - (1 - CONFIDENCE) / 2 / comparisons, degrees) + quantile(MEASURABLE_POWER, degrees)
    few_seeds = 1.15 if stochastic and seeds < 5 else 1.0
    return few_seeds * quantiles * math.sqrt(variance)


MOST_CLUSTERS = 1_000_000
MOST_SEEDS = 100


@dataclass(frozen=True)
class Needed:
    """The numbers that find the target with 80 % power; None where no number up to the largest tried does.

    clusters  of items, at the seeds that there are
    seeds     at the clusters that there are
    """

    clusters: int | None
    seeds: int | None


def needed(estimate: Estimate, target: float, comparisons: int = 1) -> Needed | None:
    """The numbers for a pilot's estimate; None where it has no variance components.

    target  the true difference to be found (metric units, above 0); comparisons: the size of the Holm family
    With one seed the seed component is unknown: clusters then apply to these trained runs only, and seeds is None.
    """
    if not target > 0:
        raise ValueError(f"the difference to be found must be above 0, got {target}")
    components = estimate.components
    if components is None:
        return None

    def clusters_do(clusters: int) -> bool:
        found = minimum_detectable_effect(components, clusters, estimate.seeds, estimate.stochastic, comparisons)
        return found <= target

    def seeds_do(seeds: int) -> bool:
        found = minimum_detectable_effect(components, estimate.clusters, seeds, estimate.stochastic, comparisons)
        return found <= target

    several = estimate.stochastic > 0 and estimate.seeds > 1
    return Needed(
        _least(clusters_do, FEWEST_CLUSTERS, MOST_CLUSTERS),
        next((seeds for seeds in range(2, MOST_SEEDS + 1) if seeds_do(seeds)), None) if several else None,
    )


def _least(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """The least number from low to high that is enough, to within the steps of a grid: each a quarter more.

    A grid, because more clusters are not always better: at few seeds, the more seed variance weighs, the fewer the
    degrees of freedom, and after Holm the detectable effect can rise again.
    """
    below, number = low - 1, low
    while not enough(number):
        if number == high:
            return None
        below, number = number, min(high, number + number // 4)
    while number - below > 1:
        middle = (below + number) // 2
        below, number = (below, middle) if enough(middle) else (middle, number)
    return number
