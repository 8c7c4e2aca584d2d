"""Panels -> results: scores with ranks, comparisons with the baseline, knowledge kept, gaps closed.

The tested family of a block is every method against the baseline on every primary metric (all items). The
groups of metrics that are reported by group are a second family, and non-inferiority a third; a metric that
is not primary gets intervals and no test. Intervals of tested differences are simultaneous over their family and agree
with its decisions; all others are pointwise. Values are in the metric's own units (a share is 0.5, not 50).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.panel import Measured, difference_of, joined, measure, score_of
from harness.stats.contrasts import mean
from harness.stats.families import LEVEL, Gap, gap_closed, holm, max_t, non_inferiority_p, rank_intervals
from harness.stats.intervals import FEWEST_CLUSTERS, Estimate
from harness.stats.resolution import minimum_detectable_effect

KEPT_LEVEL = LEVEL / 2  # one-sided: the counterpart of a 95 % interval inside the margin


@dataclass(frozen=True)
class MethodScore:
    """A method's mean with its pointwise interval; rank is (best, worst), None where it is not ranked."""

    estimate: Estimate
    items: int = 0
    seeds: tuple[int, ...] = ()
    rank: tuple[int, int] | None = None


@dataclass(frozen=True)
class Comparison:
    """A method against the baseline on one metric; `estimate` is method - baseline.

    estimate       within a family its interval is simultaneous, otherwise pointwise
    pointwise      the pointwise interval in any case
    adjusted       p after the correction over its family; None outside a family or where no claim is allowed
    kept           Holm-adjusted one-sided p of losing the margin or more (knowledge metrics only)
    effect         the smallest effect found with 80 % power in a single test, and after Holm
    shares         what items, seeds and their interaction contribute to the variance
    """

    estimate: Estimate
    items: int = 0
    dropped: int = 0
    better: bool = False
    worse: bool = False
    adjusted: float | None = None
    kept: float | None = None
    effect: tuple[float, float] | None = None
    shares: tuple[float, float, float] | None = None
    pointwise: tuple[float, float] | None = None


@dataclass(frozen=True)
class Result:
    """One metric on all items (group "") or on one group of them.

    family  the number of tests that the correction runs over; 0: nothing is tested
    effective_clusters  of all its items, whichever were scored
    """

    metric: BenchmarkMetric
    group: str
    percent: bool
    scores: Mapping[str, MethodScore]
    comparisons: Mapping[str, Comparison]
    family: int = 0
    effective_clusters: float = 0.0


@dataclass(frozen=True)
class Kept:
    """Knowledge that a method keeps, over all items of the primary knowledge metrics.

    score       its own mean
    difference  method - baseline; None for the baseline itself or without one
    share       method / baseline, with the interval of the difference over the baseline's mean
    """

    score: Estimate
    difference: Estimate | None = None
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    percent: bool = True


def is_kept(comparison: Comparison) -> bool:
    """Whether a loss of the margin or more is rejected."""
    return comparison.kept is not None and comparison.kept <= KEPT_LEVEL


def results_of(
    measured: Sequence[Measured],
    matrix: Matrix,
    tested: Callable[[Measured], bool],
    planned: Callable[[str, str], bool],
    spent: float = 1.0,
) -> tuple[Result, ...]:
    """Scores, ranks and comparisons with the baseline; the correction runs over those that `tested` selects.

    planned  (method, benchmark) -> whether a cell was to be filled; what failed still counts in the family
    spent    the share of the error rate that belongs to this look at the data, as in `harness.stats.families.max_t`
    """
    labels = [method.label for method in matrix.methods]

    def opponents(one: Measured) -> dict[str, str]:
        rivals = [label for label in labels if matrix.baseline in labels and label != matrix.baseline]
        rivals = [r for r in rivals if planned(r, one.metric.benchmark) or r in one.panel.methods]
        return {label: str(matrix.baseline) for label in rivals}

    def decides(one: Measured) -> bool:
        return tested(one) and one.metric.against_baseline

    results = compared(measured, labels, opponents, decides, matrix.margin, spent=spent)
    return tuple(
        replace(r, scores=_ranked(one, r.scores)) if one.metric.against_baseline else replace(r, comparisons={})
        for r, one in zip(results, measured, strict=True)
    )


