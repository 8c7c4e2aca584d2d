"""A planned run -> what it can decide: the chance of each question at this design, at others, and what they cost.

The variance of every metric comes from a pilot's rows or, without them, from `Prior`. The simulation is
`harness.stats.power`; the rule for what is decided is that of `harness.report.numbers.comparisons`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy

from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.panel import Measured, difference_of
from harness.stats.cluster_totals import Scores
from harness.stats.intervals import Estimate
from harness.stats.power import POWER_DRAWS, Size, Variation, chances_of_better, drawn, family_of

EFFECTS = (0.05, 0.10)  # true differences that are asked about, after the margin


@dataclass(frozen=True)
class Prior:
    """Assumptions about a share without a pilot: about the medians of this project's own studies (docs/statistics.md).

    items        number of items, each from a source of its own, where no outcome says how many there are
    accuracy     a; the next two are shares of an item's variance, a (1 - a)
    of_items     variance of a difference over items
    interaction  variance that a seed adds to one method's score on one item
    seeds        standard deviation of a trained method's mean between seeds
    alike        share of the seed's variance that methods of one seed group have in common
    """

    items: int = 300
    accuracy: float = 0.75
    of_items: float = 0.6
    interaction: float = 0.15
    seeds: float = 0.015
    alike: float = 0.5

    @property
    def variance(self) -> float:
        return self.accuracy * (1 - self.accuracy)


PRIOR = Prior()


@dataclass(frozen=True)
class PlannedRow:
    """A method of the matrix; fixed: no seed changes its policy; kin: its seed group."""

    label: str
    fixed: bool = False
    kin: str = ""


@dataclass(frozen=True)
class RunPrice:
    """Seconds by the pilot's ledger, or cells without one.

    fit    method -> of one fit; score: (method, benchmark) -> of one cell
    """

    fit: Mapping[str, float] = field(default_factory=dict)
    score: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        return "second" if self.score else "cell"

    @property
    def step(self) -> str:
        """The amount that gains are shown for."""
        return "hour" if self.score else "cell"

    @property
    def rate(self) -> float:
        """Units in a step."""
        return 3600.0 if self.score else 1.0


def price_of(artifacts: Iterable[Mapping[str, Any]]) -> RunPrice:
    """Mean seconds of a ledger, over its seeds, bases and choices of data."""
    fits: dict[str, list[float]] = {}
    scores: dict[tuple[str, str], list[float]] = {}
    for one in artifacts:
        if one.get("fit_seconds") is not None:
            fits.setdefault(one["method"], []).append(float(one["fit_seconds"]))
        for benchmark, seconds in (one.get("evaluate_seconds") or {}).items():
            if seconds is not None:
                scores.setdefault((one["method"], benchmark), []).append(float(seconds))
    return RunPrice({k: fmean(v) for k, v in fits.items()}, {k: fmean(v) for k, v in scores.items()})


@dataclass(frozen=True)
class PlannedMetric:
    """One primary metric: which methods are tested on it, and what its scores vary by.

    sampled  the seed changes every method's answers
    source   where `size` and `variation` come from, in words
    """

    metric: BenchmarkMetric
    tested: tuple[PlannedRow, ...]
    size: Size
    variation: Variation
    sampled: bool = False
    percent: bool = True
    source: str = ""


@dataclass(frozen=True)
class PlannedRun:
    """All tests of one block.

    rows      every method, with the baseline
    left_out  metrics about which nothing can be said, with the reason
    declared  how many contrasts the experiment declares: a family of their own, which is not simulated
    """

    metrics: tuple[PlannedMetric, ...]
    rows: tuple[PlannedRow, ...]
    baseline: str
    seeds: int
    margin: float
    price: RunPrice = field(default_factory=RunPrice)
    left_out: Mapping[str, str] = field(default_factory=dict)
    declared: int = 0

    @property
    def tests(self) -> int:
        return sum(len(one.tested) for one in self.metrics)

    @property
    def effects(self) -> tuple[float, ...]:
        """The true differences that are asked about: the margin, 5 and 10 points."""
        return tuple(dict.fromkeys((*((self.margin,) if self.margin > 0 else ()), *EFFECTS)))

    def halved(self) -> PlannedRun:
        """With every second of the tested methods."""
        kept = {row.label for row in [row for row in self.rows if row.label != self.baseline][::2]}
        metrics = []
        for one in self.metrics:
            at = [i for i, row in enumerate(one.tested) if row.label in kept]
            if at:
                metrics.append(replace(one, tested=tuple(one.tested[i] for i in at), variation=one.variation.only(at)))
        rows = tuple(row for row in self.rows if row.label in kept or row.label == self.baseline)
        return replace(self, metrics=tuple(metrics), rows=rows)

    def cost(self, factor: float = 1.0, seeds: int | None = None) -> float:
        """Seconds, or cells, with `factor` times the items. What is cached already, or shared by methods, counts."""
        count, total = seeds or self.seeds, 0.0
        sampled = {one.metric.benchmark: one.sampled for one in self.metrics}
        for row in self.rows:
            total += self.price.fit.get(row.label, 0.0) * (1 if row.fixed else count)
            for benchmark, stochastic in sampled.items():
                runs = 1 if row.fixed and not stochastic else count
                total += self.price.score.get((row.label, benchmark), 0.0 if self.price.score else 1.0) * runs * factor
        return total


@dataclass(frozen=True)
class Outlook:
    """Chances at one design: better[metric][effect] and kept[metric], each by tested method; empty: not asked."""

    better: tuple[Mapping[float, Mapping[str, float]], ...]
    kept: tuple[Mapping[str, float], ...]

    def mean_better(self, effect: float, labels: Sequence[str] = ()) -> float | None:
        """Over all methods and metrics, or over the methods `labels`."""
        return _mean([one.get(effect, {}) for one in self.better], labels)

    def mean_kept(self, labels: Sequence[str] = ()) -> float | None:
        return _mean(self.kept, labels)


def outlook(run: PlannedRun, factor: float = 1.0, seeds: int | None = None, draws: int = POWER_DRAWS) -> Outlook:
    """The chances with `factor` times the items and clusters, at that many seeds; equal calls give equal numbers."""
    sizes = [one.size.scaled(factor, seeds or run.seeds) for one in run.metrics]
    made = [
        drawn(one.variation, size, at, draws) for at, (one, size) in enumerate(zip(run.metrics, sizes, strict=True))
    ]
    testable = [at for at, one in enumerate(made) if one is not None]
    knowledge = [place for place, at in enumerate(testable) if run.metrics[at].metric.role == "knowledge"]
    family = family_of([one for one in made if one is not None], run.margin, knowledge)
    better: list[Mapping[float, Mapping[str, float]]] = [{} for _ in made]
    kept: list[Mapping[str, float]] = [{} for _ in made]
    for place, at in enumerate(testable):
        labels = [row.label for row in run.metrics[at].tested]
        better[at] = {
            effect: dict(zip(labels, chances_of_better(family, place, effect), strict=True)) for effect in run.effects
        }
        kept[at] = dict(zip(labels, family.kept.get(place, ()), strict=False))
    return Outlook(tuple(better), tuple(kept))


def _mean(parts: Sequence[Mapping[str, float]], labels: Sequence[str]) -> float | None:
    values = [chance for part in parts for label, chance in part.items() if not labels or label in labels]
    return fmean(values) if values else None


@dataclass(frozen=True)
class Change:
    """Another design: its mean chances before and after, on the same methods, and what it adds to the cost."""

    title: str
    better: tuple[float, float]
    kept: tuple[float, float] | None
    extra: float

    @property
    def gain(self) -> float:
        """In points, of both kinds of question on average."""
        gains = [after - before for before, after in (self.better, *((self.kept,) if self.kept else ()))]
        return 100 * fmean(gains)

    def rate(self, price: RunPrice) -> float | None:
        """Points per hour, or per cell where seconds are unknown; None where it adds nothing to the cost."""
        return price.rate * self.gain / self.extra if self.extra > 0 else None


def design_changes(run: PlannedRun, effect: float, draws: int = POWER_DRAWS) -> list[Change]:
    """Twice the items, two more seeds, half the methods: what each does to the mean chances, and its price."""
    now, spent, half = outlook(run, draws=draws), run.cost(), run.halved()
    fewer = [row.label for row in half.rows if row.label != run.baseline]
    other = [
        ("twice the items", outlook(run, 2.0, draws=draws), (), run.cost(2.0) - spent),
        ("two more seeds", outlook(run, 1.0, run.seeds + 2, draws), (), run.cost(1.0, run.seeds + 2) - spent),
        ("half the methods", outlook(half, draws=draws), fewer, half.cost() - spent),
    ]
    found = []
    for title, then, labels, extra in other:
        before, after = now.mean_better(effect, labels), then.mean_better(effect, labels)
        kept_now, kept_then = now.mean_kept(labels), then.mean_kept(labels)
        kept = None if kept_now is None or kept_then is None else (kept_now, kept_then)
        if before is not None and after is not None:
            found.append(Change(title, (before, after), kept, extra))
    return found


def best_change(found: Sequence[Change]) -> Change | None:
    """The change that adds most points per extra second or cell; a gain below one point does not count."""
    paid = [one for one in found if one.extra > 0 and one.gain >= 1]
    return max(paid, key=lambda one: one.gain / one.extra, default=None)


# ---- where the variance comes from


def prior_variation(
    tested: Sequence[PlannedRow], baseline: PlannedRow, size: Size, *, sampled: bool, prior: Prior = PRIOR
) -> Variation:
    """From priors: every trained method varies alike, and an untrained one where the benchmark samples."""
    mean_size, rows = size.items / size.clusters, [*tested, baseline]
    interaction = prior.interaction * prior.variance / mean_size
    return Variation(
        items=(prior.of_items * prior.variance / mean_size,) * len(tested),
        seeds=tuple(0.0 if row.fixed else prior.seeds**2 for row in rows),
        interaction=tuple(0.0 if row.fixed and not sampled else interaction for row in rows),
        kin=tuple(row.kin for row in rows),
        alike=(prior.alike, prior.alike),
    )


def pilot_size(one: Measured, seeds: int) -> Size:
    """The items and clusters of a pilot's metric, at the seeds of the plan."""
    clusters = int(numpy.unique(one.panel.clusters).size)
    return Size(float(one.panel.weights.sum()), clusters, one.panel.effective_clusters, seeds)


