"""Claims of the literature, tested on the rows of this experiment.

A claim is data (claims.yaml): a linear contrast of means and its expected value. It is tested on every metric that it
is about; if the experiment lacks something for the test, the report names it. Means on the same items are paired;
contrasts on different items are added up as independent. Supported: the two-sided p, Holm-adjusted over all claims
tested here, is below 5 % on the side that the claim expects; contradicted: on the other side; undecided otherwise.
Fewer than 5 effective clusters, or one seed, decide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.engine.registry import plugin_folder
from harness.records import DataChoice
from harness.report.collect import ReportModel
from harness.report.numbers.comparisons import claimable
from harness.report.numbers.matrix import BenchmarkMetric, Matrix, MethodInfo
from harness.report.numbers.panel import Measured, build_panel, measure
from harness.report.render import tabular, text
from harness.report.render.document import Folded, Paragraph, Part
from harness.report.render.tabular import Column, Mood, Table, TableCell, blank_cell, estimate_cell, text_columns
from harness.stats.contrasts import FLAGGED_CLUSTERS, Estimate, contrast
from harness.stats.families import LEVEL, holm, independent_sum

if TYPE_CHECKING:
    import pandas


Verdict = Literal["supported", "contradicted", "undecided", "not testable"]


@dataclass(frozen=True)
class Claimed:
    """A claim tried on one metric: the contrast, its estimate and what follows; `missing` where it was not.

    contrast  in words; bound: what the estimate is held against; p: Holm-adjusted over all claims tried
    """

    name: str
    source: str
    statement: str
    verdict: Verdict
    where: str = ""
    contrast: str = ""
    bound: str = ""
    estimate: Estimate | None = None
    percent: bool = True
    p: float | None = None
    missing: str = ""


SHIPPED = plugin_folder("methods") / "claims.yaml"


class NotTestable(Exception):
    """The experiment lacks something that a claim needs; the message says what."""


@dataclass(frozen=True)
class Term:
    """weight * mean of a method at a place, on the items of a metric or of one group of it."""

    weight: float
    label: str
    shown: str
    metric: BenchmarkMetric
    group: str


def claims_of(
    rows: pandas.DataFrame, matrix: Matrix, artifacts: Sequence[Mapping[str, Any]], file: Path = SHIPPED
) -> tuple[Claimed, ...]:
    """Every claim of `file` on every metric that it is about, in the file's order."""
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    bench = _Bench(rows, matrix, artifacts, document.get("tuned", []))
    tried = [one for claim in document["claims"] for one in bench.tried(claim)]
    return tuple(_decided(tried))


