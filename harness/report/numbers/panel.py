"""Rows -> arrays -> means: one metric in one block as a panel, and the means and differences of its methods.

A panel holds every method's values, seeds x items. Methods are compared on the seeds and items that they share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy
from numpy.typing import NDArray

from harness.records import DataChoice
from harness.report.numbers.matrix import BenchmarkMetric, CellState, Matrix, MethodInfo
from harness.stats.cluster_totals import Scores, effective_number
from harness.stats.collapse import collapsed_seeds
from harness.stats.contrasts import Scale, SeedPool, difference, mean, seed_pool
from harness.stats.intervals import Estimate

if TYPE_CHECKING:
    import pandas


CHANCE = "chance"  # where an item carries this value, it is what random answers to that item reach
MOST_GROUPS = 30  # with more, the group is an id and not a stratum
_TWO_KINDS = "has seeds of two kinds"
MOST_MISSING = 0.05  # losing 6 % of one method's wrong answers biased a difference by 1-1.5 points


@dataclass(frozen=True)
class MethodValues:
    """seeds, in order, and values (S, n); NaN where the method has no row for an item."""

    seeds: tuple[int, ...]
    values: NDArray[numpy.float64]


@dataclass(frozen=True)
class Comparable:
    """Totals of some methods on the seeds and items that they share, or the reason why there are none."""

    scores: tuple[Scores, ...] = ()
    seeds: tuple[int, ...] = ()
    items: int = 0
    dropped: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Panel:
    """One metric in one block: n items, and what every method scored on them.

    weights, clusters (codes of cluster_names), groups and items are (n,); `reason` says why no statistics are
    possible; kin: method -> the seed group that it shares artifacts with, where it does. log: values are logarithms;
    constants: then, methods whose every score is one number that has no logarithm, such as 0.
    """

    methods: Mapping[str, MethodValues]
    items: NDArray[numpy.object_]
    groups: NDArray[numpy.object_]
    cluster_names: NDArray[numpy.object_]
    clusters: NDArray[numpy.int64]
    weights: NDArray[numpy.float64]
    reason: str = ""
    kin: Mapping[str, str] = field(default_factory=dict)
    log: bool = False
    constants: Mapping[str, float] = field(default_factory=dict)
    _totals: dict[tuple[str, tuple[int, ...]], Scores] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    @property
    def effective_clusters(self) -> float:
        """Of all items, whichever were scored: a fact of the design."""
        if not self.weights.size:
            return 0.0
        return effective_number(numpy.bincount(self.clusters, weights=self.weights).astype(float))

    @property
    def group_names(self) -> list[str]:
        return sorted({str(group) for group in self.groups})

    def only(self, group: str) -> Panel:
        """The panel of one group of items."""
        return self._of(self.groups == group)

    def without(self, items: Collection[str]) -> Panel:
        """The panel of the other items."""
        return self._of(~numpy.isin(self.items.astype(str), sorted(items)))

    def _of(self, chosen: NDArray[numpy.bool_]) -> Panel:
        methods = {label: MethodValues(m.seeds, m.values[:, chosen]) for label, m in self.methods.items()}
        per_item = ("items", "groups", "cluster_names", "clusters", "weights")
        arrays = {name: getattr(self, name)[chosen] for name in per_item}
        kept = {label: m for label, m in methods.items() if not numpy.isnan(m.values).all()}
        return replace(self, methods=kept, **arrays)

    def scores_of(self, label: str) -> NDArray[numpy.float64]:
        """(S, n) a method's scores as they were given, of logarithms too; (1, n) of a constant."""
        if label in self.constants:
            return numpy.full((1, self.items.size), self.constants[label])
        values = self.methods[label].values
        return numpy.exp(values) if self.log else values

    def bounds(self) -> tuple[float, float] | None:
        """Smallest and largest score; None without any."""
        values = [m.values[~numpy.isnan(m.values)] for m in self.methods.values()]
        values = [some for some in values if some.size]
        if not values:
            return None
        return min(float(some.min()) for some in values), max(float(some.max()) for some in values)

    @property
    def shares(self) -> bool:
        """Whether every score lies in [0, 1]."""
        bounds = self.bounds()
        return bounds is not None and bounds[0] >= 0 and bounds[1] <= 1

    def scale(self) -> Scale:
        """The range of one item's score: 0/1 scores have unit 1, shares too, others the range seen."""
        bounds = self.bounds()
        if bounds is None:
            return Scale()
        shares = bounds[0] >= 0 and bounds[1] <= 1
        binary = shares and all(
            bool(numpy.isin(m.values[~numpy.isnan(m.values)], (0.0, 1.0)).all()) for m in self.methods.values()
        )
        return Scale(binary=binary, unit=1.0 if shares else bounds[1] - bounds[0])

    @cached_property
    def collapsed(self) -> Mapping[str, str]:
        """Method -> at how many seeds it collapses, with its mean at each, where its seeds are of two kinds."""
        scale, every = self.scale(), {label: self._alone(m) for label, m in self.methods.items()}
        known = {label: one for label, one in every.items() if one is not None}
        shares = self.shares
        below = collapsed_seeds(list(known.values()), replace(scale, bounds=(0.0, 1.0) if shares else None))
        found = {}
        for (label, one), count in zip(known.items(), below, strict=True):
            if count:
                means = one.seed_means
                shown = [f"{100 * mean:.0f}" if shares else f"{mean:.3g}" for mean in means]
                minority = f"collapses at {count} of {one.seeds} seeds" if 2 * count <= one.seeds else _TWO_KINDS
                found[label] = f"{label} {minority}: {' '.join(shown)}{' %' if shares else ''}"
        return found

    def _alone(self, method: MethodValues) -> Scores | None:
        """A method's totals on the items that it has at every seed; None where too few are left."""
        complete: NDArray[numpy.bool_] = numpy.logical_not(numpy.isnan(method.values).any(axis=0))
        if self.reason or not complete.size or complete.mean() < 1 - MOST_MISSING:
            return None
        return self._scores(method.values, complete)

    def comparable(self, labels: Sequence[str]) -> Comparable:
        """Totals of `labels` on common seeds and complete items, or a reason to refuse."""
        if self.reason:
            return Comparable(reason=self.reason)
        absent = [label for label in labels if label not in self.methods]
        if absent and absent[0] in self.constants:
            value = self.constants[absent[0]]
            return Comparable(reason=f"{absent[0]} scores {value:g} on every item, which has no logarithm")
        if absent:
            return Comparable(reason=f"no scores of {absent[0]}")
        common = set.intersection(*(set(self.methods[label].seeds) for label in labels))
        if not common:
            return Comparable(reason="no seed in common")
        seeds = tuple(sorted(common))
        chosen = [at_seeds(self.methods[label], seeds) for label in labels]
        for label, values in zip(labels, chosen, strict=True):
            missing = float(numpy.isnan(values).mean())
            if missing > MOST_MISSING:
                return Comparable(reason=f"{100 * missing:.0f} % of {label}'s scores are missing (most: 5 %)")
        complete: NDArray[numpy.bool_] = numpy.logical_not(numpy.isnan(numpy.concatenate(chosen)).any(axis=0))
        if not complete.any():
            return Comparable(reason="no item in common")
        lost = float((~complete).mean())
        if lost > MOST_MISSING:
            return Comparable(reason=f"{100 * lost:.0f} % of the items lack a score of one of them (most: 5 %)")
        if complete.all():
            scores = tuple(self._whole(label, seeds) for label in labels)
        else:
            scores = tuple(self._named(v, complete, label) for label, v in zip(labels, chosen, strict=True))
        return Comparable(scores, seeds, int(complete.sum()), int((~complete).sum()))

    def _whole(self, label: str, seeds: tuple[int, ...]) -> Scores:
        """A method's totals over all items: cached, since every pair of methods uses them."""
        key = (label, seeds)
        if key not in self._totals:
            every = numpy.ones(self.items.size, dtype=bool)
            self._totals[key] = self._named(at_seeds(self.methods[label], seeds), every, label)
        return self._totals[key]

    def _named(self, values: NDArray[numpy.float64], complete: NDArray[numpy.bool_], label: str) -> Scores:
        found = self._scores(values, complete)
        return replace(found, kin=self.kin.get(label, ""), collapse=self.collapsed.get(label, ""))

    def _scores(self, values: NDArray[numpy.float64], complete: NDArray[numpy.bool_]) -> Scores:
        _, codes = numpy.unique(self.clusters[complete], return_inverse=True)
        weights = self.weights[complete]
        totals = [numpy.bincount(codes, weights=line[complete] * weights) for line in values]
        counts = numpy.bincount(codes, weights=weights).astype(float)
        return Scores(numpy.stack(totals), counts)