def pilot_variation(
    one: Measured, tested: Sequence[PlannedRow], baseline: PlannedRow, *, sampled: bool
) -> tuple[Variation, str] | None:
    """From a pilot's rows, and a remark on what they lack; None where the pilot has no pair on this metric.

    Items and interaction are each method's own; seed variance is the mean over methods of a kind (trained or not),
    because one method's is known on too few degrees of freedom. What the pilot lacks gets the mean of its kind.
    """
    pairs: dict[str, tuple[Scores, Scores]] = {}
    found: dict[str, Estimate] = {}
    for row in tested:
        both = one.panel.comparable([row.label, baseline.label])
        estimate = difference_of(one, both)
        if both.scores and estimate.spreads:
            pairs[row.label], found[row.label] = (both.scores[0], both.scores[1]), estimate
    if not pairs:
        return None
    first = next(iter(pairs.values()))[1]
    assumed = prior_variation(
        tested, baseline, Size(float(first.weights.sum()), first.clusters, 1.0, 1), sampled=sampled
    )
    alone, several = {**{label: pair[0] for label, pair in pairs.items()}, baseline.label: first}, first.seeds > 1
    rows = [*tested, baseline]
    if several:
        interaction = _filled({label: scores.seed_mean_squares[1] for label, scores in alone.items()}, rows)
        spare = {label: _seed_component(scores) for label, scores in alone.items()}
        kinds = {
            fixed: [spare[row.label] for row in rows if row.fixed == fixed and row.label in spare]
            for fixed in (True, False)
        }
        pooled = {fixed: max(fmean(values), 0.0) if values else 0.0 for fixed, values in kinds.items()}
        seeds = [pooled[row.fixed] if rest > 0 else 0.0 for row, rest in zip(rows, interaction, strict=True)]
    else:
        unit = one.scale.unit**2  # priors are of shares
        interaction = [unit * rest for rest in assumed.interaction]
        seeds = [unit * component for component in assumed.seeds]
    of_rest = dict(zip([row.label for row in rows], interaction, strict=True))
    items = {}
    for label, estimate in found.items():
        rest = estimate.spreads[0].interaction if several else of_rest[label] + of_rest[baseline.label]
        items[label] = max(estimate.spreads[0].items - rest, 0.0) / estimate.seeds
    variation = Variation(
        items=tuple(_filled(items, tested)),
        seeds=tuple(seeds),
        interaction=tuple(interaction),
        together=_together(list(found.values())),
        kin=tuple(row.kin for row in rows),
        alike=_alike(pairs, tested, baseline, found) if several else assumed.alike,
        binary=one.scale.binary,
    )
    absent = [row.label for row in tested if row.label not in pairs]
    remark = f"; not in the pilot, taken for its average: {', '.join(absent)}" if absent else ""
    return variation, remark + ("" if several else "; it has one seed, so seed variance is a prior")


