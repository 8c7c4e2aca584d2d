"""The chance that a comparison is decided: power before the run, for the rule that the report applies afterwards.

A family of tests compares K methods with one baseline on one or more metrics. Its statistics are drawn, not its items.
With C clusters, S seeds, G effective clusters and the components of `Variation`:

    x_ks   run means: normal, variance seeds_k + interaction_k / C; a seed group shares a part of both
    M_k    C times the variance of x_ks over the seeds, and of x_js - x_bs within a seed group
    E_k    interaction_k times chi-squared over its degrees of freedom, (G - 1)(S - 1)
    MS_I   (interaction_j + interaction_b + S items_j) times chi-squared over its degrees of freedom, G - 1
    d_j    the true difference + a normal item part of variance items_j / C + mean over s of x_js - x_bs

Each draw goes through both halves of `harness.stats.contrasts` and the family's step-down rule; every method but the
one asked about is truly equal to the baseline. Specification, agreement with simulated items, and where this fails:
docs/statistics.md, section 20.

Assumptions: the components of the planned run are those given, whatever the true difference; cluster means are normal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import numpy
from numpy.typing import NDArray

from harness.stats.cluster_totals import Array
from harness.stats.contrasts import discordance_floor
from harness.stats.families import LEVEL
from harness.stats.intervals import CONFIDENCE, FEWEST_CLUSTERS, FLAGGED_CLUSTERS

POWER_DRAWS = 4000  # a standard error of 0.8 points at 50 %


@dataclass(frozen=True)
class Size:
    """How large a planned run is on one metric; `effective` of its clusters, `items` the sum of their weights."""

    items: float
    clusters: int
    effective: float
    seeds: int

    def scaled(self, factor: float, seeds: int) -> Size:
        """With `factor` times the clusters, of the same sizes."""
        return Size(self.items * factor, max(2, round(self.clusters * factor)), self.effective * factor, seeds)


@dataclass(frozen=True)
class Variation:
    """The sources of variation of one metric: variance components per cluster, in squared metric units.

    items        (K,) of each method's difference to the baseline
    seeds        (K + 1,) of each method, the baseline last
    interaction  (K + 1,) of seeds and clusters; 0: no seed changes the method
    together     correlation of the items' parts of two differences, which have the baseline in common
    kin          (K + 1,) the seed group of each method, "" without one
    alike        the shares of seed variance and of interaction that a seed group has in common
    binary       scores of 0 and 1: MS_I has its floor
    """

    items: tuple[float, ...]
    seeds: tuple[float, ...]
    interaction: tuple[float, ...]
    together: float = 0.5
    kin: tuple[str, ...] = ()
    alike: tuple[float, float] = (0.0, 0.0)
    binary: bool = True

    @property
    def methods(self) -> int:
        return len(self.items)

    def only(self, at: Sequence[int]) -> Variation:
        """Of the differences at these places."""
        whole = [*at, self.methods]
        return replace(
            self,
            items=tuple(self.items[one] for one in at),
            seeds=tuple(self.seeds[one] for one in whole),
            interaction=tuple(self.interaction[one] for one in whole),
            kin=tuple(self.kin[one] for one in whole) if self.kin else (),
        )


@dataclass(frozen=True)
class Draws:
    """Drawn tests of one metric: errors of the estimate (D, K), and (halves, D, K) standard errors and degrees.

    correlation  of two tests through their items, as the step-down rule sees it, on average
    """

    noise: Array
    errors: Array
    degrees: Array
    correlation: float


@dataclass(frozen=True)
class Family:
    """Tests of one family in which no method differs from the baseline.

    thresholds  (D, 1) the p below which one more test is rejected, after those that were rejected by chance
    kept        metric -> of each method, the share of draws in which a loss of the margin is rejected
    """

    metrics: tuple[Draws, ...]
    thresholds: Array
    kept: Mapping[int, tuple[float, ...]]


def drawn(variation: Variation, size: Size, key: int = 0, draws: int = POWER_DRAWS) -> Draws | None:
    """Draw the statistics of every test; None where the design has too few clusters. Equal keys give equal draws."""
    if size.effective < FEWEST_CLUSTERS:
        return None
    chance = numpy.random.default_rng([20, key])
    clusters, seeds, nu = size.clusters, size.seeds, size.effective - 1
    runs = _run_means(variation, size, draws, chance)
    rest = numpy.array(variation.interaction) * _scaled(chance, nu * max(seeds - 1, 1), (draws, variation.methods + 1))
    parts, halves = _seed_parts(variation, clusters, runs, rest), []
    both = numpy.array(variation.interaction[:-1]) + variation.interaction[-1]
    both = numpy.where(_with_baseline(variation), both * (1 - variation.alike[1]), both)
    items = (both + seeds * numpy.array(variation.items)) * _scaled(chance, nu, (draws, variation.methods))
    if variation.binary:
        items = numpy.maximum(items, discordance_floor(clusters, seeds, size.items))
    for between, degrees, interaction in parts:
        halves.append(_half_of(items, between, degrees, interaction, size))
    errors, freedom = (numpy.stack([half[at] for half in halves]) for at in (0, 1))
    share = math.sqrt(min(max(variation.together, 0.0), 1.0))
    common, own = chance.standard_normal((draws, 1)), chance.standard_normal((draws, variation.methods))
    of_items = numpy.sqrt(numpy.array(variation.items) / clusters) * (share * common + math.sqrt(1 - share**2) * own)
    noise = of_items + runs[:, :-1].mean(axis=2) - runs[:, -1:].mean(axis=2)
    # tests with few effective clusters count as independent, as `families.max_t` takes them
    together = variation.together if size.effective >= FLAGGED_CLUSTERS else 0.0
    return Draws(noise, errors, freedom, together * _items_share(items, errors, freedom, size) ** 2)


def family_of(metrics: Sequence[Draws], margin: float = 0.0, knowledge: Sequence[int] = ()) -> Family:
    """The family of all tests on `metrics`; knowledge: those whose losses are tested against the margin."""
    levels = step_levels(tuple((one.noise.shape[1], round(one.correlation, 2)) for one in metrics))
    rejected = _sequence(numpy.concatenate([_two_sided_p(one, 0.0) for one in metrics], axis=1), levels)
    thresholds = levels[numpy.minimum(rejected, levels.size - 1)][:, None]
    kept: dict[int, tuple[float, ...]] = {}
    if margin > 0 and knowledge:
        losses = numpy.concatenate([_loss_p(metrics[at], margin) for at in knowledge], axis=1)
        done = _sequence(losses, LEVEL / 2 / numpy.arange(losses.shape[1], 0, -1))
        shares = (losses.argsort(axis=1).argsort(axis=1) < done[:, None]).mean(axis=0)
        ends = numpy.cumsum([metrics[at].noise.shape[1] for at in knowledge])
        kept = {at: tuple(own.tolist()) for at, own in zip(knowledge, numpy.split(shares, ends[:-1]), strict=True)}
    return Family(tuple(metrics), thresholds, kept)


def chances_of_better(family: Family, at: int, effect: float) -> tuple[float, ...]:
    """Of each method on metric `at`: the share of draws in which it is "better" if it alone truly is, by `effect`."""
    asked = family.metrics[at]
    decided = (_two_sided_p(asked, effect) < family.thresholds) & (asked.noise + effect > 0)
    return tuple(decided.mean(axis=0).tolist())


@lru_cache(maxsize=256)
def step_levels(panels: tuple[tuple[int, float], ...]) -> Array:
    """(tests,) the p below which the step-down max-t rejects its first, second ... test.

    panels  (tests, correlation of any two of them) of each metric; later steps are interpolated by Sidak's rule
    """
    from scipy.special import ndtr

    tests = sum(count for count, _ in panels)

    def below(z: float) -> float:
        """P(max |Z| < z): given what the tests of a metric have in common, they are independent."""
        return math.prod(_all_below(z, count, correlation) for count, correlation in panels)

    low, high = 0.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if below(middle) > 1 - LEVEL else (middle, high)
    first = max(2 * float(ndtr(-high)), LEVEL / tests)
    equal_to = min(max(math.log1p(-LEVEL) / math.log1p(-min(first, LEVEL)), 1.0), float(tests))
    left = 1 + (equal_to - 1) * numpy.arange(tests - 1, -1, -1) / max(tests - 1, 1)
    levels: Array = 1 - (1 - LEVEL) ** (1 / left)
    return levels


@lru_cache(maxsize=1)
def _nodes() -> tuple[Array, Array]:
    found: tuple[Array, Array] = numpy.polynomial.hermite_e.hermegauss(60)
    return found


def _all_below(z: float, count: int, correlation: float) -> float:
    """P(|Z_1|, ..., |Z_count| < z) of normal variables that all correlate alike, by Gauss-Hermite quadrature."""
    from scipy.special import ndtr

    share = min(max(correlation, 0.0), 0.99)
    nodes, weights = _nodes()
    common, own = math.sqrt(share) * nodes, math.sqrt(1 - share)
    inside = ndtr((z - common) / own) - ndtr((-z - common) / own)
    return float((weights * inside**count).sum() / weights.sum())


def _run_means(variation: Variation, size: Size, draws: int, chance: numpy.random.Generator) -> Array:
    """(D, K + 1, S) what each seed adds to the mean of each method."""
    shape = (draws, variation.methods + 1, size.seeds)
    seeds, rest = numpy.array(variation.seeds), numpy.array(variation.interaction) / size.clusters
    parts = []
    for variance, alike in zip((seeds, rest), variation.alike, strict=True):
        own = chance.standard_normal(shape)
        for name in dict.fromkeys(one for one in variation.kin if one):
            members = [at for at, kin in enumerate(variation.kin) if kin == name]
            common = chance.standard_normal((draws, 1, size.seeds))
            own[:, members] = math.sqrt(alike) * common + math.sqrt(1 - alike) * own[:, members]
        parts.append(numpy.sqrt(variance)[:, None] * own)
    found: Array = parts[0] + parts[1]
    return found


def _with_baseline(variation: Variation) -> NDArray[numpy.bool_]:
    """(K,) whether the method shares the baseline's seed group."""
    kin = variation.kin or ("",) * (variation.methods + 1)
    return numpy.array([bool(kin[-1]) and one == kin[-1] for one in kin[:-1]], dtype=bool)


