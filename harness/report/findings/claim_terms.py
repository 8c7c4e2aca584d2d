"""The terms of a claim on the rows of an experiment: which methods, data and metrics it means, and its estimate.

Any two places of the matrix (base, method, choice of data) can be paired, since each counts as a method of its own.
Means on the same items are one paired contrast; contrasts on different items are added up as independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from harness.engine.claims_file import Claim, MetricChoice, TermChoice
from harness.records import DataChoice
from harness.report.numbers.matrix import BenchmarkMetric, Matrix, MethodInfo
from harness.report.numbers.panel import Measured, build_panel, measure
from harness.stats.contrasts import Scale, contrast
from harness.stats.families import independent_sum
from harness.stats.intervals import Estimate, with_interval

if TYPE_CHECKING:
    import pandas


class NotTestable(Exception):
    """The experiment lacks something that a claim needs; the message says what."""


class NotCompetent(NotTestable):
    """A method that the claim needs scores no better than random answers: known from the rows, not from the design."""


@dataclass(frozen=True)
class Term:
    """weight * mean of a method at a place, on the items of a metric or of one group of it.

    said  the weight as the claim writes it; 0 for the further methods of a slope, which are said with the first
    """

    weight: float
    label: str
    shown: str
    metric: BenchmarkMetric
    group: str
    said: float


class ClaimBench:
    """The rows of an experiment, arranged so that any two places of the matrix can be paired."""

    def __init__(
        self, rows: pandas.DataFrame, matrix: Matrix, artifacts: Sequence[Mapping[str, Any]], tuned: Sequence[str]
    ) -> None:
        self.rows, self.matrix, self.artifacts, self.tuned = rows, matrix, artifacts, tuned
        self.measured = cache(self._measured)

    def contrasts(self, claim: Claim) -> Iterator[tuple[str, list[Term], bool]]:
        """(base, terms, whether they are oriented so that higher is better) on each metric that the claim is about."""
        for base in self.matrix.bases[:1] if claim.about_models else self.matrix.bases:
            for terms, oriented in self._on_metrics(claim, base):
                _check_apart(terms)
                yield base, terms, oriented

    def _on_metrics(self, claim: Claim, base: str) -> Iterator[tuple[list[Term], bool]]:
        choices = spelled_out(claim.terms)
        if any(choice.where for choice in choices):
            wheres = [choice.where or MetricChoice() for choice in choices]
            found = [
                self._terms(choice, base, self._metrics(where)[0], choice.group or where.group)
                for choice, where in zip(choices, wheres, strict=True)
            ]
            yield [term for terms in found for term in terms], True
            return
        where = claim.where or MetricChoice()
        for metric in self._metrics(where):
            found = [self._terms(choice, base, metric, choice.group or where.group) for choice in choices]
            yield [term for terms in found for term in terms], where.role is not None

    def _metrics(self, where: MetricChoice) -> list[BenchmarkMetric]:
        found = [
            metric
            for benchmark in self.matrix.benchmarks
            for metric in benchmark.metrics
            if not where.plugin or benchmark.plugin in where.plugin
            if (metric.name in where.metric if where.metric else metric.primary and metric.role == where.role)
        ]
        if not found:
            of = f" of {' or '.join(where.plugin)}" if where.plugin else ""
            said = f"metric {' or '.join(where.metric)}" if where.metric else f"primary {where.role} metric"
            raise NotTestable(f"no {said}{of} in the experiment")
        return found

    # ---- what a claim needs

    def require(self, claim: Claim) -> None:
        """Raises NotTestable where the first method trains more parameters than the claim is about."""
        wanted = claim.requires
        if not wanted or not wanted.parameters:
            return
        first, second = (self._parameters(plugin) for plugin in wanted.parameters)
        if first > wanted.at_most * second:
            raise NotTestable(
                f"{wanted.parameters[0]} trains {100 * first / second:.3g} % of the parameters of "
                f"{wanted.parameters[1]}, and the claim is about {100 * wanted.at_most:g} % at most"
            )

    def _parameters(self, plugin: str) -> float:
        label = self._method(TermChoice(method=plugin), small=False).label
        counts = [a.get("trained_parameters") for a in self.artifacts if a["method"] == label]
        known = [float(count) for count in counts if count]
        if not known:
            raise NotTestable(f"the ledger has no trained parameters of {label}")
        return sum(known) / len(known)

    def require_competence(self, claim: Claim, base: str, metrics: Sequence[BenchmarkMetric]) -> None:
        """Raises NotCompetent where a method that the claim rests on does not beat random answers on the metrics."""
        if not claim.requires:
            return
        for metric in dict.fromkeys(metrics):
            level, least = metric.chance or 0.0, claim.requires.at_least
            for arm in claim.requires.competence:
                (term,) = self._terms(arm, base, metric, "")
                one = self.measured(metric.title, "")
                found = one.panel.comparable([term.label])
                if not one.percent or not metric.higher_is_better or not found.scores:
                    continue
                if found.scores[0].mean < level + least:
                    raise NotCompetent(
                        f"{term.shown} scores {100 * found.scores[0].mean:.1f} on {metric.title}, and random answers "
                        f"{100 * level:.1f}: the claim needs {100 * least:g} points more"
                    )

    # ---- what a term chooses

    def _terms(self, choice: TermChoice, base: str, metric: BenchmarkMetric, group: str) -> list[Term]:
        """The term's methods with their weights; several where it is a slope."""
        if choice.slope is None:
            return [self._term(choice, base, metric, group, choice.weight, None)]
        steps = self._steps(choice, base)
        logs = [math.log2(value) for value, _ in steps]
        centre = sum(logs) / len(logs)
        square = sum((x - centre) ** 2 for x in logs)
        weights = [choice.weight * (x - centre) / square for x in logs]
        found = [
            self._term(one, base, metric, group, weight, method)
            for weight, (_, (one, method)) in zip(weights, steps, strict=True)
        ]
        small = self._model(choice.model, base)[1]
        whose = self._method(choice, small).label if choice.slope == "size" else choice.method
        named = f"slope of {whose} per doubling of {choice.slope}"
        shown = f"{named} ({', '.join(f'{value:,g}' for value, _ in steps)})" + (f" ({group})" if group else "")
        return [replace(term, shown=shown, said=0.0 if at else choice.weight) for at, term in enumerate(found)]

    def _steps(self, choice: TermChoice, base: str) -> list[tuple[float, tuple[TermChoice, MethodInfo | None]]]:
        """The values of a slope's axis in order, each with the term at it."""
        if choice.slope == "size":
            # the size 0 is all rows, of which the matrix does not know the number
            sizes = sorted(size for size in self.matrix.data_sizes if size)
            if len(sizes) < 2:
                raise NotTestable("fewer than two sizes of training data with a known number")
            return [(float(size), (replace(choice, size=size), None)) for size in sizes]
        field = str(choice.slope)
        small = self._model(choice.model, base)[1]
        names = self.tuned if choice.method == "tuned" else [str(choice.method)]
        methods = [m for name in names for m in self._candidates(name, small) if _matches(m, choice.having)]
        values = [(m.fields.get(field), m) for m in methods]
        known = [(float(v), m) for v, m in values if isinstance(v, (int, float)) and not isinstance(v, bool) and v > 0]
        if len({value for value, _ in known}) < 2:
            raise NotTestable(f"fewer than two values of {field} among the methods {choice.method}")
        return [(value, (choice, m)) for value, m in sorted(known, key=lambda pair: pair[0])]

    def _term(
        self,
        choice: TermChoice,
        base: str,
        metric: BenchmarkMetric,
        group: str,
        weight: float,
        method: MethodInfo | None,
    ) -> Term:
        model, small = self._model(choice.model, base)
        method = method or self._method(choice, small)
        if choice.part:
            method = self._part(method, choice.part)
        place, data = self.matrix.place(method, model, self._data(choice))
        said = (method.label, _said(choice, data), place if choice.model else "")
        shown = ", ".join(part for part in said if part) + (f" ({group})" if group else "")
        label = _label(place, method.label, data)
        if label not in self.measured(metric.title, group).panel.methods:
            raise NotTestable(f"no scores of {shown} on {metric.title}")
        return Term(weight, label, shown, metric, group, weight)

    def _method(self, choice: TermChoice, small: bool) -> MethodInfo:
        """The method that a term names; of several the reference, then the one labelled like its plugin."""
        if choice.label is not None:
            found = [m for m in self.matrix.methods if m.label == choice.label]
            if not found:
                raise NotTestable(f"no method labelled {choice.label} in the experiment")
        else:
            found = self._by_plugin(str(choice.method), small, choice.having)
        fitting = [m for m in found if _matches(m, choice.having)]
        if not fitting:
            wanted = ", ".join(f"{name}: {value}" for name, value in choice.having.items())
            raise NotTestable(f"no {choice.label or choice.method} with {wanted} in the experiment")
        return min(fitting, key=lambda m: (m.label != self.matrix.reference, m.label != m.plugin))

    def _by_plugin(self, name: str, small: bool, having: Mapping[str, Any]) -> list[MethodInfo]:
        roles = {"baseline": self.matrix.baseline, "reference": self.matrix.reference}
        if name == "tuned":
            reference = [m for m in self.matrix.methods if m.label == self.matrix.reference]
            if reference and reference[0].plugin in self.tuned and not small and _matches(reference[0], having):
                return reference
            known = [self._candidates(plugin, small) for plugin in self.tuned]
            found = next((some for some in known if any(_matches(m, having) for m in some)), None)
            if found is None:
                raise NotTestable("no tuned method in the experiment")
            return found
        if name in roles and not small:
            found = [m for m in self.matrix.methods if m.label == roles[name]]
        else:
            found = self._candidates(name, small)
        if not found:
            raise NotTestable(f"no {name}{' on the smaller model' if small else ''} in the experiment")
        return found

    def _candidates(self, plugin: str, small: bool) -> list[MethodInfo]:
        return [m for m in self.matrix.methods if m.plugin == plugin and m.on_small_base == small]

    def _part(self, method: MethodInfo, name: str) -> MethodInfo:
        """The row of the method that a recorded field of `method` holds; of several the first."""
        held = method.fields.get(name)
        held = held[0] if isinstance(held, list) and held else held
        if not isinstance(held, Mapping) or len(held) != 1:
            raise NotTestable(f"{method.label} has no {name}")
        ((plugin, own),) = held.items()
        found = [m for m in self.matrix.methods if m.plugin == plugin and dict(m.fields) == dict(own or {})]
        # one artifact, so one seed group, where the same method also runs on another base
        kin = [m for m in found if m.seed_group and m.seed_group == method.seed_group] or found
        if not kin:
            raise NotTestable(f"the {name} of {method.label} has no row, so that its competence is not known")
        return kin[0]

    def _model(self, wanted: str | None, base: str) -> tuple[str, bool]:
        """(base label, whether it is the small base)."""
        if wanted is None:
            return base, False
        if wanted not in ("larger", "smaller"):
            if wanted not in (*self.matrix.bases, self.matrix.small_base):
                raise NotTestable(f"no model {wanted} in the experiment")
            return wanted, wanted not in self.matrix.bases
        sizes = {str(a["base"]): float(a["total_parameters"]) for a in self.artifacts if a.get("total_parameters")}
        models = [m for m in (*self.matrix.bases, self.matrix.small_base) if m in sizes]
        if len(set(models)) < 2:
            raise NotTestable("one model only")
        chosen = (max if wanted == "larger" else min)(models, key=lambda model: sizes[str(model)])
        return str(chosen), chosen == self.matrix.small_base and chosen not in self.matrix.bases

    def _data(self, choice: TermChoice) -> DataChoice:
        return DataChoice(self._quality(choice.quality), self._size(choice.size))

    def _size(self, wanted: int | str | None) -> int:
        sizes = sorted(self.matrix.data_sizes, key=lambda size: (size == 0, size))
        if isinstance(wanted, int):
            if wanted not in sizes:
                raise NotTestable(f"no training on {wanted:,} examples in the experiment")
            return wanted
        if wanted is not None and len(sizes) < 2:
            raise NotTestable("one size of training data only")
        return {"largest": sizes[-1], "next": sizes[-2:][0], "smallest": sizes[0]}[wanted or "largest"]

    def _quality(self, wanted: str | None) -> str:
        qualities, order = self.matrix.data_qualities, self.matrix.quality_order
        if wanted is None:
            return qualities[0]
        if wanted in qualities and wanted not in ("first", "second", "better", "worse"):
            return wanted
        if wanted not in ("first", "second", "better", "worse"):
            raise NotTestable(f"no training data called {wanted} in the experiment")
        if len(qualities) < 2:
            raise NotTestable("one quality of training data only")
        if wanted in ("first", "second"):
            return qualities[wanted == "second"]
        if not order:
            raise NotTestable("the experiment declares no order of quality")
        return order[wanted]

    # ---- numbers

    def _measured(self, title: str, group: str) -> Measured:
        """One metric over every place of the matrix, each taken for a method of its own."""
        metric = next(m for b in self.matrix.benchmarks for m in b.metrics if m.title == title)
        if group:
            whole = self.measured(title, "")
            if group not in whole.panel.group_names:
                raise NotTestable(f"no group {group} in {title}")
            return replace(measure(metric, whole.panel.only(group), group), percent=whole.percent)
        own = self.rows[(self.rows["benchmark"] == metric.benchmark) & (self.rows["metric"] == metric.name)]
        names = ("base", "method", "data_quality", "data_size")
        places = own[list(names)].itertuples(index=False, name=None)
        labels = [_label(base, method, DataChoice(quality, size)) for base, method, quality, size in places]
        fixed = {m.label for m in self.matrix.methods if m.deterministic}
        repeated = {label for label in set(labels) if label.split("\0")[1] in fixed}
        kin = {label: self._kin(label) for label in set(labels)}
        return measure(metric, build_panel(own.assign(method=labels), repeated, self.matrix.seeds, kin))

    def _kin(self, label: str) -> str:
        """The seed group of a place: methods share artifacts on one base and one choice of training data."""
        base, method, *data = label.split("\0")
        group = self.matrix.kin.get(method, "")
        return "\0".join([base, group, *data]) if group else ""

    def percent(self, terms: Sequence[Term]) -> bool:
        """Whether all terms are shares."""
        return all(self.measured(term.metric.title, term.group).percent for term in terms)

    def estimate(self, terms: Sequence[Term], sign: float) -> Estimate:
        """Terms on the same items are one paired contrast; those on different items are added up."""
        found = [self._paired(key, weights, sign) for key, weights in sets_of(terms).items()]
        return found[0] if len(found) == 1 else independent_sum([(1.0, one) for one in found])

    def _paired(self, key: tuple[str, str], weights: Mapping[str, float], sign: float) -> Estimate:
        one = self.measured(*key)
        found = one.panel.comparable(list(weights))
        if not found.scores:
            return Estimate(None, reason=found.reason)
        return contrast(found.scores, [sign * weight for weight in weights.values()], one.pool, one.scale)

    def on_logits(self, terms: Sequence[Term], sign: float) -> Estimate:
        """The same contrast of logits of the means, by the delta method; blank where a mean is 0 or 1."""
        shown = {term.label: term.shown for term in terms}
        found = [self._logits(key, weights, sign, shown) for key, weights in sets_of(terms).items()]
        return found[0] if len(found) == 1 else independent_sum([(1.0, one) for one in found])

    def _logits(
        self, key: tuple[str, str], weights: Mapping[str, float], sign: float, shown: Mapping[str, str]
    ) -> Estimate:
        one = self.measured(*key)
        found = one.panel.comparable(list(weights))
        if not found.scores:
            return Estimate(None, reason=found.reason)
        means = [part.mean for part in found.scores]
        for label, mean in zip(weights, means, strict=True):
            if mean <= 0 or mean >= 1:
                return Estimate(None, reason=f"{shown[label]} is at {100 * mean:.0f} %, where logits have no value")
        slopes = [sign * k / (m * (1 - m)) for k, m in zip(weights.values(), means, strict=True)]
        # the floor of the items' variance grows with the coefficients
        steepest = max(abs(slope) for slope in slopes)
        scale = Scale(one.scale.binary, one.scale.unit * steepest)
        linear = contrast(found.scores, slopes, one.pool, scale)
        value = sum(sign * k * math.log(m / (1 - m)) for k, m in zip(weights.values(), means, strict=True))
        return with_interval(replace(linear, value=value, limits=None, discordant=None))