def at_seeds(method: MethodValues, seeds: Sequence[int]) -> NDArray[numpy.float64]:
    """(S, n) values at those of its seeds, in their order."""
    return method.values[[method.seeds.index(seed) for seed in seeds]]


def build_panel(
    rows: pandas.DataFrame,
    repeated: Collection[str] = (),
    seeds: Sequence[int] = (),
    kin: Mapping[str, str] | None = None,
) -> Panel:
    """The panel of rows that belong to one metric in one block (columns as in rows.parquet).

    repeated  methods that ran at one seed because no seed changes them: their values count for every one of `seeds`
    kin       method -> seed group, of those that are built on a common artifact
    """
    import pandas

    groups, group_names = pandas.factorize(rows["group"], sort=True)
    items, item_names = pandas.factorize(rows["item"], sort=True)
    keys, firsts, codes = numpy.unique(
        groups.astype(numpy.int64) * max(len(item_names), 1) + items, return_index=True, return_inverse=True
    )
    clusters, cluster_names = pandas.factorize(rows["cluster"], sort=True)
    weights = rows["weight"].to_numpy(dtype=float)
    reason = ""
    if (weights != weights[firsts][codes]).any() or (clusters != clusters[firsts][codes]).any():
        reason = "an item's weight or cluster differs between methods or seeds: nothing can be paired"
    elif not (weights[firsts] > 0).all():
        reason = "an item's weight is not positive"
    methods = {}
    seed_of, values = (rows[name].to_numpy() for name in ("seed", "value"))
    for label, own in sorted(rows.groupby("method", observed=True).indices.items()):
        found = tuple(int(seed) for seed in sorted(set(seed_of[own])))
        table = numpy.full((len(found), len(keys)), numpy.nan)
        table[numpy.searchsorted(found, seed_of[own]), codes[own]] = values[own]
        if label in repeated and len(found) == 1 and len(seeds) > 1:
            found, table = tuple(sorted(seeds)), numpy.repeat(table, len(seeds), axis=0)
        methods[str(label)] = MethodValues(found, table)
    return Panel(
        methods=methods,
        items=numpy.asarray(item_names, dtype=object)[items[firsts]],
        groups=numpy.asarray(group_names, dtype=object)[groups[firsts]],
        cluster_names=numpy.asarray(cluster_names, dtype=object)[clusters[firsts]],
        clusters=clusters[firsts].astype(numpy.int64),
        weights=weights[firsts],
        reason=reason,
        kin=kin or {},
    )