def _seed_component(scores: Scores) -> float:
    between, rest = scores.seed_mean_squares
    return (between - rest) / scores.clusters


def _filled(known: Mapping[str, float], rows: Sequence[PlannedRow]) -> list[float]:
    """A value for every row: its own, or the mean over those of its kind, or over all."""
    kinds = {row.label: row.fixed for row in rows}
    found = []
    for row in rows:
        alike = [value for label, value in known.items() if kinds.get(label) == row.fixed]
        found.append(known.get(row.label, fmean(alike or list(known.values()))))
    return found


def _together(found: Sequence[Estimate]) -> float:
    """The mean correlation between the items' parts of two differences to the baseline."""
    if len(found) < 2:
        return 0.5
    vectors = [
        one.of_items / numpy.linalg.norm(one.of_items)
        for one in found
        if one.of_items is not None and one.of_items.any()
    ]
    products = [float(a @ b) for a, b in combinations(vectors, 2) if a.size == b.size]
    return min(max(fmean(products), 0.0), 1.0) if products else 0.5


def _alike(
    pairs: Mapping[str, tuple[Scores, Scores]],
    tested: Sequence[PlannedRow],
    baseline: PlannedRow,
    found: Mapping[str, Estimate],
) -> tuple[float, float]:
    """Shares of seed variance and of interaction that methods of the baseline's seed group have in common with it."""
    own = [row.label for row in tested if row.kin and row.kin == baseline.kin and row.label in pairs]
    shares = []
    for name in (0, 1):
        apart = sum(_parts(scores)[name] for label in own for scores in pairs[label])
        spreads = [found[label].spreads[0] for label in own]
        clusters = [pairs[label][0].clusters for label in own]
        left = sum(
            (s.interaction if name else (s.seeds - s.interaction) / c) for s, c in zip(spreads, clusters, strict=True)
        )
        shares.append(min(max(1 - left / apart, 0.0), 1.0) if apart > 0 else 0.0)
    return shares[0], shares[1]


def _parts(scores: Scores) -> tuple[float, float]:
    return _seed_component(scores), scores.seed_mean_squares[1]