def is_interaction(terms: Sequence[TermChoice]) -> bool:
    """Whether a difference of differences is asked, which depends on the scale of the scores."""
    return len(terms) >= 4 or sum(term.slope is not None for term in terms) >= 2


def spelled_out(terms: Sequence[TermChoice]) -> tuple[TermChoice, ...]:
    """Where one term names its size or quality, so do all: '1,000 examples' against '30 examples'."""
    sized = any(term.size is not None for term in terms)
    other = "better" if any(term.quality in ("better", "worse") for term in terms) else "first"
    named = any(term.quality is not None for term in terms)
    return tuple(
        replace(
            term,
            size=term.size if term.size is not None or not sized or term.slope == "size" else "largest",
            quality=term.quality or (other if named else None),
        )
        for term in terms
    )


def sets_of(terms: Sequence[Term]) -> dict[tuple[str, str], dict[str, float]]:
    """(metric, group) -> label -> weight; what cancels, because two names mean one method, is left out."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for term in terms:
        weights = found.setdefault((term.metric.title, term.group), {})
        weights[term.label] = weights.get(term.label, 0.0) + term.weight
    kept = {key: {label: weight for label, weight in own.items() if abs(weight) > 1e-12} for key, own in found.items()}
    return {key: own for key, own in kept.items() if own}


def _check_apart(terms: Sequence[Term]) -> None:
    """Raises NotTestable where sets of items that would be added up as independent have items in common."""
    places = dict.fromkeys((term.metric.benchmark, term.metric.name, term.group) for term in terms)
    for (benchmark, name, group), (other, another, second) in combinations(places, 2):
        if benchmark == other and (group == second or not group or not second):
            what = f"{name} and {another}" if name != another else f"all items and the group {group or second}"
            raise NotTestable(f"{what} of {benchmark} have items in common, and such contrasts are not paired")


def in_words(terms: Sequence[Term]) -> str:
    """The contrast as a sum, with the names of the report."""
    parts = []
    for term in terms:
        if term.said:
            times = "" if abs(term.said) == 1 else f"{abs(term.said):g} × "
            parts.append(f"{'+' if term.said > 0 else '−'} {times}{term.shown}")
    return " ".join(parts).removeprefix("+ ")


def _label(base: str, method: str, data: DataChoice) -> str:
    return f"{base}\0{method}\0{data.quality}\0{data.size}"


def _said(choice: TermChoice, data: DataChoice) -> str:
    size = f"{data.size:,} examples" if data.size else "all examples"
    return ", ".join([*([size] if choice.size else []), *([data.quality] if choice.quality else [])])


def _matches(method: MethodInfo, having: Mapping[str, Any]) -> bool:
    """Whether the method's recorded fields have these values."""
    return all(name in method.fields and method.fields[name] == value for name, value in having.items())
