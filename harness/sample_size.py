"""How many items or seeds a comparison would need to find a difference of a given size.

The minimum detectable effect of `harness.statistics`, turned round: the least number of clusters at the same
seeds, or of seeds at the same clusters, at which it falls to the target. A pilot's variance components are
uncertain, its seed component above all, so this is an order of magnitude. Source: notes/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.statistics import FEWEST_CLUSTERS, Estimate, minimum_detectable_effect

MOST_CLUSTERS = 1_000_000
MOST_SEEDS = 100


@dataclass(frozen=True)
class Needed:
    """What would find the target with 80 % power; None where no number up to the most would.

    clusters  of items, at the seeds that there are
    seeds     at the clusters that there are
    """

    clusters: int | None
    seeds: int | None


def needed(estimate: Estimate, target: float, comparisons: int = 1) -> Needed | None:
    """The numbers for a pilot's estimate; None where it has no variance components.

    target  the true difference to be found (metric units, above 0); comparisons: the size of the Holm family
    With one seed the seed component is unknown: clusters are then those of these trained runs, seeds None.
    """
    if not target > 0:
        raise ValueError(f"a difference of {target} is none")
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