def joined(panels: Sequence[tuple[str, Panel]]) -> Panel:
    """Panels (with their benchmark) joined into one panel of all their items.

    Clusters are shared within a benchmark. A method is kept where every panel has it, on common seeds.
    """
    labels = set.intersection(*(set(panel.methods) for _, panel in panels))
    methods = {}
    for label in sorted(labels):
        common = set.intersection(*(set(panel.methods[label].seeds) for _, panel in panels))
        seeds = tuple(sorted(common))
        if seeds:
            values = [at_seeds(panel.methods[label], seeds) for _, panel in panels]
            methods[label] = MethodValues(seeds, numpy.concatenate(values, axis=1))
    names = [f"{benchmark}\0{name}" for benchmark, panel in panels for name in panel.cluster_names]
    cluster_names = numpy.array(names, dtype=object)
    return Panel(
        methods=methods,
        items=numpy.concatenate([panel.items for _, panel in panels]),
        groups=numpy.concatenate([panel.groups for _, panel in panels]),
        cluster_names=cluster_names,
        clusters=_codes(cluster_names),
        weights=numpy.concatenate([panel.weights for _, panel in panels]),
        reason=next((panel.reason for _, panel in panels if panel.reason), ""),
        kin=panels[0][1].kin,
    )


def _codes(names: NDArray[numpy.object_]) -> NDArray[numpy.int64]:
    _, codes = numpy.unique(names.astype(str), return_inverse=True)
    return codes.astype(numpy.int64)


@dataclass(frozen=True)
class Measured:
    """A panel with what its tests share: the pooled seed variance and the scale of its scores.

    levels  group -> what random answers reach there, where the items say so and groups differ
    """

    metric: BenchmarkMetric
    group: str
    panel: Panel
    pool: SeedPool | None
    scale: Scale
    percent: bool
    levels: Mapping[str, float] = field(default_factory=dict)


