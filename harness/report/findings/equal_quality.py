"""Knowledge at equal quality: sweeps of one setting, compared where their quality is the same.

A sweep is several methods of one plugin that differ in a single numeric field, such as the learning rate. A method with
a lower rate follows less and forgets less, so that methods are fair to compare only at equal following. Specification:
docs/statistics.md, section 21.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy

from harness.report.collect import Block
from harness.report.numbers.matrix import MethodInfo
from harness.report.numbers.panel import Comparable, Measured, joined, measure, score_of
from harness.report.render import tabular, text
from harness.report.render.axes import Front, Point, draw_fronts
from harness.report.render.bands import axis_title, in_plain
from harness.report.render.document import Folded, Paragraph, Part, Picture
from harness.report.render.tabular import Column, Table, TableCell, blank_cell, estimate_cell, text_columns
from harness.stats.intervals import Estimate
from harness.stats.matched import FEWEST_SEEDS, Matched, Metrics, Setting, matched_difference, round_levels

MOST_PICTURES = 6
MOST_OPEN_ROWS = 15
JOINED = "all knowledge"


@dataclass(frozen=True)
class Sweep:
    """Methods of one plugin that differ in `field` alone, in its order; `name` tells it from the other sweeps."""

    name: str
    field: str
    methods: tuple[MethodInfo, ...]

    @property
    def on_small_base(self) -> bool:
        return self.methods[0].on_small_base

    def only(self, labels: Sequence[str]) -> Sweep:
        """The sweep of those of its methods that are among `labels`."""
        return replace(self, methods=tuple(method for method in self.methods if method.label in labels))


@dataclass(frozen=True)
class EqualQuality:
    """Two sweeps on a quality and a knowledge metric, at round levels of quality; `reason` where there are none."""

    first: Sweep
    second: Sweep
    matched: tuple[Matched, ...] = ()
    reason: str = ""


def sweeps_of(methods: Sequence[MethodInfo]) -> tuple[Sweep, ...]:
    """The sweeps among methods, the longest first; every method is part of one at most."""
    found: dict[tuple[Any, ...], list[MethodInfo]] = {}
    for method in methods:
        for field, value in method.fields.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = {name: other for name, other in method.fields.items() if name != field}
                key = (method.plugin, method.on_small_base, field, json.dumps(rest, sort_keys=True))
                found.setdefault(key, []).append(method)
    taken: set[str] = set()
    sweeps = []
    for (_, _, field, _), members in sorted(found.items(), key=lambda one: -len(_apart(one[1], one[0][2]))):
        own = [method for method in _apart(members, field) if method.label not in taken]
        if len(own) > 1:
            taken.update(method.label for method in own)
            sweeps.append(Sweep("", field, tuple(sorted(own, key=lambda method: float(method.fields[field])))))
    order = [method.label for method in methods]
    sweeps.sort(key=lambda sweep: min(order.index(method.label) for method in sweep.methods))
    return tuple(replace(sweep, name=_name(sweep, sweeps)) for sweep in sweeps)


def _apart(methods: Sequence[MethodInfo], field: str) -> list[MethodInfo]:
    """The first method at each value of the field."""
    return list({float(method.fields[field]): method for method in reversed(methods)}.values())[::-1]


def _name(sweep: Sweep, sweeps: Sequence[Sweep]) -> str:
    """The plugin, and the fields in which the other sweeps of that plugin differ from this one."""
    first = sweep.methods[0]
    same = [one for one in sweeps if (one.methods[0].plugin, one.on_small_base) == (first.plugin, sweep.on_small_base)]
    apart = [
        name
        for name, value in first.fields.items()
        if name != sweep.field and any(one.methods[0].fields.get(name) != value for one in same)
    ]
    held = "".join(f", {name} {text.one_line(json.dumps(first.fields[name]), 30)}" for name in apart)
    return f"{first.plugin}{held}{', small base' if sweep.on_small_base else ''}"


def equal_quality(quality: Measured, knowledge: Measured, sweeps: Sequence[Sweep]) -> tuple[EqualQuality, ...]:
    """Every pair of sweeps of the same base model, as far as both metrics have scores of them."""
    scored = [sweep.only([*set(quality.panel.methods) & set(knowledge.panel.methods)]) for sweep in sweeps]
    pairs = combinations([sweep for sweep in scored if len(sweep.methods) > 1], 2)
    return tuple(
        _matched(quality, knowledge, first, second)
        for first, second in pairs
        if first.on_small_base == second.on_small_base
    )


def _matched(quality: Measured, knowledge: Measured, first: Sweep, second: Sweep) -> EqualQuality:
    labels = [method.label for method in (*first.methods, *second.methods)]
    scores = [one.panel.comparable(labels) for one in (quality, knowledge)]
    same = quality.metric.benchmark == knowledge.metric.benchmark
    if knowledge.metric.benchmark == JOINED and quality.metric.benchmark in knowledge.metric.name.split(", "):
        return EqualQuality(first, second, reason="quality is a metric of the same items as a part of the knowledge")
    if reason := _refused(scores, same):
        return EqualQuality(first, second, reason=reason)
    settings = [Setting(*both) for both in zip(scores[0].scores, scores[1].scores, strict=True)]
    own, other = settings[: len(first.methods)], settings[len(first.methods) :]
    ranges = [[setting.quality.mean for setting in sweep] for sweep in (own, other)]
    levels = round_levels(max(map(min, ranges)), min(map(max, ranges)))
    if not levels:
        reached = "; ".join(
            f"{sweep.name}: {tabular.score_text(min(means), quality.percent)} to "
            f"{tabular.score_text(max(means), quality.percent)}"
            for sweep, means in zip((first, second), ranges, strict=True)
        )
        return EqualQuality(first, second, reason=f"no quality in common ({reached})")
    metrics = Metrics(quality.scale, knowledge.scale, quality.pool, knowledge.pool, same)
    return EqualQuality(first, second, tuple(matched_difference(own, other, level, metrics) for level in levels))


def _refused(scores: Sequence[Comparable], same_benchmark: bool) -> str:
    quality, knowledge = scores
    if not quality.scores or not knowledge.scores:
        return quality.reason or knowledge.reason
    if quality.seeds != knowledge.seeds:
        return "quality and knowledge have scores at different seeds"
    if same_benchmark and not numpy.array_equal(quality.scores[0].weights, knowledge.scores[0].weights):
        return "two metrics of one benchmark that do not have the same items"
    return ""


def equal_quality_parts(block: Block) -> Iterator[Part]:
    """A picture and a table for each pair of a quality and a knowledge metric; nothing without two sweeps."""
    sweeps = sweeps_of(block.methods)
    if len(sweeps) < 2:
        return
    measured = [one for one in block.measured if one.metric.primary and one.metric.against_baseline]
    kept = _knowledge(measured)
    found = [
        (quality, knowledge, results)
        for quality in measured if quality.metric.role == "quality"
        for knowledge in kept
        if (results := equal_quality(quality, knowledge, sweeps))
    ]  # fmt: skip
    if not found:
        return
    yield Paragraph(
        "A setting that follows less also forgets less, so sweeps of a setting are compared where their quality is "
        "the same: knowledge is read off on the straight line between the two nearest settings whose qualities are "
        "clearly apart, never beyond the range that both sweeps reach. Exploratory: the levels are round numbers of "
        "that range, the intervals are pointwise 95 % over the items and seeds of both metrics, and nothing is "
        f"tested. They take {FEWEST_SEEDS} seeds, and do not cover a curve between two settings that is not straight."
    )
    yield Paragraph("The sweeps: " + "; ".join(_described(sweep) for sweep in sweeps) + ".")
    for at, (quality, knowledge, results) in enumerate(found):
        if at < MOST_PICTURES:
            yield _picture(quality, knowledge, sweeps)
        title = f"{in_plain(knowledge.metric.title)} at equal {in_plain(quality.metric.title)}"
        rows = tuple(row for one in results for row in _rows(one, quality, knowledge))
        if len(rows) > MOST_OPEN_ROWS:
            yield Folded(title, Table(_columns(quality, knowledge), rows))
        else:
            yield Table(_columns(quality, knowledge), rows, caption=title)


def _knowledge(measured: Sequence[Measured]) -> list[Measured]:
    """The knowledge metrics; all their items together where all are shares that are better when higher."""
    own = [one for one in measured if one.metric.role == "knowledge"]
    if len(own) < 2 or not all(one.percent and one.metric.higher_is_better for one in own):
        return own
    named = replace(own[0].metric, benchmark=JOINED, name=", ".join(one.metric.benchmark for one in own))
    return [measure(named, joined([(one.metric.benchmark, one.panel) for one in own]))]


def _described(sweep: Sweep) -> str:
    values = ", ".join(f"{method.label} ({float(method.fields[sweep.field]):g})" for method in sweep.methods)
    return f"{sweep.name} over {sweep.field}: {values}"


def _columns(quality: Measured, knowledge: Measured) -> tuple[Column, ...]:
    up, across = (tabular.unit_suffix(one.metric.unit, one.percent).removeprefix(", ") for one in (quality, knowledge))
    return (
        *text_columns("sweeps"), Column("quality", up), Column("knowledge", across, "of the first sweep"),
        Column("knowledge", across, "of the second sweep"), Column("difference", "pointwise 95 % intervals"),
        *text_columns(""),
    )  # fmt: skip


def _rows(one: EqualQuality, quality: Measured, knowledge: Measured) -> Iterator[tuple[TableCell, ...]]:
    name = TableCell(f"{one.first.name} − {one.second.name}")
    if one.reason:
        yield (name, *[blank_cell()] * 4, TableCell(one.reason, mood="blank"))
    open_levels = [matched for matched in one.matched if matched.estimate.value is not None]
    if not open_levels and one.matched:
        ends = [tabular.score_text(one.matched[at].level, quality.percent) for at in (0, -1)]
        reasons = dict.fromkeys(why for m in one.matched for why in _named(m.estimate.reason, one).split("; "))
        yield (name, TableCell(" to ".join(ends)), *[blank_cell()] * 3, TableCell("; ".join(reasons), mood="blank"))
        return
    for matched in one.matched:
        estimate = matched.estimate
        shown = blank_cell() if estimate.value is None else estimate_cell(estimate, knowledge.percent, signed=True)
        yield (
            name,
            TableCell(tabular.score_text(matched.level, quality.percent)),
            *(TableCell(tabular.score_text(own, knowledge.percent)) for own in (matched.first, matched.second)),
            replace(shown, note=""),
            TableCell(_named(estimate.reason, one), mood="blank" if estimate.reason else ""),
        )


def _named(reason: str, one: EqualQuality) -> str:
    """The reason with the sweeps' names."""
    for said, sweep in (("first: ", one.first), ("second: ", one.second)):
        reason = reason.replace(said, f"{sweep.name}: ")
    return reason