class _Bench:
    """The rows of an experiment, arranged so that any two places of the matrix can be paired."""

    def __init__(
        self, rows: pandas.DataFrame, matrix: Matrix, artifacts: Sequence[Mapping[str, Any]], tuned: Sequence[str]
    ) -> None:
        self.rows, self.matrix, self.artifacts, self.tuned = rows, matrix, artifacts, tuned
        self.measured = cache(self._measured)

    def tried(self, claim: Mapping[str, Any]) -> Iterator[tuple[Claimed, Mapping[str, Any]]]:
        """The claim once for each base and metric, with its expectation resolved; or what is missing."""
        said = Claimed(claim["name"], claim["source"], claim["statement"], "not testable")
        claim = _spelled_out(claim)
        try:
            self._require(claim)
            contrasts = [(base, *found) for base in self._bases(claim) for found in self._contrasts(claim, base)]
        except NotTestable as error:
            yield replace(said, missing=str(error)), {}
            return
        for base, terms, oriented in contrasts:
            if not _sets(terms):
                yield replace(said, missing=f"it would compare {terms[0].shown} with itself"), {}
                continue
            yield self._one(said, claim, base, terms, oriented)

    def _one(
        self, said: Claimed, claim: Mapping[str, Any], base: str, terms: Sequence[Term], oriented: bool
    ) -> tuple[Claimed, Mapping[str, Any]]:
        metrics = {term.metric.title: term.metric for term in terms}
        sign = -1.0 if oriented and not terms[0].metric.higher_is_better else 1.0
        kind, bound = next((kind, self._bound(value)) for kind, value in claim["expects"].items())
        several = len(self.matrix.bases) > 1
        claimed = replace(
            said,
            verdict="undecided",
            where=" and ".join(metrics) + (f", {base}" if several else ""),
            contrast=_in_words(terms),
            estimate=self._estimate(terms, sign),
            percent=all(self.measured(t.metric.title, t.group).percent for t in terms),
        )
        return claimed, {"kind": kind, "bound": bound}

    def _bound(self, value: Any) -> float:
        named = {"margin": self.matrix.margin, "-margin": -self.matrix.margin}
        return float(named.get(value, value))

    # ---- what a claim needs

    def _require(self, claim: Mapping[str, Any]) -> None:
        wanted = claim.get("requires")
        if not wanted:
            return
        first, second = (self._parameters(plugin) for plugin in wanted["parameters"])
        if first > wanted["at_most"] * second:
            raise NotTestable(
                f"{wanted['parameters'][0]} trains {100 * first / second:.3g} % of the parameters of "
                f"{wanted['parameters'][1]}, and the claim is about {100 * wanted['at_most']:g} % at most"
            )

    def _parameters(self, plugin: str) -> float:
        label = self._method(plugin, small=False).label
        counts = [a.get("trained_parameters") for a in self.artifacts if a["method"] == label]
        known = [float(count) for count in counts if count]
        if not known:
            raise NotTestable(f"the ledger has no trained parameters of {label}")
        return sum(known) / len(known)

    def _bases(self, claim: Mapping[str, Any]) -> tuple[str, ...]:
        """Each base, or the first where the claim itself is about two models."""
        if any("model" in term for term in claim["terms"]):
            return self.matrix.bases[:1]
        return self.matrix.bases

    def _contrasts(self, claim: Mapping[str, Any], base: str) -> Iterator[tuple[list[Term], bool]]:
        """The claim's terms on each metric that it is about, and whether they are oriented so that higher is better."""
        if "where" not in claim:
            yield [self._term(raw, base, self._metrics(raw["where"])[0]) for raw in claim["terms"]], True
            return
        where = claim["where"]
        for metric in self._metrics(where):
            yield [self._term(raw, base, metric, where.get("group", "")) for raw in claim["terms"]], "role" in where

    def _metrics(self, where: Mapping[str, Any]) -> list[BenchmarkMetric]:
        wanted = where.get("metric", [])
        names = [wanted] if isinstance(wanted, str) else wanted
        found = [
            metric
            for benchmark in self.matrix.benchmarks
            for metric in benchmark.metrics
            if benchmark.plugin in where.get("plugin", [benchmark.plugin])
            and (metric.name in names if names else metric.primary and metric.role == where["role"])
        ]
        if not found:
            of = f" of {' or '.join(where['plugin'])}" if "plugin" in where else ""
            said = f"metric {' or '.join(names)}" if names else f"primary {where['role']} metric"
            raise NotTestable(f"no {said}{of} in the experiment")
        return found

    def _term(self, raw: Mapping[str, Any], base: str, metric: BenchmarkMetric, group: str = "") -> Term:
        model, small = self._model(raw.get("model"), base)
        method = self._method(raw["method"], small)
        place, data = self.matrix.place(method, model, self._data(raw))
        group = str(raw.get("where", {}).get("group", group))
        shown = ", ".join(part for part in (method.label, _said(raw, data), place if "model" in raw else "") if part)
        shown += f" ({group})" if group else ""
        label = _label(place, method.label, data)
        if label not in self.measured(metric.title, group).panel.methods:
            raise NotTestable(f"no scores of {shown} on {metric.title}")
        return Term(float(raw["weight"]), label, shown, metric, group)

    def _method(self, name: str, small: bool) -> MethodInfo:
        """The method that a claim names; of several the reference, then the one labelled like its plugin."""
        roles = {"baseline": self.matrix.baseline, "reference": self.matrix.reference}
        if name == "tuned":
            reference = next((m for m in self.matrix.methods if m.label == self.matrix.reference), None)
            if reference is not None and reference.plugin in self.tuned and not small:
                return reference
            names = [n for n in self.tuned if self._candidates(n, small)]
            if not names:
                raise NotTestable("no tuned method in the experiment")
            name = names[0]
        if name in roles and not small:
            found = [m for m in self.matrix.methods if m.label == roles[name]]
        else:
            found = self._candidates(name, small)
        if not found:
            raise NotTestable(f"no {name}{' on the smaller model' if small else ''} in the experiment")
        return min(found, key=lambda m: (m.label != self.matrix.reference, m.label != m.plugin))

    def _candidates(self, plugin: str, small: bool) -> list[MethodInfo]:
        return [m for m in self.matrix.methods if m.plugin == plugin and m.on_small_base == small]

    def _model(self, wanted: str | None, base: str) -> tuple[str, bool]:
        """(base label, whether it is the small base)."""
        if wanted is None:
            return base, False
        sizes = {str(a["base"]): float(a["total_parameters"]) for a in self.artifacts if a.get("total_parameters")}
        models = [m for m in (*self.matrix.bases, self.matrix.small_base) if m in sizes]
        if len(set(models)) < 2:
            raise NotTestable("one model only")
        chosen = (max if wanted == "larger" else min)(models, key=lambda model: sizes[str(model)])
        return str(chosen), chosen == self.matrix.small_base and chosen not in self.matrix.bases

    def _data(self, raw: Mapping[str, Any]) -> DataChoice:
        sizes = sorted(self.matrix.data_sizes, key=lambda size: (size == 0, size))
        qualities = self.matrix.data_qualities
        if "size" in raw and len(sizes) < 2:
            raise NotTestable("one size of training data only")
        if "quality" in raw and len(qualities) < 2:
            raise NotTestable("one quality of training data only")
        size = {"largest": sizes[-1], "next": sizes[-2:][0], "smallest": sizes[0]}[raw.get("size", "largest")]
        return DataChoice(qualities[1 if raw.get("quality") == "second" else 0], size)

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

    def _estimate(self, terms: Sequence[Term], sign: float) -> Estimate:
        """Terms on the same items are one paired contrast; those on different items are added up."""
        found = [self._paired(key, weights, sign) for key, weights in _sets(terms).items()]
        return found[0] if len(found) == 1 else independent_sum([(1.0, one) for one in found])

    def _paired(self, key: tuple[str, str], weights: Mapping[str, float], sign: float) -> Estimate:
        one = self.measured(*key)
        found = one.panel.comparable(list(weights))
        if not found.scores:
            return Estimate(None, reason=found.reason)
        return contrast(found.scores, [sign * weight for weight in weights.values()], one.pool, one.scale)