def measure(metric: BenchmarkMetric, panel: Panel, group: str = "") -> Measured:
    """Pool the seed variance of all methods on one panel, on the metric's scale."""
    metric, panel = _on_its_scale(metric, panel)
    alone = [panel.comparable([label]) for label in panel.methods]
    bounds = panel.bounds()
    if bounds is None:
        bounds = (metric.chance, metric.chance) if metric.chance is not None else (0.0, 1.0)
    percent = not metric.unit and bounds[0] >= 0 and bounds[1] <= 1
    return Measured(
        metric=metric,
        group=group,
        panel=panel,
        pool=seed_pool([one.scores[0] for one in alone if one.scores]),
        scale=replace(panel.scale(), bounds=(0.0, 1.0) if percent else None),
        percent=percent,
    )


def _on_its_scale(metric: BenchmarkMetric, panel: Panel) -> tuple[BenchmarkMetric, Panel]:
    """The panel in logarithms where the metric asks for them; where scores do not allow that, its unit says so."""
    if metric.scale == "linear" or panel.log:
        return metric, panel
    known = {label: m.values[~numpy.isnan(m.values)] for label, m in panel.methods.items()}
    constants = {
        label: float(values[0]) for label, values in known.items() if values.size and (values == values[0]).all()
    }
    constants = {label: value for label, value in constants.items() if value <= 0}
    varying = [label for label in known if label not in constants]
    unit = f"{metric.unit}, " if metric.unit else ""
    if not varying or any((known[label] <= 0).any() for label in varying):
        return replace(metric, scale="linear", unit=f"{unit}arithmetic mean, as some scores are not above 0"), panel
    methods = {
        label: MethodValues(panel.methods[label].seeds, numpy.log(panel.methods[label].values)) for label in varying
    }
    return (
        replace(metric, unit=f"{unit}geometric mean"),
        replace(panel, methods=methods, constants=constants, log=True),
    )


def levels_of(rows: pandas.DataFrame, metric: str) -> dict[str, float]:
    """Group ("" for all items) -> the mean level of random answers; left out where any item of it says none.

    rows  of one benchmark, with columns as in rows.parquet
    """
    levels = rows[rows["metric"] == CHANCE].drop_duplicates(["group", "item"])
    if levels.empty:
        return {}
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
    """The rows (or samples) of a block, and its cells by (method, benchmark)."""
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
    """The rows (or samples) of a method in the block of `base` and `data`."""
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
        repeated = repeated_methods(matrix, states, benchmark.label)
        for at, metric in enumerate(benchmark.metrics):
            own = of_benchmark[of_benchmark["metric"] == metric.name]
            # the chance level of an item applies to the benchmark's first metric only
            levels = levels_of(of_benchmark, metric.name) if at == 0 and metric.chance is None else {}
            told = replace(metric, chance=levels.get("", metric.chance))
            measured.append(replace(measure(told, build_panel(own, repeated, matrix.seeds, matrix.kin)), levels=levels))
    return measured


def repeated_methods(
    matrix: Matrix, states: Mapping[tuple[str, str], tuple[CellState, ...]], benchmark: str
) -> list[str]:
    """The deterministic methods with one cell for all seeds; a failed seed does not count."""
    return [m.label for m in matrix.methods if m.deterministic and len(states.get((m.label, benchmark), ())) == 1]


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


def _in_group(whole: Measured, group: str) -> BenchmarkMetric:
    return replace(whole.metric, chance=whole.levels.get(group)) if whole.levels else whole.metric


def score_of(one: Measured, label: str) -> Estimate:
    """A method's mean with its pointwise interval; a geometric one where the metric is on the log scale."""
    if label in one.panel.constants:
        return Estimate(one.panel.constants[label], reason="the same on every item")
    found = one.panel.comparable([label])
    if not found.scores:
        return Estimate(None, reason=found.reason)
    estimate = mean(found.scores[0], one.pool, one.scale)
    if not one.metric.against_baseline and _constant(one, label):
        estimate = replace(estimate, low=None, high=None, reason="the same on every item")
    return estimate.of_logarithms("geometric") if one.panel.log else estimate


def _constant(one: Measured, label: str) -> bool:
    values = one.panel.methods[label].values
    return bool((values == values.flat[0]).all())


def difference_of(one: Measured, found: Comparable) -> Estimate:
    """The paired difference of the first method to the second; blank with its reason where they have none.

    On the log scale it is the relative change of the geometric mean.
    """
    if not found.scores:
        return Estimate(None, reason=found.reason)
    estimate = difference(found.scores[0], found.scores[1], one.pool, one.scale)
    return estimate.of_logarithms("ratio") if one.panel.log else estimate
