"""Paired statistics over items and seeds: one formula for means, differences and other contrasts.

Items that share a source form a cluster; a metric is sum(value * weight) / sum(weight). With C clusters of weights
m_c, S seeds, n the sum of weights, T_sc a cluster's total and u_sc = (C / n)(T_sc - m_c * mean), the variance of a
contrast over methods j with coefficients k_j crosses clusters and seeds:

    MS_I = S * sum_c (a_c mean_s(u_sc))^2 / (C - 1)        of the contrast's own totals
           with a_c = (1 - 1/C) / (1 - m_c/n), the jackknife over clusters (CR3); 1 where clusters are equal
    M_g  = C * sum_s mean_c(u_sc)^2 / (S - 1)              of sum k_j T_j over the methods of a seed group g
    E_g  = sum_sc (residual of u)^2 / ((C - 1)(S - 1))     of the same
    E = sum E_g,   W = sum M_g  (own)  or  W = sum r_g E_g  (pooled over the methods of the panel)
    V = (MS_I + max(W - E, 0)) / (C * S)

    nu = (C S V)^2 / (MS_I^2 / (G - 1) + W^2 / nu_W + E^2 / ((G - 1)(S - 1))), at least 1;  G - 1 where W <= E
    G = n^2 / sum m_c^2, the effective number of clusters
    interval: contrast +- t(0.975, nu) sqrt(V);   p = 2 P(t_nu > |contrast| / sqrt(V))

A seed group holds the methods whose policies are built on a common artifact at the same seed (`Scores.kin`): they
share that artifact's seed variance, which cancels in their difference. Every other method is a group of its own, and
then M_g = k_j^2 M_j. nu_W is (S - 1) W^2 / sum M_g^2 for the own half and follows the pools' degrees of freedom in the
pooled half. Both are computed; the wider interval and the larger p are reported, because each half alone lets the
family-wise error of Holm's procedure rise to 16-19 % where methods differ in seed variance.

Source: crossed random effects (items x seeds) with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2,
1946) and Welch (Biometrika 34, 1947); items clustered by source as in Miller (arXiv 2411.00640), with the jackknife
variance CR3 (MacKinnon and White, Journal of Econometrics 29, 1985; Bell and McCaffrey, Survey Methodology 28, 2002).
The degrees of freedom G - 1 and the larger p of the two halves are this project's own choices, from the simulations in
docs/statistics.md, sections 16 and 17.

Assumptions: clusters and seeds are random samples, independent of each other; seeds of different seed groups are
independent; all methods of a contrast share seeds, clusters and weights. Known limits: docs/statistics.md, section 18.
Nothing here knows about files or reports; families of tests are in `harness.stats.families`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy

from harness.stats.cluster_totals import Array, Scores, leverage, linearised
from harness.stats.intervals import FEWEST_CLUSTERS, ROUNDING, Estimate, Spread, with_interval


@dataclass(frozen=True)
class Scale:
    """The range of one item's score, which sets the floor of MS_I where the items show too little variance.

    binary  the scores are 0 or 1: MS_I is never below 3 S (C unit / n)^2 / (C - 1), three discordant items
    unit    the range of the scores; the floor applies to other scores only where they show no variance at all
    bounds  the lowest and the highest score that the metric allows; no interval goes beyond what they allow
    """

    binary: bool = True
    unit: float = 1.0
    bounds: tuple[float, float] | None = None


BINARY = Scale()


@dataclass(frozen=True)
class SeedPool:
    """Seed variance pooled over methods: the mean of M_k / E_k and its degrees of freedom, sum of (S_k - 1).

    kin  seed group -> the same of the differences between its methods, in which the shared seed variance cancels
    """

    ratio: float
    degrees: float
    kin: Mapping[str, SeedPool] = field(default_factory=dict)


def mean(scores: Scores, pool: SeedPool | None = None, scale: Scale = BINARY) -> Estimate:
    """One method's score with its interval, in the metric's units; its `p` (against 0) has no use."""
    return contrast((scores,), (1.0,), pool, scale)


def difference(first: Scores, second: Scores, pool: SeedPool | None = None, scale: Scale = BINARY) -> Estimate:
    """first - second, paired over clusters and seeds, in the metric's units."""
    return contrast((first, second), (1.0, -1.0), pool, scale)