def _spelled_out(claim: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where one term names its size or quality, so do all: '1,000 examples' against '30 examples'."""
    defaults = {"size": "largest", "quality": "first"}
    named = {name: value for name, value in defaults.items() if any(name in term for term in claim["terms"])}
    return {**claim, "terms": [{**named, **term} for term in claim["terms"]]}


def _sets(terms: Sequence[Term]) -> dict[tuple[str, str], dict[str, float]]:
    """(metric, group) -> label -> weight; what cancels, because two names mean one method, is left out."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for term in terms:
        weights = found.setdefault((term.metric.title, term.group), {})
        weights[term.label] = weights.get(term.label, 0.0) + term.weight
    kept = {key: {label: weight for label, weight in own.items() if weight} for key, own in found.items()}
    return {key: own for key, own in kept.items() if own}


def _label(base: str, method: str, data: DataChoice) -> str:
    return f"{base}\0{method}\0{data.quality}\0{data.size}"


def _said(raw: Mapping[str, Any], data: DataChoice) -> str:
    parts = [f"{data.size:,} examples" if data.size else "all examples"] if "size" in raw else []
    return ", ".join([*parts, *([data.quality] if "quality" in raw else [])])


def _in_words(terms: Sequence[Term]) -> str:
    parts = []
    for term in terms:
        times = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} × "
        parts.append(f"{'+' if term.weight > 0 else '−'} {times}{term.shown}")
    return " ".join(parts).removeprefix("+ ")


# ---- verdicts


def _decided(tried: Sequence[tuple[Claimed, Mapping[str, Any]]]) -> Iterator[Claimed]:
    """Holm over all claims that could be tried, then the side on which each falls."""
    several = any(one.estimate is not None and one.estimate.seeds > 1 for one, _ in tried)
    sides = [_sides(one.estimate, **held) if held and one.estimate is not None else None for one, held in tried]
    allowed = [
        min(1.0, 2 * min(pair))
        if pair is not None and one.estimate is not None and several and claimable(one.estimate, several)
        else None
        for (one, _), pair in zip(tried, sides, strict=True)
    ]
    family = [at for at, (_, held) in enumerate(tried) if held]
    adjusted = dict(zip(family, holm([allowed[at] for at in family]), strict=True))
    for at, (one, held) in enumerate(tried):
        if not held:
            yield one
            continue
        verdict = _verdict(adjusted[at], sides[at])
        yield replace(
            one,
            p=adjusted[at],
            verdict=verdict,
            missing=_reason(one.estimate),
            bound=_bound_in_words(held["kind"], held["bound"], one.percent),
            estimate=_together(one.estimate, verdict, held["kind"], held["bound"], LEVEL / len(family)),
        )