def _seed_parts(variation: Variation, clusters: int, runs: Array, rest: Array) -> list[tuple[Array, Array, Array]]:
    """(W, its degrees of freedom, E), each (D, K), of the own half and, where there is one, the pooled half."""
    seeds = runs.shape[2]
    own = rest[:, :-1] + rest[:, -1:]
    if seeds == 1:
        return [(numpy.zeros_like(own), numpy.ones_like(own), numpy.zeros_like(own))]
    m = clusters * runs.var(axis=2, ddof=1)
    varies = numpy.array(variation.interaction) > 0
    between, squares = m[:, :-1] + m[:, -1:], m[:, :-1] ** 2 + m[:, -1:] ** 2
    degrees = (seeds - 1) * between**2 / numpy.where(squares > 0, squares, 1.0)
    kin = _with_baseline(variation)
    own[:, kin] *= 1 - variation.alike[1]
    differences = clusters * (runs[:, :-1] - runs[:, -1:]).var(axis=2, ddof=1)
    between, degrees = numpy.where(kin, differences, between), numpy.where(kin, seeds - 1.0, degrees)
    halves = [(between, numpy.maximum(degrees, 1.0), own)]
    if varies.sum() > 1:
        ratio = (m[:, varies] / rest[:, varies]).mean(axis=1, keepdims=True)
        pooled, freedom = ratio * own, numpy.full_like(own, varies.sum() * (seeds - 1.0))
        members = [*numpy.flatnonzero(kin), variation.methods]
        if len(members) > 2:
            of_kin = _kin_ratio(runs[:, members], rest[:, members] * (1 - variation.alike[1]), clusters)
            pooled = numpy.where(kin, of_kin[:, None] * own, pooled)
            freedom = numpy.where(kin, (len(members) - 1) * (seeds - 1.0), freedom)
        else:
            pooled, freedom = numpy.where(kin, between, pooled), numpy.where(kin, seeds - 1.0, freedom)
        halves.append((pooled, freedom, own))
    return halves


