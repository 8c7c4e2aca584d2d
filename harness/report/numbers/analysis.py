"""Rows of one block -> its numbers: scores, paired comparisons, ranks, knowledge kept, gaps closed.

The tested family of a block is every method against the baseline on every primary metric (all items). The
groups of metrics that are reported by group are a second family, and non-inferiority a third; a metric that
is not primary gets intervals and no test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING

from harness.records import DataChoice
from harness.report.numbers.matrix import CellState, Matrix, MethodInfo, MetricInfo
from harness.report.numbers.model import Comparison, Kept, MethodScore, Result
from harness.report.numbers.panel import Comparable, Panel, build_panel, joined
from harness.stats.contrasts import (
    FEWEST_CLUSTERS,
    Estimate,
    Scale,
    SeedPool,
    difference,
    mean,
    minimum_detectable_effect,
    seed_pool,
)
from harness.stats.families import LEVEL, Gap, gap_closed, holm, non_inferiority_p, rank_intervals

if TYPE_CHECKING:
    import pandas


CHANCE = "chance"  # where an item carries this value, it is what random answers to that item reach
MOST_GROUPS = 30  # more than this is not a stratum, it is an id


@dataclass(frozen=True)
class Measured:
    """A panel with what its tests share: the pooled seed variance and the scale of its scores.

    levels  group -> what random answers reach there, where the items say so and groups differ
    """

    metric: MetricInfo
    group: str
    panel: Panel
    pool: SeedPool | None
    scale: Scale
    percent: bool
    levels: Mapping[str, float] = field(default_factory=dict)


def measure(metric: MetricInfo, panel: Panel, group: str = "") -> Measured:
    """Pool the seed variance of all methods on one panel."""
    alone = [panel.comparable([label]) for label in panel.methods]
    bounds = panel.bounds()
    if bounds is None:
        bounds = (metric.chance, metric.chance) if metric.chance is not None else (0.0, 1.0)
    return Measured(
        metric=metric,
        group=group,
        panel=panel,
        pool=seed_pool([one.scores[0] for one in alone if one.scores]),
        scale=panel.scale(),
        percent=not metric.unit and bounds[0] >= 0 and bounds[1] <= 1,
    )


def levels_of(rows: pandas.DataFrame, metric: str) -> dict[str, float]:
    """Group ("" for all items) -> the mean level of random answers; left out where any item of it says none.

    rows  of one benchmark, with columns as in rows.parquet
    """
    levels = rows[rows["metric"] == CHANCE].drop_duplicates(["group", "item"])
    asked = rows[rows["metric"] == metric].drop_duplicates(["group", "item"])
    found = {}
    for group in ("", *sorted(set(levels["group"]))):
        own = levels if group == "" else levels[levels["group"] == group]
        items = asked if group == "" else asked[asked["group"] == group]
        if len(own) and len(own) == len(items):
            found[group] = float(own["value"].mean())
    return found


def block_rows(
    rows: pandas.DataFrame, matrix: Matrix, base: str, data: DataChoice
) -> tuple[pandas.DataFrame, dict[tuple[str, str], tuple[CellState, ...]]]:
    """The rows (or samples) and the cells, by (method, benchmark), that stand in a block."""
    import pandas

    parts, states = [], {}
    for method in matrix.methods:
        where, own = matrix.place(method, base, data)
        parts.append(method_rows(rows, matrix, base, method, data))
        for benchmark in matrix.benchmarks:
            cells = matrix.by_method.get((where, method.label, own), [])
            states[method.label, benchmark.label] = tuple(c for c in cells if c.benchmark == benchmark.label)
    return (pandas.concat(parts) if parts else rows.iloc[:0]), states


def method_rows(
    rows: pandas.DataFrame, matrix: Matrix, base: str, method: MethodInfo, data: DataChoice
) -> pandas.DataFrame:
    """The rows (or samples) that stand for a method in the block of `base` and `data`."""
    where, own = matrix.place(method, base, data)
    found = (rows["base"] == where) & (rows["method"] == method.label)
    return rows[found & (rows["data_quality"] == own.quality) & (rows["data_size"] == own.size)]


def panels_of(
    rows: pandas.DataFrame, matrix: Matrix, states: Mapping[tuple[str, str], tuple[CellState, ...]]
) -> list[Measured]:
    """Every metric of every benchmark on all items, in the experiment's order."""
    measured = []
    for benchmark in matrix.benchmarks:
        of_benchmark = rows[rows["benchmark"] == benchmark.label]
        # a deterministic method may have one cell that stands for all seeds; a failed seed does not count
        repeated = [
            method.label
            for method in matrix.methods
            if method.deterministic and len(states.get((method.label, benchmark.label), ())) == 1
        ]
        for at, metric in enumerate(benchmark.metrics):
            own = of_benchmark[of_benchmark["metric"] == metric.name]
            # what an item says of random answers is about the first metric: those after it have other levels
            levels = levels_of(of_benchmark, metric.name) if at == 0 and metric.chance is None else {}
            told = replace(metric, chance=levels.get("", metric.chance))
            measured.append(replace(measure(told, build_panel(own, repeated, matrix.seeds)), levels=levels))
    return measured


