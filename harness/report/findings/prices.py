"""The costs of a gain: knowledge, time, tokens and parameters for each point, and the part lost out of distribution.

cost per point = cost / gain, with the ends cost / (ends of the gain's pointwise 95 % interval), because costs are
counted, not estimated. It is blank unless that interval is above 0: a gain that is not established has no price.

The experiment pairs benchmarks, or groups of one, under `out_of_distribution: {outside: inside}`. Sides that are
variants of the same items (groups with the same clusters) are paired cluster by cluster. Other sides have no item in
common, so the drop, (method - baseline) inside minus the same outside, adds up their variances.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.report.collect import Block, MethodCost
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.numbers.panel import Measured, difference_of, measure, score_of
from harness.report.render import tabular
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell, blank_cell, estimate_cell
from harness.stats.contrasts import contrast
from harness.stats.families import independent_sum
from harness.stats.intervals import Estimate


@dataclass(frozen=True)
class Price:
    """The cost of one point; low and high from the gain's interval, None where `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def price(cost: float | None, gain: Estimate, higher_is_better: bool = True, unit: float = 0.01) -> Price:
    """`cost` for each `unit` of the metric gained: a point of a share is 0.01."""
    if cost is None:
        return Price(None, reason="not recorded")
    if gain.value is None or gain.low is None or gain.high is None:
        return Price(None, reason=gain.reason)
    low, value, high = sorted((end if higher_is_better else -end) / unit for end in (gain.low, gain.value, gain.high))
    if low <= 0:
        return Price(None, reason="no gain is established")
    return Price(cost / value, cost / high, cost / low)


def price_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """The alignment tax, then the cost of a point on every primary quality metric."""
    tax = _tax_table(block, matrix)
    if tax is not None:
        yield tax
    results = [result for result in block.of_role("quality") if result.comparisons and result.percent]
    if results:
        yield Paragraph(
            "Costs are counted, so the intervals come from the gain (pointwise 95 %). Seconds and tokens "
            "include the artifacts that a method is built on; parameters are only its own. "
            f"{BLANK}: no gain is established, or the cost is not recorded."
        )
    for result in results:
        yield _price_table(result, block)


def _tax_table(block: Block, matrix: Matrix) -> Table | None:
    """Knowledge lost to the baseline, in points, over all items of the primary knowledge metrics."""
    rows = []
    for method in block.methods:
        kept = block.kept.get(method.label)
        if kept is None or kept.difference is None:
            continue
        lost = _negative(kept.difference)
        cell = estimate_cell(lost, kept.percent, signed=True, lines=(0.0, matrix.margin))
        rows.append((TableCell(method.label), cell))
    if not rows:
        return None
    unit = f"{'points' if any(k.percent for k in block.kept.values()) else 'score'} of knowledge lost, pointwise 95 %"
    columns = (Column("method", left=True), Column("alignment tax", unit))
    return Table(columns, tuple(rows), caption=f"Alignment tax: knowledge lost against {matrix.baseline}")


def _negative(change: Estimate) -> Estimate:
    value, low, high = (None if end is None else -end for end in (change.value, change.high, change.low))
    return replace(change, value=value, low=low, high=high)


def _price_table(result: Result, block: Block) -> Table:
    columns = (
        Column("method", left=True),
        Column("gain", "points"),
        Column("time", "fit seconds per point"),
        Column("tokens", "trained on and generated, per point"),
        Column("parameters", "trained, per point"),
    )
    rows = []
    for method in block.methods:
        comparison = result.comparisons.get(method.label)
        if comparison is None:
            continue
        gain, cost = comparison.estimate, block.costs.get(method.label, MethodCost())
        paid = (cost.seconds, cost.tokens, cost.trained)
        prices = [_price_cell(price(one, gain, result.metric.higher_is_better)) for one in paid]
        rows.append((TableCell(method.label), estimate_cell(gain, True, signed=True), *prices))
    return Table(columns, tuple(rows), caption=f"{in_plain(result.metric.title)}: the cost of a point")


def _price_cell(paid: Price) -> TableCell:
    if paid.value is None or paid.low is None or paid.high is None:
        return blank_cell(paid.reason)
    if paid.value == 0:
        return TableCell("0", note="it has no cost of this kind")
    return TableCell(_short(paid.value), f"[{_short(paid.low)}, {_short(paid.high)}]")


def _short(value: float) -> str:
    return f"{value:#.3g}" if value < 100 else tabular.count(value)


@dataclass(frozen=True)
class Shift:
    """The score of a method and its gain over the baseline, in and out of the distribution of its training data.

    gap              its score inside - its score outside
    inside, outside  method - baseline on either, oriented so that higher is better; blank for the baseline itself
    drop             inside - outside: the part of the gain that does not carry over
    """

    method: str
    inside_title: str
    outside_title: str
    gap: Estimate
    inside: Estimate
    outside: Estimate
    drop: Estimate
    percent: bool = True
    unit: str = ""