def _kin_ratio(runs: Array, rest: Array, clusters: int) -> Array:
    """(D,) the mean of M / E over the differences of all pairs of a seed group."""
    ratios = [
        clusters * (runs[:, a] - runs[:, b]).var(axis=1, ddof=1) / (rest[:, a] + rest[:, b])
        for a, b in combinations(range(runs.shape[1]), 2)
    ]
    mean: Array = numpy.mean(ratios, axis=0)
    return mean


def _half_of(items: Array, between: Array, degrees: Array, rest: Array, size: Size) -> tuple[Array, Array]:
    """(standard error, degrees of freedom), each (D, K): the formula of `harness.stats.contrasts` for many draws."""
    nu = size.effective - 1
    count = size.clusters * size.seeds
    variance = (items + numpy.maximum(between - rest, 0.0)) / count
    uncertainty = items**2 / nu + between**2 / degrees + rest**2 / (nu * max(size.seeds - 1, 1))
    freedom = numpy.where(between > rest, numpy.maximum((count * variance) ** 2 / uncertainty, 1.0), nu)
    return numpy.sqrt(variance), freedom


def _items_share(items: Array, errors: Array, degrees: Array, size: Size) -> float:
    """The share of the items in the standard error of the half with the wider interval, on average."""
    from scipy.special import stdtrit

    few = slice(0, 500)  # of this mean a few draws say enough
    errors, widths = errors[:, few], stdtrit(degrees[:, few], 0.5 + CONFIDENCE / 2) * errors[:, few]
    widest = numpy.take_along_axis(errors, widths.argmax(axis=0)[None], 0)[0]
    return float((numpy.sqrt(items[few] / (size.clusters * size.seeds)) / widest).mean())


def _scaled(chance: numpy.random.Generator, degrees: float, shape: tuple[int, int]) -> Array:
    """Chi-squared over its degrees of freedom."""
    found: Array = chance.chisquare(degrees, shape) / degrees
    return found


def _two_sided_p(one: Draws, effect: float) -> Array:
    from scipy.special import stdtr

    p: Array = (2 * stdtr(one.degrees, -numpy.abs(one.noise + effect) / one.errors)).max(axis=0)
    return p


def _loss_p(one: Draws, margin: float) -> Array:
    """One-sided p of a loss of the margin or more, where the true loss is 0."""
    from scipy.special import stdtr

    p: Array = stdtr(one.degrees, -(one.noise + margin) / one.errors).max(axis=0)
    return p


def _sequence(p: Array, levels: Array) -> NDArray[numpy.int64]:
    """(D,) how many tests a step-down rule rejects: the smallest p's that stay below their steps' levels."""
    passed = numpy.sort(p, axis=1) < levels
    found: NDArray[numpy.int64] = numpy.logical_and.accumulate(passed, axis=1).sum(axis=1)
    return found