def groups_of(measured: Iterable[Measured]) -> list[Measured]:
    """Each group of items of each metric that has at least two of them."""
    found = []
    for whole in measured:
        names = whole.panel.group_names
        if 2 <= len(names) <= MOST_GROUPS:
            found += [
                replace(measure(_in_group(whole, name), whole.panel.only(name), name), percent=whole.percent)
                for name in names
            ]
    return found


def _in_group(whole: Measured, group: str) -> MetricInfo:
    return replace(whole.metric, chance=whole.levels.get(group)) if whole.levels else whole.metric


def results_of(
    measured: Sequence[Measured],
    matrix: Matrix,
    tested: Callable[[Measured], bool],
    planned: Callable[[str, str], bool],
) -> tuple[Result, ...]:
    """Scores, ranks and comparisons with the baseline; Holm's correction over those that `tested` selects.

    planned  (method, benchmark) -> whether a cell was to be filled; what failed still counts in the family
    """
    labels = [method.label for method in matrix.methods]

    def opponents(one: Measured) -> dict[str, str]:
        rivals = [label for label in labels if matrix.baseline in labels and label != matrix.baseline]
        rivals = [r for r in rivals if planned(r, one.metric.benchmark) or r in one.panel.methods]
        return {label: str(matrix.baseline) for label in rivals}

    def decides(one: Measured) -> bool:
        return tested(one) and one.metric.against_baseline

    results = compared(measured, labels, opponents, decides, matrix.margin)
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
) -> tuple[Result, ...]:
    """Scores of `labels`, and comparisons of methods with their opponents; Holm's correction over those that
    `tested` selects. Nothing is ranked.

    opponents  a measured metric -> method -> whom it is compared with
    margin     the loss of knowledge that non-inferiority is tested against; 0: it is not
    """
    results = []
    for one in measured:
        comparisons = {label: _compare(one, label, other) for label, other in opponents(one).items()}
        results.append(Result(one.metric, one.group, one.percent, _scores(one, labels), comparisons))
    family = [r for r, one in zip(results, measured, strict=True) if tested(one)]
    corrected = iter(_corrected(family, margin))
    return tuple(next(corrected) if tested(one) else r for r, one in zip(results, measured, strict=True))


def _scores(one: Measured, labels: Sequence[str]) -> dict[str, MethodScore]:
    scores = {}
    for label in labels:
        if label not in one.panel.methods:
            continue
        found = one.panel.comparable([label])
        scores[label] = MethodScore(score_of(one, label), found.items, found.seeds)
    return scores


def _ranked(one: Measured, scores: Mapping[str, MethodScore]) -> dict[str, MethodScore]:
    ranks = _ranks(one, scores)
    return {label: replace(score, rank=ranks.get(label)) for label, score in scores.items()}


def score_of(one: Measured, label: str) -> Estimate:
    """A method's mean with its pointwise interval, which a share keeps within 0 and 1."""
    found = one.panel.comparable([label])
    if not found.scores:
        return Estimate(None, reason=found.reason)
    estimate = mean(found.scores[0], one.pool, one.scale)
    if not one.metric.against_baseline and _constant(one, label):
        return replace(estimate, low=None, high=None, reason="the same on every item")
    if one.percent and estimate.low is not None and estimate.high is not None:
        return replace(estimate, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))
    return estimate