def compared(
    measured: Sequence[Measured],
    labels: Sequence[str],
    opponents: Callable[[Measured], Mapping[str, str]],
    tested: Callable[[Measured], bool],
    margin: float,
    alike: int = 1,
    spent: float = 1.0,
) -> tuple[Result, ...]:
    """Scores of `labels`, and comparisons of methods with their opponents; the correction runs over those that
    `tested` selects. Nothing is ranked.

    A metric with too few clusters for any test is known before the run and is not part of the family.

    opponents  a measured metric -> method -> the method it is compared with
    margin     the loss of knowledge that non-inferiority is tested against; 0: it is not
    alike      how many comparisons like each of these could have been asked for instead; the family holds them all
    spent      as in `results_of`
    """
    results = []
    for one in measured:
        comparisons = {label: _compare(one, label, other) for label, other in opponents(one).items()}
        effective = one.panel.effective_clusters
        scores = _scores(one, labels)
        results.append(Result(one.metric, one.group, one.percent, scores, comparisons, effective_clusters=effective))
    chosen = [tested(one) and one.panel.effective_clusters >= FEWEST_CLUSTERS for one in measured]
    corrected = iter(_corrected([r for r, own in zip(results, chosen, strict=True) if own], margin, alike, spent))
    return tuple(next(corrected) if own else r for r, own in zip(results, chosen, strict=True))


def _scores(one: Measured, labels: Sequence[str]) -> dict[str, MethodScore]:
    scores = {}
    for label in labels:
        if label not in one.panel.methods and label not in one.panel.constants:
            continue
        if label in one.panel.constants:
            seeds = max((method.seeds for method in one.panel.methods.values()), key=len)
            scores[label] = MethodScore(score_of(one, label), one.panel.items.size, seeds)
            continue
        found = one.panel.comparable([label])
        scores[label] = MethodScore(score_of(one, label), found.items, found.seeds)
    return scores


def _ranked(one: Measured, scores: Mapping[str, MethodScore]) -> dict[str, MethodScore]:
    ranks = _ranks(one, scores)
    return {label: replace(score, rank=ranks.get(label)) for label, score in scores.items()}


def _ranks(one: Measured, scores: Mapping[str, MethodScore]) -> dict[str, tuple[int, int]]:
    """Rank intervals of the methods that have every seed; none with too few clusters for an interval."""
    usable = [label for label, s in scores.items() if s.estimate.low is not None]
    most = max((len(scores[label].seeds) for label in usable), default=0)
    complete = [label for label in usable if len(scores[label].seeds) == most]
    if len(complete) < 2:
        return {}
    pairs = []
    for (i, first), (j, second) in combinations(enumerate(complete), 2):
        estimate = difference_of(one, one.panel.comparable([first, second]))
        oriented = (estimate.value or 0.0) * one.metric.sign
        mixed = estimate.items_only and most > 1
        pairs.append((i, j, oriented, None if mixed else estimate.p))
    return dict(zip(complete, rank_intervals(len(complete), pairs), strict=True))


def _compare(one: Measured, label: str, baseline: str) -> Comparison:
    found = one.panel.comparable([label, baseline])
    estimate = difference_of(one, found)
    shares = None
    if estimate.components is not None and not estimate.items_only:
        shares = estimate.components.shares(estimate.clusters, estimate.seeds)
    limits = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
    return Comparison(estimate, found.items, found.dropped, shares=shares, pointwise=limits)


def _corrected(results: Sequence[Result], margin: float, alike: int, spent: float) -> list[Result]:
    """Max-t over all comparisons of `results`, and Holm over the non-inferiority tests of knowledge among them."""
    keys = [(index, label) for index, result in enumerate(results) for label in result.comparisons]
    found = [results[i].comparisons[label].estimate for i, label in keys]
    family = len(keys) * alike
    kept = _kept_p(results, dict(zip(keys, testable(found), strict=True)), margin, alike, spent)
    changed: list[dict[str, Comparison]] = [{} for _ in results]
    shown = corrected_family(found, [index for index, _ in keys], family, spent)
    for (i, label), estimate, (corrected, p) in zip(keys, found, shown, strict=True):
        sign = established_sign(corrected, p) * results[i].metric.sign
        changed[i][label] = replace(
            results[i].comparisons[label],
            estimate=corrected,
            adjusted=p,
            kept=kept.get((i, label)),
            better=sign > 0,
            worse=sign < 0,
            effect=_effect(estimate, family),
        )
    return [replace(r, comparisons=c, family=family) for r, c in zip(results, changed, strict=True)]


def testable(estimates: Sequence[Estimate]) -> list[Estimate | None]:
    """The tests of a family; None for an estimate without p, and for one of one seed among others of several."""
    several = any(one.seeds > 1 for one in estimates)
    return [one if claimable(one, several) else None for one in estimates]


def corrected_family(
    estimates: Sequence[Estimate], panels: Sequence[object], family: int | None = None, spent: float = 1.0
) -> list[tuple[Estimate, float | None]]:
    """Each estimate with its simultaneous interval, and its p by max-t; a test that is not allowed stays as it is.

    panels, family, spent  as in `harness.stats.families.max_t`
    """
    allowed = testable(estimates)
    joint = max_t(allowed, panels, family, spent)
    return [
        (one if own is None else _simultaneous(own, joint.level, p), p)
        for one, own, p in zip(estimates, allowed, joint.adjusted, strict=True)
    ]