def shifts_of(measured: Sequence[Measured], matrix: Matrix) -> tuple[Shift, ...]:
    """Every declared pair for every method; gains are blank without a baseline."""
    found = []
    for outside, inside in matrix.out_of_distribution.items():
        sides = [_side(measured, name) for name in (inside, outside)]
        if sides[0] is None or sides[1] is None:
            continue
        for method in matrix.methods:
            found.append(_shift(method.label, matrix.baseline, (inside, sides[0]), (outside, sides[1])))
    return tuple(found)


def _side(measured: Sequence[Measured], name: str) -> Measured | None:
    """The first primary metric of 'benchmark', or of one group of it: 'benchmark/group'."""
    benchmark, _, group = name.partition("/")
    whole = next((one for one in measured if one.metric.benchmark == benchmark and one.metric.primary), None)
    if whole is None or not group:
        return whole
    if group not in whole.panel.group_names:
        return None
    return replace(measure(whole.metric, whole.panel.only(group), group), percent=whole.percent)


def _shift(method: str, baseline: str | None, inside: tuple[str, Measured], outside: tuple[str, Measured]) -> Shift:
    sides = [inside[1], outside[1]]
    scores = [_oriented(side, score_of(side, method)) for side in sides]
    gains = [_gain(side, method, baseline) for side in sides]
    titles = [name if "/" in name else in_plain(side.metric.title) for name, side in (inside, outside)]
    percent = all(side.percent for side in sides)
    unit = inside[1].metric.unit or in_plain(inside[1].metric.name)
    if any(side.panel.log for side in sides):
        blank = Estimate(None, reason="on the log scale")
        return Shift(method, titles[0], titles[1], blank, blank, blank, blank, percent, unit)
    gap = _paired(sides, [method]) or _less(scores)
    drop = (_paired(sides, [method, baseline]) if baseline and method != baseline else None) or _less(gains)
    return Shift(method, titles[0], titles[1], gap, gains[0], gains[1], drop, percent, unit)


def _paired(sides: Sequence[Measured], methods: Sequence[str]) -> Estimate | None:
    """Inside minus outside of a method, or of its gain over another, where both sides have the same clusters."""
    inside, outside = sides
    clusters = [set(side.panel.cluster_names) for side in sides]
    alike = inside.metric.title == outside.metric.title and clusters[0] == clusters[1]
    found = [side.panel.comparable(methods) for side in sides]
    if not alike or any(not one.scores or one.dropped for one in found) or found[0].seeds != found[1].seeds:
        return None
    parts = [*found[0].scores, *found[1].scores]
    if any((part.weights != parts[0].weights).any() for part in parts):
        return None
    sign = inside.metric.sign
    own = [sign, -sign][: len(methods)]
    return contrast(parts, [*own, *(-one for one in own)], scale=inside.scale)


def _less(pair: Sequence[Estimate]) -> Estimate:
    return independent_sum([(1.0, pair[0]), (-1.0, pair[1])])


def _oriented(side: Measured, found: Estimate) -> Estimate:
    """Oriented so that higher is better."""
    return found if side.metric.higher_is_better else independent_sum([(-1.0, found)])


def _gain(side: Measured, method: str, baseline: str | None) -> Estimate:
    if baseline is None or method == baseline:
        return Estimate(None, reason="the baseline" if baseline else "no baseline")
    return _oriented(side, difference_of(side, side.panel.comparable([method, baseline])))


def shift_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """One table for each pair."""
    shifts = shifts_of(block.measured, matrix)
    if not shifts:
        return
    yield Paragraph(
        "Scores and gains over the baseline inside and outside the distribution of the training data, and the "
        "difference between them. The gap of scores includes any difference in difficulty between the two sides; the "
        "drop does not. Intervals are pointwise 95 %; nothing is tested. Sides that are variants of the same items are "
        "paired; the seeds of other sides are treated as independent, which makes the intervals too wide where the "
        "same seeds do well on both sides."
    )
    for pair in dict.fromkeys((s.inside_title, s.outside_title) for s in shifts):
        own = [s for s in shifts if (s.inside_title, s.outside_title) == pair]
        unit = "points" if own[0].percent else own[0].unit
        columns = (
            Column("method", left=True),
            Column("gap of scores", f"{unit}, inside minus outside"),
            Column("gain inside", f"{unit}, {pair[0]}"),
            Column("gain outside", f"{unit}, {pair[1]}"),
            Column("out-of-distribution drop", unit),
        )
        rows = tuple(_row(s) for s in own)
        yield Table(columns, rows, caption=f"{pair[0]} and {pair[1]}")


def _row(shift: Shift) -> tuple[TableCell, ...]:
    found = (shift.gap, shift.inside, shift.outside, shift.drop)
    return TableCell(shift.method), *(estimate_cell(estimate, shift.percent, signed=True) for estimate in found)
