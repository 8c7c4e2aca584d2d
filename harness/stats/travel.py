"""Does a ranking of methods on one base model hold on another one? Agreement of signs, Kendall's tau and regret.

With d_k the difference of method k from the baseline, and s_k its score, on the first base (from which one forecasts)
and on the second (of which one asks):

    agreement   the share of methods whose d_k has the same sign on both
    tau         Kendall's tau-b of the scores (Kendall 1945), ties counted
    regret      the best score on the second base less the score there of the method that is best on the first

Intervals come from 500 draws of clusters of items and of seeds, with replacement and the same for both bases and all
methods. Specification: docs/statistics.md, section 25.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from harness.stats.intervals import CONFIDENCE

Array = NDArray[numpy.float64]
FEWEST_METHODS = 4  # besides the baseline: of three, one order in six agrees wholly by chance


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Travel:
    """From the first base to the second. chosen, best: the places of the methods that are best on each."""

    agreement: Interval
    tau: Interval
    regret: Interval
    methods: int
    chosen: int
    best: int

    @property
    def cannot_forecast(self) -> str:
        """Why the first base does not forecast the second; "" where it does."""
        if self.methods < FEWEST_METHODS:
            return f"{self.methods} methods besides the baseline: it takes {FEWEST_METHODS}"
        return "" if self.tau.low > 0 else "the order on the second base may be unrelated (tau may be 0)"


def travels(first: Array, second: Array, weights: Array, baseline: int, draws: int = 500, seed: int = 0) -> Travel:
    """How far the first base forecasts the second.

    first, second   (methods, seeds, clusters): totals of value * weight, higher is better, at the same items and seeds
    weights         (clusters,) the sum of weights of each
    baseline        the place of the baseline among the methods; it counts in tau and may be chosen
    """
    whole = [one.mean(axis=1).sum(axis=-1) / weights.sum() for one in (first, second)]
    chance = numpy.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        times = chance.multinomial(weights.size, numpy.full(weights.size, 1 / weights.size)).astype(float)
        seeds = chance.integers(first.shape[1], size=first.shape[1])
        means = [one[:, seeds].mean(axis=1) @ times / (weights @ times) for one in (first, second)]
        drawn.append(_figures(means[0], means[1], baseline))
    figures = _figures(whole[0], whole[1], baseline)
    ends = numpy.quantile(numpy.array(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    agreement, tau, regret = (Interval(figures[at], float(ends[0, at]), float(ends[1, at])) for at in range(3))
    return Travel(agreement, tau, regret, len(first) - 1, int(whole[0].argmax()), int(whole[1].argmax()))


def _figures(first: Array, second: Array, baseline: int) -> tuple[float, float, float]:
    others = numpy.arange(first.size) != baseline
    signs = [numpy.sign(one - one[baseline])[others] for one in (first, second)]
    regret = float(second.max() - second[first.argmax()])
    return float((signs[0] == signs[1]).mean()), _tau(first, second), regret


def _tau(first: Array, second: Array) -> float:
    """Kendall's tau-b; 0 where all scores of one side are tied."""
    orders = [numpy.sign(one[:, None] - one[None, :]) for one in (first, second)]
    size = float(numpy.sqrt((orders[0] ** 2).sum() * (orders[1] ** 2).sum()))
    return float((orders[0] * orders[1]).sum()) / size if size > 0 else 0.0
