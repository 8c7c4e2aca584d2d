"""How much of the variance of a matrix each of its axes accounts for: a balanced analysis of variance.

Scores y have a level of each factor (base model, method, ...), a seed and items. For a set u of factors, the effect of
u at its levels is the mean over all else less every effect of a subset of u; with N cells and S seeds

    SS_u = N S * mean of the squared effects          SS_e = sum over seeds of (y - its cell's mean)^2
    share_u = (SS_u - df_u SS_e / df_e) / SS_total, at least 0;   what is left is the share of the seeds

The correction by the residual makes the shares epsilon squared (Kelley, PNAS 21, 1935), which is 0 on average for a
factor without effect, where a plain ratio of sums is not. Intervals are t-intervals whose variance has two parts, each
from 250 draws with replacement, the same in every cell: clusters of items, and seeds (times S / (S - 1), as there are
few). Specification: docs/statistics.md, section 24.

The levels are fixed: a share is about these bases, methods and sets of data, and grows with how far apart they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy
from numpy.typing import NDArray

from harness.stats.intervals import CONFIDENCE

Array = NDArray[numpy.float64]
Effect = tuple[str, ...]
SEEDS: Effect = ("seeds",)


@dataclass(frozen=True)
class VarianceShare:
    """A share of variance, from 0 to 1, with its interval; `effect` names one factor, or several that interact."""

    effect: Effect
    value: float
    low: float
    high: float


def variance_shares(
    totals: Array, weights: Array, factors: Sequence[str], draws: int = 250, seed: int = 0
) -> tuple[VarianceShare, ...]:
    """Shares of every factor and interaction, and of the seeds where there are two or more.

    totals   (levels of the first factor, ..., seeds, clusters): sum of value * weight over the items of a cluster
    weights  (clusters,) the sum of weights of the cluster's items

    With one seed the interaction of all factors holds the chance of the seed. Empty where all scores are the same.
    """
    effects = [u for size in range(1, len(factors) + 1) for u in combinations(range(len(factors)), size)]
    means = totals.sum(axis=-1) / weights.sum()
    if not means.var() > 0:
        return ()
    found, seeds, clusters = _shares(means, effects), int(means.shape[-1]), int(weights.size)
    chance = numpy.random.default_rng(seed)
    of_items = numpy.var([_shares(_other_items(totals, weights, chance), effects) for _ in range(draws)], axis=0)
    of_seeds = numpy.zeros_like(of_items)
    if seeds > 1:
        drawn = [_shares(means[..., chance.integers(seeds, size=seeds)], effects) for _ in range(draws)]
        of_seeds = numpy.var(drawn, axis=0) * seeds / (seeds - 1)
    widths = _half_widths(of_items, of_seeds, clusters, seeds)
    low, high = numpy.clip([found - widths, found + widths], 0, 1)
    names = [*(tuple(factors[at] for at in u) for u in effects), *([SEEDS] if seeds > 1 else [])]
    return tuple(
        VarianceShare(name, float(found[at]), float(low[at]), float(high[at])) for at, name in enumerate(names)
    )


def _other_items(totals: Array, weights: Array, chance: numpy.random.Generator) -> Array:
    """The means of all cells over drawn clusters, the same in every cell."""
    times = chance.multinomial(weights.size, numpy.full(weights.size, 1 / weights.size)).astype(float)
    return numpy.asarray(totals @ times / (weights @ times))


def _half_widths(of_items: Array, of_seeds: Array, clusters: int, seeds: int) -> Array:
    """t times the standard error, with Satterthwaite's degrees of freedom; 0 where nothing varies."""
    from scipy.special import stdtrit  # slow to import

    whole = of_items + of_seeds
    parts = of_items**2 / max(clusters - 1, 1) + of_seeds**2 / max(seeds - 1, 1)
    degrees = numpy.where(parts > 0, whole**2 / numpy.where(parts > 0, parts, 1.0), 1.0)
    return numpy.asarray(stdtrit(numpy.maximum(degrees, 1.0), 0.5 + CONFIDENCE / 2) * numpy.sqrt(whole))


def _shares(means: Array, effects: Sequence[tuple[int, ...]]) -> Array:
    """The shares of the effects, then that of the seeds (0 with one seed); means are (levels, ..., seeds)."""
    levels, seeds = means.shape[:-1], means.shape[-1]
    total = float(((means - means.mean()) ** 2).sum())
    if not total > 0:
        return numpy.zeros(len(effects) + 1)
    cells = means.mean(axis=-1)
    rest = float(((means - cells[..., None]) ** 2).sum())
    noise = rest / (cells.size * (seeds - 1)) if seeds > 1 else 0.0
    sizes = [float(means.size * (_effect(cells, u) ** 2).mean()) for u in effects]
    freedom = [int(numpy.prod([levels[at] - 1 for at in u])) for u in effects]
    shares = [max(size - count * noise, 0.0) / total for size, count in zip(sizes, freedom, strict=True)]
    return numpy.array([*shares, max(1 - sum(shares), 0.0) if seeds > 1 else 0.0])


def _effect(cells: Array, factors: tuple[int, ...]) -> Array:
    """The effect of a set of factors: means over the others, each of its factors centred."""
    others = tuple(at for at in range(cells.ndim) if at not in factors)
    effect = cells.mean(axis=others, keepdims=True)
    for at in factors:
        effect = effect - effect.mean(axis=at, keepdims=True)
    return numpy.asarray(effect)