def _constant(one: Measured, label: str) -> bool:
    values = one.panel.methods[label].values
    return bool((values == values.flat[0]).all())


def _ranks(one: Measured, scores: Mapping[str, MethodScore]) -> dict[str, tuple[int, int]]:
    """Rank intervals of the methods that have every seed; nothing below the clusters that a claim needs."""
    usable = [label for label, s in scores.items() if s.estimate.low is not None and not s.estimate.few_clusters]
    most = max((len(scores[label].seeds) for label in usable), default=0)
    complete = [label for label in usable if len(scores[label].seeds) == most]
    if len(complete) < 2:
        return {}
    pairs = []
    for (i, first), (j, second) in combinations(enumerate(complete), 2):
        estimate = difference_of(one, one.panel.comparable([first, second]))
        oriented = (estimate.value or 0.0) * (1 if one.metric.higher_is_better else -1)
        mixed = estimate.items_only and most > 1
        pairs.append((i, j, oriented, None if estimate.few_clusters or mixed else estimate.p))
    return dict(zip(complete, rank_intervals(len(complete), pairs), strict=True))


def difference_of(one: Measured, found: Comparable) -> Estimate:
    """The paired difference of the first method to the second; blank with its reason where they have none."""
    if not found.scores:
        return Estimate(None, reason=found.reason)
    return difference(found.scores[0], found.scores[1], one.pool, one.scale)


def _compare(one: Measured, label: str, baseline: str) -> Comparison:
    found = one.panel.comparable([label, baseline])
    estimate = difference_of(one, found)
    shares = None
    if estimate.components is not None and not estimate.items_only:
        shares = estimate.components.shares(estimate.clusters, estimate.seeds)
    return Comparison(estimate, found.items, found.dropped, shares=shares)


def _corrected(results: Sequence[Result], margin: float) -> list[Result]:
    """Holm over all comparisons of `results`, and over the non-inferiority tests of knowledge among them."""
    keys = [(index, label) for index, result in enumerate(results) for label in result.comparisons]
    several = any(results[i].comparisons[label].estimate.seeds > 1 for i, label in keys)
    allowed = {key: claimable(results[key[0]].comparisons[key[1]].estimate, several) for key in keys}
    adjusted = holm([results[i].comparisons[label].estimate.p if allowed[i, label] else None for i, label in keys])
    kept_keys = [(i, label) for i, label in keys if results[i].metric.role == "knowledge" and margin > 0]
    losses = [
        non_inferiority_p(results[i].comparisons[label].estimate, margin, results[i].metric.higher_is_better)
        if allowed[i, label]
        else None
        for i, label in kept_keys
    ]
    kept = dict(zip(kept_keys, holm(losses), strict=True))
    changed: list[dict[str, Comparison]] = [{} for _ in results]
    for (i, label), p in zip(keys, adjusted, strict=True):
        better, worse = _direction(results[i], label, p)
        changed[i][label] = replace(
            results[i].comparisons[label],
            adjusted=p,
            kept=kept.get((i, label)),
            better=better,
            worse=worse,
            effect=_effect(results[i].comparisons[label].estimate, len(keys)),
        )
    return [replace(r, comparisons=c, family=len(keys)) for r, c in zip(results, changed, strict=True)]


def claimable(estimate: Estimate, several_seeds: bool) -> bool:
    """Enough clusters, and never one-seed tests beside tests over seeds in one family."""
    if estimate.p is None or estimate.clusters < FEWEST_CLUSTERS:
        return False
    return not (estimate.items_only and several_seeds)


def _direction(result: Result, label: str, p: float | None) -> tuple[bool, bool]:
    value = result.comparisons[label].estimate.value
    if p is None or value is None or p >= LEVEL or value == 0:
        return False, False
    up = (value > 0) == result.metric.higher_is_better
    return up, not up


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

    Empty where there is none, where a metric is better when lower, or where several do not all lie in [0, 1]:
    a ratio of their mean would mean nothing.
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


def method_order(methods: Sequence[MethodInfo], labels: Iterable[str]) -> list[str]:
    """`labels` in the experiment's order."""
    present = set(labels)
    return [method.label for method in methods if method.label in present]
