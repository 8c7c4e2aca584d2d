"""Statements over several tests: Holm's correction, rank intervals, non-inferiority, sums, the gap closed.

Built on `harness.stats.contrasts`. Sources and limits: docs/statistics.md, sections 6 to 10 and 18. Holm's procedure
controls the family-wise error for any dependence between the tests, if each p is valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy
from numpy.typing import NDArray

from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import BINARY, Scale, SeedPool, contrast, difference
from harness.stats.intervals import Estimate, Spread, with_interval

LEVEL = 0.05
WIDEST_GAP_INTERVAL = 1.0  # a wider interval is not informative, and its coverage is untested
_GAP_STEP = 0.02


@dataclass(frozen=True)
class Gap:
    """The share of the gap from baseline to reference that a method closes; 1 is the whole gap.

    All three are None where `reason` says why: a share without an interval is not shown.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def holm(p_values: Sequence[float | None], family: int | None = None) -> list[float | None]:
    """Holm-adjusted p-values, in the order given (Holm, Scandinavian Journal of Statistics 6, 1979).

    The k-th smallest of m becomes the maximum over i <= k of min(1, (m - i + 1) p_i).

    family  the number of tests declared beforehand, at least len(p_values) (its default). A test that could
            not be made (None) stays None and counts as p = 1, so that a lost test does not make the others easier.
    """
    size = len(p_values) if family is None else family
    if size < len(p_values):
        raise ValueError(f"a family of {size} cannot hold {len(p_values)} tests")
    adjusted: list[float | None] = [None] * len(p_values)
    reached = 0.0
    made = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    for step, (p, index) in enumerate(made):
        reached = max(reached, min(1.0, p * (size - step)))
        adjusted[index] = reached
    return adjusted


@dataclass(frozen=True)
class Joint:
    """Tests of one family.

    adjusted  one p per estimate, as `holm`; below LEVEL the sign of the estimate is established
    level     the level at which intervals of all estimates hold together with probability 1 - LEVEL
    """

    adjusted: tuple[float | None, ...]
    level: float


def max_t(
    estimates: Sequence[Estimate | None], panels: Sequence[object], family: int | None = None, spent: float = 1.0
) -> Joint:
    """Step-down max-t tests of estimates against 0, and the level of their simultaneous intervals.

    Each p is turned into z = -Phi^-1(p / 2), and under no difference z is |Z| of a normal Z with correlation matrix R.
    The k-th smallest p becomes max over i <= k of P(max |Z| over the i-th and later >= z_i) (Westfall and Young,
    Resampling-Based Multiple Testing, 1993, algorithm 2.8); `level` belongs to the 95 % quantile of max |Z| over all.
    Both come from 20,000 draws of a fixed seed (standard error at 5 %: 0.15 points) and are never more cautious than
    Holm's procedure and Bonferroni's level, which hold for any dependence, nor less cautious than a single test and its
    interval: no corrected p is below the p itself, and no level is above LEVEL * spent.

    panels  contrasts of one panel are on the same items; their correlation is that of the items' contributions, times
            the items' share in both standard errors. Contrasts of different panels, contrasts with few effective
            clusters, and the seeds' part are taken as independent, which is the cautious side (Sidak, JASA 62, 1967)
    family  the number of tests declared beforehand; a test that could not be made (None) counts as an independent one
            that is never rejected
    spent   the share of the error rate that this look at the data may spend: every p is divided by it (Bonferroni over
            the looks), and the intervals hold together with probability 1 - LEVEL * spent
    """
    rate = LEVEL * spent
    size = len(estimates) if family is None else family
    of_holm = holm([one.p if one is not None else None for one in estimates], size)
    made = [(at, one, one.p) for at, one in enumerate(estimates) if one is not None and one.p is not None]
    if not made:
        return Joint(_of_look(of_holm, spent), rate / max(size, 1))
    made.sort(key=lambda test: (test[2], test[0]))
    drawn = _null_maxima([one for _, one, _ in made], [panels[at] for at, _, _ in made], size - len(made))
    adjusted, reached = list(of_holm), 0.0
    for step, (at, _, p) in enumerate(made):
        share = (int((drawn[:, step] >= _normal_score(p)).sum()) + 1) / (DRAWS + 1)
        # the draws estimate each share: alone they would put some corrected p below the p itself
        reached = max(reached, p, min(share, float(of_holm[at] or 0.0)))
        adjusted[at] = reached
    # the rank at which an interval leaves 0 out only where its test is below the look's level
    rank = DRAWS + 2 - math.ceil(rate * (DRAWS + 1))
    if rank >= DRAWS:  # a level so small that the draws do not reach it
        return Joint(_of_look(adjusted, spent), rate / size)
    level = max(_two_sided(float(numpy.partition(drawn[:, 0], rank)[rank])), rate / size)
    return Joint(_of_look(adjusted, spent), min(level, rate))