def _picture(quality: Measured, knowledge: Measured, sweeps: Sequence[Sweep]) -> Picture:
    up, across = (axis_title(one.metric, one.percent) for one in (quality, knowledge))
    fronts = [Front(sweep.name, tuple(_points(quality, knowledge, sweep))) for sweep in sweeps]
    fronts = [front for front in fronts if front.points]
    said = "; ".join(
        f"{front.label}: {', '.join(f'{p.y:.1f} at {p.x:.1f} ({p.label})' for p in front.points)}" for front in fronts
    )
    return Picture(draw_fronts(fronts, across, up), f"{up} against {across}: {said}.")


def _points(quality: Measured, knowledge: Measured, sweep: Sweep) -> Iterator[Point]:
    for method in sweep.methods:
        if method.label in quality.panel.methods and method.label in knowledge.panel.methods:
            up, across = (_scaled(score_of(one, method.label), one.percent) for one in (quality, knowledge))
            if up is not None and across is not None:
                shown = f"{sweep.field} {float(method.fields[sweep.field]):g}"
                yield Point(shown, across[0], up[0], across[1], up[1])


def _scaled(estimate: Estimate, percent: bool) -> tuple[float, tuple[float, float] | None] | None:
    """A mean and its interval in the units of an axis."""
    factor = 100 if percent else 1
    if estimate.value is None:
        return None
    if estimate.low is None or estimate.high is None:
        return estimate.value * factor, None
    return estimate.value * factor, (estimate.low * factor, estimate.high * factor)
