"""What a point of quality costs: knowledge, seconds, tokens and parameters for each point gained.

cost per point = cost / gain, with the ends cost / (ends of the gain's pointwise 95 % interval): costs are counted,
not estimated. Blank where that interval does not lie above 0: a price of nothing gained is no number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.report.collect import Block, MethodCost
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import text
from harness.report.render.document import Column, Paragraph, Part, Table, TableCell
from harness.stats.contrasts import Estimate


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
    """The alignment tax, then the price of a point on every primary quality metric."""
    tax = _tax_table(block, matrix)
    if tax is not None:
        yield tax
    results = [result for result in block.of_role("quality") if result.comparisons and result.percent]
    if results:
        yield Paragraph(
            "Costs are counted, so their intervals are those of the gain (pointwise 95 %). Seconds and tokens "
            "include the artifacts that a method stands on; parameters are its own alone. "
            f"{text.BLANK}: no gain is established, or the cost is not recorded."
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
        lost = kept.difference
        if lost.value is None:
            rows.append(
                (TableCell(method.label), TableCell(text.BLANK, small=text.one_line(lost.reason, 60), mood="blank"))
            )
        else:
            low, high = (None if end is None else -end for end in (lost.high, lost.low))
            shown = text.interval(low, high, kept.percent, "+") or text.BLANK
            rows.append(
                (TableCell(method.label), TableCell(text.signed(-lost.value, kept.percent), shown, note=lost.reason))
            )
    if not rows:
        return None
    unit = f"{'points' if any(k.percent for k in block.kept.values()) else 'score'} of knowledge lost, pointwise 95 %"
    columns = (Column("method", left=True), Column("alignment tax", unit))
    return Table(columns, tuple(rows), caption=f"Alignment tax: knowledge lost against {matrix.baseline}")


def _price_table(result: Result, block: Block) -> Table:
    columns = (
        Column("method", left=True),
        Column("gain", "points"),
        Column("time", "fit seconds a point"),
        Column("tokens", "trained on and generated, a point"),
        Column("parameters", "trained, a point"),
    )
    rows = []
    for method in block.methods:
        comparison = result.comparisons.get(method.label)
        if comparison is None:
            continue
        gain, cost = comparison.estimate, block.costs.get(method.label, MethodCost())
        shown = text.interval(gain.low, gain.high, True, "+") or text.BLANK
        paid = (cost.seconds, cost.tokens, cost.trained)
        prices = [price(one, gain, result.metric.higher_is_better) for one in paid]
        rows.append(
            (
                TableCell(method.label),
                TableCell(text.signed(gain.value, True), shown),
                *(_price_cell(p) for p in prices),
            )
        )
    return Table(columns, tuple(rows), caption=f"{result.metric.title}: the price of a point")


def _price_cell(paid: Price) -> TableCell:
    if paid.value is None or paid.low is None or paid.high is None:
        return TableCell(text.BLANK, small=text.one_line(paid.reason, 60), mood="blank")
    if paid.value == 0:
        return TableCell("0", note="it costs nothing of this kind")
    return TableCell(_short(paid.value), f"[{_short(paid.low)}, {_short(paid.high)}]")


def _short(value: float) -> str:
    return f"{value:#.3g}" if value < 100 else text.count(value)