def established_sign(estimate: Estimate, p: float | None) -> int:
    """1 or -1 where the corrected p establishes a difference, otherwise 0."""
    if p is None or p >= LEVEL or not estimate.value:
        return 0
    return 1 if estimate.value > 0 else -1


def _simultaneous(estimate: Estimate, level: float, p: float | None) -> Estimate:
    """The estimate with its interval at the family's level; one whose sign is established does not reach beyond 0."""
    interval = estimate.interval(level)
    if interval is None:
        return estimate
    low, high = interval
    sign = established_sign(estimate, p)
    return replace(estimate, low=max(low, 0.0) if sign > 0 else low, high=min(high, 0.0) if sign < 0 else high)


def _kept_p(
    results: Sequence[Result],
    allowed: Mapping[tuple[int, str], Estimate | None],
    margin: float,
    alike: int,
    spent: float,
) -> dict[tuple[int, str], float | None]:
    """Holm-adjusted one-sided p of losing the margin or more on knowledge metrics; empty without a margin."""
    if margin <= 0:
        return {}
    keys = [key for key in allowed if results[key[0]].metric.role == "knowledge"]
    losses = []
    for key in keys:
        estimate = allowed[key]
        higher = results[key[0]].metric.higher_is_better
        losses.append(None if estimate is None else non_inferiority_p(estimate, margin, higher))
    shown = [None if p is None else min(1.0, p / spent) for p in holm(losses, len(keys) * alike)]
    return dict(zip(keys, shown, strict=True))


def claimable(estimate: Estimate, several_seeds: bool) -> bool:
    """Whether it has a p, and is not a one-seed test in a family of tests over seeds."""
    return estimate.p is not None and not (estimate.items_only and several_seeds)


def _effect(estimate: Estimate, tests: int) -> tuple[float, float] | None:
    components = estimate.components
    if components is None:
        return None
    sizes = [
        minimum_detectable_effect(components, estimate.clusters, estimate.seeds, estimate.stochastic, comparisons)
        for comparisons in (1, tests)
    ]
    return sizes[0], sizes[1]


def kept_of(measured: Sequence[Measured], matrix: Matrix) -> dict[str, Kept]:
    """Knowledge kept by every method, over the items of all primary knowledge metrics together.

    Empty where there is none, where lower is better for a metric, or where the values of several are not all in [0, 1]:
    a ratio of their means would have no meaning.
    """
    knowledge = [one for one in measured if one.metric.role == "knowledge" and one.metric.primary]
    if not knowledge or not all(one.metric.higher_is_better for one in knowledge):
        return {}
    if len(knowledge) > 1 and not all(one.percent for one in knowledge):
        return {}
    panel = joined([(one.metric.benchmark, one.panel) for one in knowledge])
    whole = measure(knowledge[0].metric, panel)
    found = {}
    for label in panel.methods:
        alone = panel.comparable([label])
        score = mean(alone.scores[0], whole.pool, whole.scale) if alone.scores else Estimate(None, reason=alone.reason)
        found[label] = Kept(score, percent=whole.percent)
        if matrix.baseline in panel.methods and label != matrix.baseline:
            found[label] = _kept(whole, label, str(matrix.baseline), score)
    return found


def _kept(whole: Measured, label: str, baseline: str, score: Estimate) -> Kept:
    pair = whole.panel.comparable([label, baseline])
    change = difference_of(whole, pair)
    if not pair.scores or change.value is None or pair.scores[1].mean <= 0:
        return Kept(score, change, percent=whole.percent)
    start = pair.scores[1].mean
    low = None if change.low is None else (start + change.low) / start
    high = None if change.high is None else (start + change.high) / start
    return Kept(score, change, pair.scores[0].mean / start, low, high, whole.percent)


def gaps_of(measured: Sequence[Measured], matrix: Matrix) -> dict[tuple[str, str, str], Gap]:
    """(method, benchmark, metric) -> gap closed, on every primary quality metric."""
    gaps: dict[tuple[str, str, str], Gap] = {}
    ends = (matrix.baseline, matrix.reference)
    labels = [method.label for method in matrix.methods]
    if ends[0] == ends[1] or not all(end in labels for end in ends):
        return gaps
    for one in measured:
        if one.metric.role != "quality" or not one.metric.primary:
            continue
        for label in labels:
            if label not in ends and label in one.panel.methods:
                gaps[label, one.metric.benchmark, one.metric.name] = _gap(one, label, str(ends[1]), str(ends[0]))
    return gaps


def _gap(one: Measured, label: str, reference: str, baseline: str) -> Gap:
    found = one.panel.comparable([label, reference, baseline])
    if not found.scores:
        return Gap(None, reason=found.reason)
    method, goal, start = found.scores
    return gap_closed(method, goal, start, one.pool, one.scale, one.metric.higher_is_better)