def contrast(
    parts: Sequence[Scores], coefficients: Sequence[float], pool: SeedPool | None = None, scale: Scale = BINARY
) -> Estimate:
    """sum of coefficient * mean over methods that share seeds, clusters and weights.

    Raises ValueError where they do not share them. The interval is blank with fewer than five effective clusters, where
    no score differs from any other, where a method collapses at some seeds, and with two seeds and no pool. A method
    whose scores are the same at every seed has no seed variance.
    """
    _check_shared(parts, coefficients)
    clusters, seeds, effective = parts[0].clusters, parts[0].seeds, parts[0].effective_clusters
    value = sum(k * part.mean for k, part in zip(coefficients, parts, strict=True))
    blank = Estimate(value, clusters=clusters, seeds=seeds, effective=effective)
    if collapse := next((part.collapse for part in parts if part.collapse), ""):
        return replace(blank, reason=collapse)
    if clusters < 2:
        return replace(blank, reason="one cluster: its variance is unknown")
    if effective < FEWEST_CLUSTERS - ROUNDING:
        return replace(blank, reason=f"{effective:.2g} effective clusters: fewer than {FEWEST_CLUSTERS}")
    of_items = _item_deviations(parts, coefficients)
    items = _item_mean_square(of_items, parts[0], scale)
    if not items > 0:
        return replace(blank, reason="no score differs from any other")
    groups = _seed_groups(parts, coefficients)
    stochastic = sum(1 for group in groups if group.varies)
    spreads = _spreads(groups, items, _Design(clusters, seeds, effective), pool)
    if stochastic and seeds > 1 and all(spread.seed_degrees <= 1 for spread in spreads):
        return replace(blank, reason="two seeds and no method to pool them with: one degree of freedom")
    found = replace(
        blank,
        items_only=seeds == 1,
        stochastic=stochastic,
        spreads=spreads,
        limits=_limits(coefficients, scale),
        discordant=_discordant(parts, coefficients, scale) if not stochastic else None,
        of_items=of_items,
    )
    return with_interval(found)


def seed_pool(methods: Sequence[Scores]) -> SeedPool | None:
    """Pool the seed variance of methods on one metric: the mean of M_k / E_k, and sum of (S_k - 1) degrees.

    None with fewer than two methods whose interaction E_k is above 0. It assumes that the methods have the same ratio
    of seed variance to interaction; the own half does not. The pool of a seed group takes the differences of all pairs
    of its methods in the place of methods, with (K - 1)(S - 1) degrees of freedom, and needs K >= 3 methods.
    """
    varying = [one for one in methods if one.clusters > 1 and not one.collapse and one.seed_mean_squares[1] > 0]
    if len(varying) < 2:
        return None
    groups: dict[str, list[Scores]] = {}
    for one in varying:
        groups.setdefault(one.kin, []).append(one)
    kin = {name: _kin_pool(own) for name, own in groups.items() if name and len(own) > 2}
    return SeedPool(
        float(numpy.mean([one.seed_mean_squares[0] / one.seed_mean_squares[1] for one in varying])),
        sum(one.seeds - 1 for one in varying),
        {name: pool for name, pool in kin.items() if pool is not None},
    )


def _kin_pool(methods: Sequence[Scores]) -> SeedPool | None:
    """The pool of differences within a seed group, over the methods of the commonest shape of totals."""
    shapes = [(one.totals.shape, one.weights.tobytes()) for one in methods]
    common = max(shapes, key=shapes.count)
    alike = [one for one, shape in zip(methods, shapes, strict=True) if shape == common]
    if len(alike) < 3:
        return None
    pairs = [replace(a, totals=a.totals - b.totals).seed_mean_squares for a, b in combinations(alike, 2)]
    ratios = [between / rest for between, rest in pairs if rest > 0]
    degrees = (len(alike) - 1) * (alike[0].seeds - 1)
    return SeedPool(float(numpy.mean(ratios)), degrees) if ratios else None


def _check_shared(parts: Sequence[Scores], coefficients: Sequence[float]) -> None:
    if not parts or len(parts) != len(coefficients):
        raise ValueError(f"{len(parts)} methods and {len(coefficients)} coefficients")
    for part in parts[1:]:
        alike = part.weights is parts[0].weights or numpy.array_equal(part.weights, parts[0].weights)
        if part.totals.shape != parts[0].totals.shape or not alike:
            raise ValueError("the methods of a contrast must share seeds, clusters and weights")


def discordance_floor(clusters: int, seeds: int, weight: float, unit: float = 1.0) -> float:
    """The smallest MS_I: the value of three discordant items; weight is that of all clusters together."""
    return 3 * seeds * (clusters * unit / weight) ** 2 / (clusters - 1)


def _item_deviations(parts: Sequence[Scores], coefficients: Sequence[float]) -> Array:
    """(C,) a_c mean_s(u_sc): how much the contrast's mean moves with each cluster, by the jackknife."""
    weights = parts[0].weights
    found: Array = leverage(weights) * linearised(_combined(parts, coefficients), weights).mean(axis=0)
    return found


def _item_mean_square(of_items: Array, design: Scores, scale: Scale) -> float:
    """MS_I with its floor."""
    clusters, seeds = design.clusters, design.seeds
    observed = float(seeds * (of_items**2).sum() / (clusters - 1))
    floor = discordance_floor(clusters, seeds, float(design.weights.sum()), scale.unit)
    nothing = observed <= 1e-12 * floor
    return max(observed, floor) if scale.binary or nothing else observed