DRAWS = 20_000


def _of_look(adjusted: Sequence[float | None], spent: float) -> tuple[float | None, ...]:
    return tuple(None if p is None else min(1.0, p / spent) for p in adjusted)


def _null_maxima(estimates: Sequence[Estimate], panels: Sequence[object], absent: int) -> NDArray[numpy.float64]:
    """(DRAWS, tests) the largest |Z| of a test and all later ones, with those of `absent` further tests."""
    from scipy.special import ndtri

    chance = numpy.random.default_rng(20_000)
    found = numpy.zeros((DRAWS, len(estimates) + 1))
    for panel in dict.fromkeys(panels):
        members = [at for at, own in enumerate(panels) if own == panel]
        root = symmetric_root(_correlation([estimates[at] for at in members]))
        found[:, members] = numpy.abs(chance.standard_normal((DRAWS, len(members))) @ root)
    if absent > 0:
        found[:, -1] = ndtri((1 + chance.random(DRAWS) ** (1 / absent)) / 2)
    later: NDArray[numpy.float64] = numpy.maximum.accumulate(found[:, ::-1], axis=1)[:, ::-1]
    return later


def _normal_score(p: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri(p / 2))


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return 2 * float(ndtr(-z))


def symmetric_root(matrix: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """The root of a covariance that is symmetric itself: unique, so that no order of eigenvectors changes a draw."""
    values, vectors = numpy.linalg.eigh(matrix)
    root: NDArray[numpy.float64] = (vectors * numpy.sqrt(numpy.maximum(values, 0.0))) @ vectors.T
    return root


def _correlation(estimates: Sequence[Estimate]) -> NDArray[numpy.float64]:
    """(K, K) correlations of contrasts of one panel through their items; 0 for a contrast with few effective clusters.

    A correlation that a few large clusters estimate is too uncertain: with it, families of Zipf-sized clusters were
    wrong in 6.7 % of simulated matrices, without it in 3.6 % (docs/statistics.md, section 16).
    """
    found = numpy.eye(len(estimates))
    # each vector's length is the items' share in the standard error
    scaled = [
        None
        if one.of_items is None or one.few_clusters
        else one.of_items / (error * math.sqrt(one.clusters * (one.clusters - 1)))
        for one in estimates
        for error in (one.widest.error,)
    ]
    for (i, a), (j, b) in combinations(enumerate(scaled), 2):
        if a is not None and b is not None and a.size == b.size:
            found[i, j] = found[j, i] = max(-1.0, min(1.0, float(a @ b)))
    return found


def rank_intervals(
    methods: int, differences: Sequence[tuple[int, int, float, float | None]], level: float = LEVEL
) -> list[tuple[int, int]]:
    """Best and worst rank of each method, from Holm decisions whose direction is the difference's sign.

    best = 1 + number of methods shown to be better;  worst = methods - number of methods shown to be worse

    differences  (first, second, value, p) for each pair of methods, oriented so that higher is better; a
                 pair without p decides nothing but counts in the family of methods * (methods - 1) / 2 tests
    All intervals together cover all ranks with 95 % confidence. Overlapping intervals do not show that two methods
    are equal. Raises ValueError for a pair outside 0..methods - 1.
    """
    for first, second, _, _ in differences:
        if not (0 <= first < methods and 0 <= second < methods):
            raise ValueError(f"pair ({first}, {second}) among {methods} methods")
    adjusted = holm([p for *_, p in differences], max(methods * (methods - 1) // 2, len(differences)))
    better, worse = [0] * methods, [0] * methods
    for (first, second, value, _), p in zip(differences, adjusted, strict=True):
        if p is None or p >= level or value == 0:
            continue
        winner, loser = (first, second) if value > 0 else (second, first)
        worse[winner] += 1
        better[loser] += 1
    return [(1 + better[index], methods - worse[index]) for index in range(methods)]


def non_inferiority_p(estimate: Estimate, margin: float, higher_is_better: bool = True) -> float | None:
    """One-sided p of 'the method loses `margin` or more' (margin > 0, metric units); None where blank.

    p = P(t_nu > (difference + margin) / SE), the larger of the two halves. Reject at 2.5 % (after Holm over its
    family), which corresponds to a 95 % interval inside the margin. The margin must be fixed beforehand.
    """
    if margin <= 0:
        raise ValueError(f"the margin must be above 0, got {margin}")
    if higher_is_better or estimate.value is None:
        return estimate.p_above(-margin)
    return replace(estimate, value=-estimate.value).p_above(-margin)  # a cost loses by rising


def independent_sum(parts: Sequence[tuple[float, Estimate]]) -> Estimate:
    """sum of coefficient * estimate over contrasts that have no item in common.

    V = sum k^2 V_i and nu = V^2 / sum((k^2 V_i)^2 / nu_i) (Welch and Satterthwaite), in each half separately. The
    seeds of the parts are treated as independent, which makes the interval too wide where the same seeds do well on
    both sets of items. Clusters and seeds are the fewest of any part. Blank where a part is blank, with its reason.
    """
    if not parts:
        raise ValueError("nothing to add up")
    values = [part.value for _, part in parts]
    if any(value is None for value in values):
        return Estimate(None, reason=next(part.reason for _, part in parts if part.value is None))
    total = sum(k * float(part.value or 0.0) for k, part in parts)
    missing = next((part.reason or "a part has no interval" for _, part in parts if part.low is None), "")
    clusters, seeds, effective = (min(getattr(part, name) for _, part in parts) for name in _SMALLEST)
    blank = Estimate(total, clusters=clusters, seeds=seeds, effective=effective, reason=missing)
    if missing:
        return blank
    halves = max(len(part.spreads) for _, part in parts)
    # a part without a pooled half uses its own half for both
    of_half = [[(k, part.spreads[min(at, len(part.spreads) - 1)]) for k, part in parts] for at in range(halves)]
    found = replace(
        blank,
        items_only=any(part.items_only for _, part in parts),
        stochastic=max(part.stochastic for _, part in parts),
        spreads=tuple(_added(half) for half in of_half),
        limits=_sum_of_limits(parts),
    )
    return with_interval(found)


def _sum_of_limits(parts: Sequence[tuple[float, Estimate]]) -> tuple[float, float] | None:
    """The least and the greatest sum that the metrics allow; None where one of them is unbounded."""
    ends = [sorted((k * part.limits[0], k * part.limits[1])) for k, part in parts if part.limits is not None]
    return (sum(low for low, _ in ends), sum(high for _, high in ends)) if len(ends) == len(parts) else None


_SMALLEST = ("clusters", "seeds", "effective")


def _added(parts: Sequence[tuple[float, Spread]]) -> Spread:
    variances = [(k * spread.error) ** 2 for k, spread in parts]
    degrees = sum(variances) ** 2 / sum(v**2 / s.degrees for v, (_, s) in zip(variances, parts, strict=True))
    return Spread(math.sqrt(sum(variances)), degrees, 0.0, 0.0, 0.0)


def gap_closed(
    method: Scores,
    reference: Scores,
    baseline: Scores,
    pool: SeedPool | None = None,
    scale: Scale = BINARY,
    higher_is_better: bool = True,
) -> Gap:
    """(method - baseline) / (reference - baseline) with the interval of Fieller (JRSS B 16, 1954), by test inversion.

    The interval holds every share r for which method - r * reference - (1 - r) * baseline is not rejected at 5 %,
    found on a grid of 0.02 and then by bisection.
    Blank where reference - baseline is not positive with p < 0.05 (the interval would be unbounded and
    the ratio mostly noise), and where the interval is wider than 1. Known limit: requiring a significant gap biases
    the shares of small gaps downwards. All three share seeds and items.
    """
    whole = difference(reference, baseline, pool, scale)
    if whole.p is None or whole.value is None:
        return Gap(None, reason=whole.reason)
    if whole.p >= LEVEL or (whole.value > 0) != higher_is_better:
        return Gap(None, reason="the reference is not clearly better than the baseline")
    if method.collapse:
        return Gap(None, reason=method.collapse)
    value = (method.mean - baseline.mean) / (reference.mean - baseline.mean)

    def accepted(share: float) -> bool:
        test = contrast((method, reference, baseline), (1.0, -share, share - 1.0), pool, scale)
        return test.p is None or test.p >= LEVEL

    low, high = _edge(accepted, value, -_GAP_STEP), _edge(accepted, value, _GAP_STEP)
    if low is None or high is None or high - low > WIDEST_GAP_INTERVAL:
        return Gap(None, reason="its interval is wider than the gap itself")
    return Gap(value, low, high)


def _edge(accepted: Callable[[float], bool], start: float, step: float) -> float | None:
    """The last accepted share from `start` in the direction of `step`; None where none is rejected nearby."""
    inside = start
    for count in range(1, round(WIDEST_GAP_INTERVAL / abs(step)) + 1):
        outside = start + count * step
        if not accepted(outside):
            break
        inside = outside
    else:
        return None
    for _ in range(20):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if accepted(middle) else (inside, middle)
    return inside