def _together(estimate: Estimate | None, verdict: Verdict, kind: str, bound: float, level: float) -> Estimate | None:
    """The estimate with an interval that holds together with those of all claims; a decided one ends at its bound."""
    interval = estimate.interval(level) if estimate is not None else None
    if estimate is None or interval is None:
        return estimate
    low, high = interval
    if kind != "within" and verdict in ("supported", "contradicted"):
        upper = (kind == "above") == (verdict == "supported")
        low, high = (max(low, bound), high) if upper else (low, min(high, bound))
    return replace(estimate, low=low, high=high)


def _sides(estimate: Estimate, kind: str, bound: float) -> tuple[float, float] | None:
    """One-sided p of the claim's denial, and of the claim itself."""
    if estimate.value is None or estimate.p is None:
        return None
    turned = replace(estimate, value=-estimate.value)

    def denies(low: float) -> float:
        return float(estimate.p_above(low) or 0.0)

    def asserts(high: float) -> float:
        return float(turned.p_above(-high) or 0.0)

    if kind == "above":
        return denies(bound), asserts(bound)
    if kind == "below":
        return asserts(bound), denies(bound)
    return max(denies(-bound), asserts(bound)), min(asserts(-bound), denies(bound))


def _verdict(p: float | None, sides: tuple[float, float] | None) -> Verdict:
    if p is None or sides is None or p >= LEVEL:
        return "undecided"
    return "supported" if sides[0] < sides[1] else "contradicted"


def _reason(estimate: Estimate | None) -> str:
    if estimate is None or estimate.p is None:
        return estimate.reason if estimate is not None else "no estimate"
    if estimate.items_only:
        return "one seed: it describes these trained runs only"
    return f"fewer than {FLAGGED_CLUSTERS} effective clusters" if estimate.few_clusters else ""


def _bound_in_words(kind: str, bound: float, percent: bool) -> str:
    if kind == "within":
        return f"within ±{tabular.points(bound, percent)}"
    return f"{kind} {tabular.score_text(bound, percent)}"


MOODS: dict[Verdict, Mood] = {"supported": "good", "contradicted": "bad", "undecided": "open", "not testable": "blank"}


COLUMNS = (
    *text_columns("claim", "statement", "verdict"), Column("effect", "95 % intervals, together"), Column("expected"),
    Column("p", "Holm"), Column("tested as", left=True),
)  # fmt: skip


def claim_parts(model: ReportModel) -> Iterator[Part]:
    """The claims that these rows can test, then those that they cannot."""
    claims = claims_of(model.rows, model.matrix, model.ledger)
    tried = [claim for claim in claims if claim.verdict != "not testable"]
    counted = Counter(claim.verdict for claim in claims)
    said = [f"{counted[verdict]} {verdict}" for verdict in MOODS if counted[verdict]]
    if said:
        yield Paragraph(f"Claims of the literature, tested on these rows: {text.listed(said)}.")
    if tried:
        yield Paragraph(
            f"Supported or contradicted: after Holm's correction over the {len(tried)} tests (5 % family-wise). "
            "The intervals hold all together with 95 %. A contradiction holds for this experiment; it does not "
            "refute the source.",
            "open",
        )
        yield Table(COLUMNS, tuple(_row(claim) for claim in tried))
    rest = [claim for claim in claims if claim.verdict == "not testable"]
    if rest:
        head = text_columns("claim", "statement", "missing here")
        rows = tuple(
            (TableCell(c.name, note=c.source), TableCell(c.statement, small=c.source), TableCell(c.missing))
            for c in rest
        )
        yield Folded(f"{len(rest)} that this experiment cannot test", Table(head, rows))


def _row(claim: Claimed) -> tuple[TableCell, ...]:
    effect = blank_cell()
    if claim.estimate is not None and claim.estimate.value is not None:
        shown = estimate_cell(claim.estimate, claim.percent, signed=True)
        effect = replace(shown, small="points" if claim.percent else "")
    return (
        TableCell(claim.name, note=claim.source),
        TableCell(claim.statement, small=claim.source),
        TableCell(claim.verdict, small=text.one_line(claim.missing, 80), mood=MOODS[claim.verdict]),
        effect,
        TableCell(claim.bound),
        TableCell(tabular.p_value(claim.p)),
        TableCell(claim.contrast, small=claim.where),
    )