def _combined(parts: Sequence[Scores], coefficients: Sequence[float]) -> Array:
    totals: Array = numpy.zeros_like(parts[0].totals)
    for coefficient, part in zip(coefficients, parts, strict=True):
        totals = totals + coefficient * part.totals
    return totals


@dataclass(frozen=True)
class _Design:
    clusters: int
    seeds: int
    effective: float


@dataclass(frozen=True)
class _SeedGroup:
    """Methods of a contrast that share seed variance: M_g and E_g of their weighted totals.

    kin  the group whose pool applies: "" for a method of its own, and where the coefficients do not add up to 0
    """

    kin: str
    between: float
    interaction: float
    varies: bool


def _seed_groups(parts: Sequence[Scores], coefficients: Sequence[float]) -> list[_SeedGroup]:
    found, shared = [], dict[str, list[int]]()
    for at, part in enumerate(parts):
        shared.setdefault(part.kin or f"\0{at}", []).append(at)
    for name, members in shared.items():
        own = [coefficients[at] for at in members]
        if len(members) == 1:
            part, square = parts[members[0]], own[0] ** 2
            between, rest = part.seed_mean_squares
            found.append(_SeedGroup("", square * between, square * rest, part.varies))
            continue
        together = replace(parts[members[0]], totals=_combined([parts[at] for at in members], own))
        # of kin that cancels nothing is left but rounding: it varies where any of its methods does
        varies = together.varies and any(parts[at].varies for at in members)
        cancels = abs(sum(own)) < ROUNDING
        found.append(_SeedGroup(name if cancels else "", *together.seed_mean_squares, varies))
    return found


def _spreads(groups: Sequence[_SeedGroup], items: float, design: _Design, pool: SeedPool | None) -> tuple[Spread, ...]:
    """The own half and, where a pool is given, the pooled half."""
    if design.seeds == 1:
        return (Spread(math.sqrt(items / design.clusters), design.effective - 1, items, 0.0, 0.0),)
    interaction = sum(group.interaction for group in groups)
    own = [(group.between, design.seeds - 1.0) for group in groups if group.varies]
    halves = [_spread(items, own, interaction, design)]
    if pool is not None:
        halves.append(_spread(items, _pooled(groups, pool, design.seeds), interaction, design))
    return tuple(halves)


def _pooled(groups: Sequence[_SeedGroup], pool: SeedPool, seeds: int) -> list[tuple[float, float]]:
    """(r_g E_g, degrees of freedom): methods of their own share a pool; a seed group without one keeps its M_g."""
    alone = [group.interaction for group in groups if group.varies and not group.kin]
    found = [(pool.ratio * sum(alone), float(pool.degrees))] if alone else []
    for group in groups:
        if group.varies and group.kin:
            kin = pool.kin.get(group.kin)
            found.append((kin.ratio * group.interaction, kin.degrees) if kin else (group.between, seeds - 1.0))
    return found


def _spread(items: float, seed_parts: Sequence[tuple[float, float]], interaction: float, design: _Design) -> Spread:
    """One half, from MS_I, the parts of W with their degrees of freedom, and E."""
    clusters, seeds = design.clusters, design.seeds
    between = sum(part for part, _ in seed_parts)
    variance = (items + max(between - interaction, 0.0)) / (clusters * seeds)
    degrees = design.effective - 1
    # not by rounding: the degrees of freedom jump where W reaches E, and a processor must not decide on which side
    if between > interaction * (1 + ROUNDING):
        uncertainty = items**2 / (design.effective - 1) + sum(part**2 / nu for part, nu in seed_parts)
        uncertainty += interaction**2 / ((design.effective - 1) * (seeds - 1))
        degrees = max((clusters * seeds * variance) ** 2 / uncertainty, 1.0)
    seed_degrees = sum(nu for _, nu in seed_parts)
    return Spread(math.sqrt(variance), degrees, items, between, interaction, seed_degrees)


def _limits(coefficients: Sequence[float], scale: Scale) -> tuple[float, float] | None:
    if scale.bounds is None:
        return None
    ends = [(k * scale.bounds[0], k * scale.bounds[1]) for k in coefficients]
    return sum(min(pair) for pair in ends), sum(max(pair) for pair in ends)


def _discordant(parts: Sequence[Scores], coefficients: Sequence[float], scale: Scale) -> tuple[int, int] | None:
    """Items that only the first and only the second method solved; None unless items are 0 or 1 and all independent."""
    if not scale.binary or tuple(coefficients) != (1.0, -1.0) or not (parts[0].weights == 1).all():
        return None
    change = parts[0].totals[0] - parts[1].totals[0]
    return int((change > 0).sum()), int((change < 0).sum())
